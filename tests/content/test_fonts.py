"""Fonts: glyph coverage, widths as libass draws them, and the choice of substitutes."""

from __future__ import annotations

import itertools
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from moneyprinter.errors import InvalidArgument
from services.content.captions.subtitles import make_subtitles
from services.content.fonts.characters import count_columns, needs_glyph
from services.content.fonts.faces import FileFace, FontFolder
from services.content.fonts.fallback import COLUMN_EMS, Extent, Face, FontFallback, FontLibrary, FontSource, find_face
from services.content.layout.style import CaptionStyle
from services.processing import fonts as drawn_with
from tests.content.drawing import ALL, AT_HAND, FOLDERS, FONT, MANROPE, bounds, draw, like, resolve_style, spoken


@dataclass(frozen=True)
class FakeFace:
    """A face with some characters, each half an em wide."""

    name: str
    characters: str
    weight: int = 400
    is_slanted: bool = False
    ascent: float = 1.0
    descent: float = 0.366

    @property
    def names(self) -> frozenset[str]:
        return frozenset([self.name.lower(), self.name.lower().split()[0]])

    def shows(self, text: str) -> bool:
        return all(c in f"{self.characters} " for c in text if c == " " or needs_glyph(c))

    def measure(self, text: str) -> Extent:
        return Extent(0.5 * sum(count_columns(c) > 0 for c in text), 0.7, 0.2)


@dataclass(frozen=True)
class FakeSource:
    """A font source of some faces."""

    faces: Sequence[Face]

    def may_show(self, character: str) -> bool:
        return any(face.shows(character) for face in self.faces)


LATIN, HAN, ARABIC = FakeFace("Latin", "abc.,é"), FakeFace("Han", "你好。ab."), FakeFace("Arabic", "مرحبا،")
HANDFUL = FontFallback(LATIN, [FakeSource([LATIN, HAN, ARABIC])])


async def width_drawn(text: str, folder: Path, chain: FontFallback = ALL) -> int:
    resolved = resolve_style(CaptionStyle(size=0.15), (640, 180), chain)
    picture = (await draw(make_subtitles([spoken(text, 0, 5)], resolved).ass, folder, (640, 180), 1))[0]
    left, _, right, _ = bounds(like(picture, "#ffffff", 128))
    return right - left + 1


@pytest.mark.parametrize(
    "text",
    [
        *("quietly,sleeping_dogs", "WAVING,IN-AVAST_DESERT", "(éçñ)_ŁódźΩЖ", "你好世界「今天」很", "안녕하세요세계"),
        *("مستشفىالمستقبل", "क्षत्रियश्रीमान्हिन्दी", "สวัสดีชาวโลกน้ำ", "বাংলাক্ষেত্র", "கொழுக்கட்டை"),
    ],
)
async def test_measured_widths_equal_drawn_widths(text: str, tmp_path: Path) -> None:
    expected = ALL.measure(text).advance * 0.15 * 180 / 1.366
    # What is drawn lacks the air beside the first and the last letter; light fonts are made bolder by a hair.
    assert expected - 6 <= await width_drawn(text, tmp_path) <= expected + 3


async def test_a_letter_is_as_wide_as_its_advance(tmp_path: Path) -> None:
    more = await width_drawn("n" * 30, tmp_path) - await width_drawn("n" * 10, tmp_path)
    # Letters of some fonts, as of this one, are drawn at whole sizes only: here at 20 for 19.8.
    expected = 20 * ALL.measure("n").advance * 0.15 * 180 / 1.366
    assert more / expected == pytest.approx(20 / 19.77, abs=0.005)


def test_a_font_is_found_by_its_name_or_its_family() -> None:
    assert (find_face("manrope bold", AT_HAND).name, find_face("manrope bold", AT_HAND).weight) == ("Manrope Bold", 700)
    # The name of a family stands for its regular face.
    assert find_face("Manrope", AT_HAND).weight == 400
    assert find_face("NotoSansCJKjp-Bold", AT_HAND).weight == 700
    assert find_face("Noto Sans CJK JP", AT_HAND).name == "NotoSansCJKjp-Bold"
    assert not find_face("Noto Sans", AT_HAND).is_slanted


def test_an_unknown_font_is_refused_with_the_available_ones() -> None:
    with pytest.raises(InvalidArgument, match="no font 'Comic Sans'; there are: Manrope Bold, ") as refused:
        find_face("Comic Sans", AT_HAND)
    assert refused.value.reason == "FONT_UNKNOWN"
    many = [FakeSource([FakeFace(f"Number {number}", "a") for number in range(100)])]
    with pytest.raises(InvalidArgument, match=r"Number 19 and 80 more$"):
        find_face("Comic Sans", many)


def test_without_fonts_only_the_name_is_known() -> None:
    fonts = FontLibrary("Chosen", [])
    assert (fonts.resolve(), fonts.resolve("Other")) == ("Chosen", "Other")
    resolved = resolve_style(CaptionStyle(), (320, 180), "Chosen")
    assert resolved.measure("ж") == COLUMN_EMS and resolved.measure("你") == 2 * COLUMN_EMS


def test_a_run_takes_the_first_font_with_the_whole_letter() -> None:
    assert HANDFUL.runs("ab. 你好。 a") == ((LATIN, "ab. "), (HAN, "你好。 "), (LATIN, "a"))
    assert HANDFUL.runs("e\u0301") == ((LATIN, "é"),)
    assert HANDFUL.runs("a\u0301مَ") == ((None, "á"), (ARABIC, "م"), (None, "\u064e"))
    assert HANDFUL.missing_characters("ab你ж안ж\u200d") == "ж안"


def test_a_decomposed_letter_is_shown_by_a_font_with_its_parts() -> None:
    pieces = FakeFace("Pieces", "e\u0301")
    assert FontFallback(pieces, [FakeSource([pieces])]).runs("é") == ((pieces, "e\u0301"),)


def test_the_most_similar_font_of_the_first_folder_is_used() -> None:
    main = FakeFace("Main", "a", 800)
    light, bold, slanted = (
        FakeFace("Light", "ж", 300),
        FakeFace("Bold", "ж", 700),
        FakeFace("Slanted", "ж", 800, True),
    )
    extra = FakeFace("Extra", "жж", 800)
    chain = FontFallback(main, [FakeSource([main]), FakeSource([light, slanted, bold]), FakeSource([extra])])
    assert chain.runs("ж") == ((bold, "ж"),)
    assert FontFallback(main, [FakeSource([main]), FakeSource([slanted]), FakeSource([extra])]).runs("ж") == (
        (slanted, "ж"),
    )


def test_the_script_names_the_font_of_each_run() -> None:
    resolved = resolve_style(CaptionStyle(), (320, 180), HANDFUL)
    text = make_subtitles([spoken("ab 你好 ab مرحبا")], resolved).ass.splitlines()[-1]
    assert text.endswith(r"}" + "\u200eab {\\fnHan}你好{\\fnLatin} ab {\\fnArabic}مرحبا")


WRITTEN = {
    "Latin": "Příliš žluťoučký kůň Ưỡng",
    "Greek": "Καλημέρα κόσμε",
    "Cyrillic": "Привет, мир! Ґанок",
    "Chinese": "你好，世界。漢字繁體",
    "Japanese": "こんにちは、世界。カタカナー",
    "Korean": "안녕하세요 세계",
    "Arabic": "مرحبا بالعالم، پڑھنا",
    "Hebrew": "שָׁלוֹם עולם",
    "Hindi": "नमस्ते दुनिया। क्षत्रिय",
    "Bengali": "হ্যালো বিশ্ব",
    "Punjabi": "ਸਤ ਸ੍ਰੀ ਅਕਾਲ",
    "Gujarati": "નમસ્તે દુનિયા",
    "Odia": "ନମସ୍କାର ବିଶ୍ୱ",
    "Tamil": "வணக்கம் உலகம்",
    "Telugu": "నమస్కారం ప్రపంచం",
    "Kannada": "ನಮಸ್ಕಾರ ಪ್ರಪಂಚ",
    "Malayalam": "നമസ്കാരം ലോകം",
    "Sinhala": "ආයුබෝවන් ලෝකය",
    "Thai": "สวัสดีชาวโลก",
    "Lao": "ສະບາຍດີຊາວໂລກ",
    "Khmer": "សួស្តីពិភពលោក",
    "Burmese": "မင်္ဂလာပါကမ္ဘာလောက",
    "Georgian": "გამარჯობა მსოფლიო",
    "Armenian": "Բարեւ աշխարհ",
    "Amharic": "ሰላም ልዑል",
    "Signs": "→ ★ ✓ © € ₹ … “quoted”",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_the_embedded_fonts_show_every_major_script(text: str) -> None:
    assert ALL.missing_characters(text) == ""


def test_invisible_characters_are_never_missing() -> None:
    assert ALL.missing_characters("a\u200b\u200d\u2066b\u2069\ufeff\u00ad\ufe0f") == ""
    assert ALL.missing_characters("\ufff9") == "\ufff9"


def test_the_renderer_uses_the_measured_font_files() -> None:
    files = drawn_with.Fonts(FOLDERS)
    faces = [face for shelf in AT_HAND for face in shelf.faces]
    assert len(faces) > 30
    for face in faces:
        assert isinstance(face, FileFace)
        (path,) = files.files(f"[Events]\nDialogue: {{\\fn{face.name}}}x")
        if face.is_instance:
            # The bold instance of a variable font, which libass gets as a file of its own.
            (made,) = (each for each in FontFolder(path.parent).faces if each.name == face.name)
            letters = "".join(map(chr, itertools.islice(face._font.face.unicodes, 40, 80)))
            assert made.measure(letters).advance == pytest.approx(face.measure(letters).advance, abs=0.01)
            assert made.weight == face.weight == 700
        else:
            assert path == face.path


def test_a_folder_is_read_only_when_earlier_ones_lack_a_glyph(tmp_path: Path) -> None:
    shutil.copy(FOLDERS[1] / "NotoSansThai[wght].ttf", tmp_path / "thai.ttf")
    (tmp_path / "deeper").mkdir()
    shutil.copy(FOLDERS[0] / "Manrope-Bold.ttf", tmp_path / "deeper" / "again.TTF")
    system = FontFolder(tmp_path)
    at_hand: list[FontSource] = [AT_HAND[0], system]
    chain = FontFallback(find_face(FONT, at_hand), at_hand)
    assert chain.missing_characters("Hello") == "" and "faces" not in vars(system)
    assert chain.missing_characters("สวัสดี你") == "你"
    assert {face.name for face in system.faces} == {"Noto Sans Thai Regular", "Noto Sans Thai Bold", "Manrope Bold"}
    # Both services use the font of the first folder when two have one name.
    assert isinstance(bold := find_face("Manrope Bold", at_hand), FileFace)
    assert bold.path.parent == FOLDERS[0]
    both = drawn_with.Fonts([FOLDERS[0], tmp_path])
    assert both.files("Style: Default,Manrope Bold,20") == (bold.path,)
    assert [path.name for path in both.files("[Events]\n{\\fnNoto Sans Thai Regular}")] == ["thai.ttf"]


@pytest.mark.parametrize("broken", [b"", b"no font", b"\0\1\0\0" + b"\xff" * 500, "cut", "pipe", "dangling"])
def test_a_broken_font_is_skipped_and_logged(broken: bytes | str, tmp_path: Path) -> None:
    bad = tmp_path / "a.ttf"
    match broken:
        case bytes():
            bad.write_bytes(broken)
        case "cut":
            bad.write_bytes((FOLDERS[0] / "Manrope-Bold.ttf").read_bytes()[:30_000])
        case "dangling":
            bad.symlink_to(tmp_path / "nowhere")
        case _:
            bad.mkdir()
    shutil.copy(FOLDERS[0] / "Manrope-Bold.ttf", tmp_path / "b.ttf")
    with structlog.testing.capture_logs() as logged:
        assert [face.name for face in FontFolder(tmp_path).faces] == ["Manrope Bold"]
    assert [line["path"] for line in logged] == ([] if broken == "pipe" else [str(bad)])
    assert drawn_with.Fonts([tmp_path]).files("Style: Default,Manrope Bold,20") == (tmp_path / "b.ttf",)
    logging.getLogger().handlers.clear()


def test_hundreds_of_system_fonts_are_read_quickly(tmp_path: Path) -> None:
    shutil.copytree(FOLDERS[1], tmp_path / "0")
    for number in range(1, 20):
        (tmp_path / str(number)).mkdir()
        for file in (tmp_path / "0").glob("*.ttf"):
            (tmp_path / str(number) / file.name).hardlink_to(file)
    began = time.process_time()
    system = FontFolder(tmp_path)
    assert len(system.faces) > 40
    assert not system.may_show("\U0001ffff")
    assert time.process_time() - began < 2


def test_thousands_of_missing_characters_are_found_quickly() -> None:
    began = time.process_time()
    text = "".join(map(chr, itertools.islice(range(0x30000, 0x32000), 8000)))
    assert len(ALL.missing_characters(text)) > 4000
    assert time.process_time() - began < 2


def test_manrope_alone_has_no_chinese() -> None:
    assert MANROPE.missing_characters("Hi 你好") == "你好"

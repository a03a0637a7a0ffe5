"""Fonts: what they can show, how wide it is as the renderer draws it, and which is taken."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from services.content import fonts, subtitles
from services.content.fonts import Font
from services.content.looks import Look, Style
from services.runtime.config import ConfigError
from tests.content.drawing import FOLDER, FONT, bounds, draw, like, manrope, spoken


def font(name: str, characters: str) -> Font:
    return Font(name, frozenset([name.lower()]), 400, {ord(c): 0.5 for c in characters + " "})


LATIN, HAN, ARABIC = font("Latin", "abc.,é"), font("Han", "你好。ab."), font("Arabic", "مرحبا،")


async def width_drawn(text: str, folder: Path) -> int:
    look = Look.of(Style(size=0.15), (640, 180), FONT, manrope())
    picture = (await draw(subtitles.make([spoken(text, 0, 5)], look).ass, folder, (640, 180), 1))[0]
    left, _, right, _ = bounds(like(picture, "#ffffff", 128))
    return right - left + 1


@pytest.mark.parametrize("text", ["quietly,sleeping_dogs", "WAVING,IN-AVAST_DESERT", "(éçñ)_ŁódźΩЖ"])
async def test_widths_are_those_that_the_renderer_draws(text: str, tmp_path: Path) -> None:
    told = fonts.width(text, manrope()) * 0.15 * 180
    # What is drawn lacks the air beside the first and the last letter.
    assert told - 5 <= await width_drawn(text, tmp_path) <= told + 2


async def test_a_letter_is_as_wide_as_its_advance(tmp_path: Path) -> None:
    more = await width_drawn("n" * 30, tmp_path) - await width_drawn("n" * 10, tmp_path)
    # Letters of some fonts, as of this one, are drawn at whole sizes only: here at 20 for 19.8.
    assert more / (20 * fonts.width("n", manrope()) * 0.15 * 180) == pytest.approx(20 / 19.77, abs=0.005)


def test_a_folder_is_read_with_the_named_font_first() -> None:
    found = fonts.load(FOLDER, "manrope bold")
    assert (found[0].name, found[0].weight) == ("Manrope Bold", 700)
    assert {one.name for one in found[1:3]} == {"Manrope ExtraBold", "Manrope SemiBold"}
    # Every face of a family is called so: the regular one is meant.
    assert fonts.load(FOLDER, "Manrope")[0].weight == 400


def test_runs_take_the_first_font_that_has_all_of_a_letter() -> None:
    at_hand = (LATIN, HAN, ARABIC)
    assert fonts.runs("ab. 你好。 a", at_hand) == [(LATIN, "ab. "), (HAN, "你好。 "), (LATIN, "a")]
    assert fonts.runs("e\u0301", at_hand) == [(LATIN, "é")]
    assert fonts.runs("a\u0301مَ", at_hand) == [(None, "á"), (ARABIC, "م"), (None, "\u064e")]
    assert fonts.missing("ab你ж안ж\u200d", at_hand) == "ж안"
    assert fonts.missing("ж", ()) == ""
    assert fonts.width("ж", ()) == fonts.COLUMN and fonts.width("你", ()) == 2 * fonts.COLUMN


def test_the_script_names_the_font_of_each_run() -> None:
    look = Look.of(Style(), (320, 180), "Latin", (LATIN, HAN, ARABIC))
    text = subtitles.make([spoken("ab 你好 ab مرحبا")], look).ass.splitlines()[-1]
    assert text.endswith(",\u200eab {\\fnHan}你好{\\fnLatin} ab {\\fnArabic}مرحبا")


def tables(character_map: bytes, glyphs: int, outlines: bytes = b"glyf") -> dict[bytes, bytes]:
    """The tables of a face whose glyph n is 100 n wide, of letters that are 1000 high."""
    text = "Made Up".encode("utf-16-be")
    return {
        b"OS/2": struct.pack(">HHH", 4, 0, 500).ljust(74, b"\0") + struct.pack(">HH", 800, 200),
        b"cmap": struct.pack(">HHHHI", 0, 1, 3, 1, 12) + character_map,
        outlines: b"",
        b"hhea": b"\0" * 34 + struct.pack(">H", glyphs),
        b"hmtx": b"".join(struct.pack(">Hh", 100 * n, 0) for n in range(glyphs)),
        b"name": struct.pack(">3H6H", 0, 1, 18, 3, 1, 0x409, 4, len(text), 0) + text,
    }


def file(faces: dict[bytes, bytes], start: int = 0) -> bytes:
    head, body = struct.pack(">4s4H", b"\0\1\0\0", len(faces), 0, 0, 0), b""
    first = start + len(head) + 16 * len(faces)
    for tag, data in faces.items():
        head += struct.pack(">4s3I", tag, 0, first + len(body), len(data))
        body += data
    return head + body


# Characters 0x41-0x43 are the glyphs 1-3, by a shift; 0x61-0x62 are 5 and none, by a list.
FORMAT_4 = struct.pack(
    ">7H3HH3H3H3H2H", 4, 0, 0, 6, 0, 0, 0, 0x43, 0x62, 0xFFFF, 0, 0x41, 0x61, 0xFFFF,
    (1 - 0x41) & 0xFFFF, 0, 1, 0, 4, 0, 5, 0,
)  # fmt: skip
FORMAT_4 = FORMAT_4[:2] + struct.pack(">H", len(FORMAT_4)) + FORMAT_4[4:]
FORMAT_12 = struct.pack(">HHIII6I", 12, 0, 40, 0, 2, 0x41, 0x43, 1, 0x1F600, 0x1F600, 5)


@pytest.mark.parametrize(
    ("character_map", "expected"),
    [
        (FORMAT_4, {0x41: 0.1, 0x42: 0.2, 0x43: 0.3, 0x61: 0.5}),
        (FORMAT_12, {0x41: 0.1, 0x42: 0.2, 0x43: 0.3, 0x1F600: 0.5}),
    ],
)
@pytest.mark.parametrize("collection", [False, True])
def test_character_maps_of_both_kinds_are_read(
    character_map: bytes, expected: dict[int, float], collection: bool, tmp_path: Path
) -> None:
    made = file(tables(character_map, 6), 16 if collection else 0)
    if collection:
        made = struct.pack(">4sIII", b"ttcf", 0x10000, 1, 16) + made
    (tmp_path / "made.ttf").write_bytes(made)
    (found,) = fonts.load(tmp_path, "made up")
    assert found.advances == expected
    assert (found.name, found.weight) == ("Made Up", 500)


def test_a_font_of_coloured_pictures_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_bytes(file(tables(FORMAT_4, 6)))
    (tmp_path / "emoji.ttf").write_bytes(file(tables(FORMAT_12, 6, b"CBDT")))
    (tmp_path / "license.txt").write_text("OFL")
    assert fonts.missing("A😀", fonts.load(tmp_path, "Made Up")) == "😀"


@pytest.mark.parametrize("broken", [b"", b"no font", file(tables(FORMAT_4, 6))[:150]])
def test_a_broken_font_is_named(broken: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(broken)
    with pytest.raises(ConfigError, match=r"broken\.ttf is no font"):
        fonts.load(tmp_path, "Made Up")


def test_a_font_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="has no font 'Comic Sans'; it has: Manrope Bold, "):
        fonts.load(FOLDER, "Comic Sans")

"""Line breaking: lines end by the rules of the language, and the drawn text is legible."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from services.content.captions.cues import make_cues
from services.content.captions.subtitles import make_subtitles
from services.content.fonts.characters import count_columns
from services.content.layout.hyphenation import split_word
from services.content.layout.line_breaking import Layout, Word
from services.content.layout.style import CaptionStyle, Position
from tests.content.drawing import ALL, bounds, chain, draw, like, resolve_style, spoken, still

UPRIGHT = (270, 480)


def lines(text: str, columns: float, language: str = "", *, apart: bool = False) -> list[str]:
    """The lines of a text; `apart`: each character is a word, as in the audio service's Chinese and Japanese."""
    words = spoken(" ".join(text) if apart else text, each=0.3)
    cues = make_cues([words], Layout(columns, 4, language=language))
    return [line for cue in cues for line in cue.lines]


def width(text: str) -> float:
    return sum(map(count_columns, text))


@pytest.mark.parametrize(
    ("word", "language", "parts"),
    [
        ("Nahrungsergänzungsmittel", "de", ["Nahrungsergänzungs-", "mittel"]),
        ("Donaudampfschifffahrtsgesellschaft", "de", ["Donaudampfschiff-", "fahrtsgesellschaft"]),
        ("counterrevolutionaries", "en", ["counterrevolutionar-", "ies"]),
        ("anticonstitutionnellement", "fr", ["anticonstitutionnel-", "lement"]),
        ("électroencéphalographiste", "fr", ["électroencéphalogra-", "phiste"]),
        ("высокопревосходительство", "ru", ["высокопревосходи-", "тельство"]),
        ("Nahrungs\u00adergänzungs\u00admittel", "xx", ["Nahrungs\u00adergänzungs\u00ad-", "mittel"]),
        ("short", "en", ["short"]),
    ],
)
def test_a_long_word_is_cut_by_the_rules_of_its_language(word: str, language: str, parts: list[str]) -> None:
    assert split_word(word, 20, width, language) == parts


@pytest.mark.parametrize("language", ["", "xx", "de", "en", "mi"])
def test_without_rules_a_word_is_cut_with_a_hyphen_too(language: str) -> None:
    parts = split_word("Taumatawhakatangihangakoauauotamatea", 14, width, language)
    assert all(width(part) <= 14 for part in parts) and all(part.endswith("-") for part in parts[:-1])
    assert "".join(parts).replace("-", "") == "Taumatawhakatangihangakoauauotamatea" and len(parts[-1]) > 1


@pytest.mark.parametrize(
    "word",
    ["https://example.com/a/long/address/of/a/page.html", "somebody.with.a.long.name@example.com", "1234567890" * 4],
)
def test_an_address_gets_no_hyphen(word: str) -> None:
    parts = split_word(word, 20, width, "en")
    assert "".join(parts) == word and all(width(part) <= 20 for part in parts)


def test_all_files_have_the_hyphens_of_broken_words() -> None:
    words = [Word("Nahrungsergänzungsmittel", timedelta(0), timedelta(seconds=2))]
    made = make_subtitles([words], resolve_style(CaptionStyle(), (1080, 1920)), language="de")
    assert "Nahrungsergänzungs-\nmittel" in made.srt and "Nahrungsergänzungs-\nmittel" in made.vtt


JAPANESE = "東京の美しい夜景を楽しみながら、ゆっくりと食事をしましょう。"
TEMPLATES = ["東京の", "美しい", "夜景を", "楽しみながら、", "ゆっくりと", "食事を", "しま", "しょう。"]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("room", [14, 20, 30, 42])
def test_japanese_lines_end_between_phrases(apart: bool, room: int) -> None:
    ends = {sum(map(len, TEMPLATES[:number])) for number in range(len(TEMPLATES) + 1)}
    at = 0
    for line in lines(JAPANESE, room, "ja", apart=apart):
        at += len(line)
        assert at in ends, f"{line!r} ends inside a phrase"


@pytest.mark.parametrize("apart", [False, True])
def test_chinese_lines_end_between_words(apart: bool) -> None:
    found = lines("人工智能正在改变我们的日常生活和工作方式", 14, "zh", apart=apart)
    words = ["人工", "智能", "正在", "改变", "我们", "日常", "生活", "工作", "方式"]
    assert all("".join(found).count(word) == sum(line.count(word) for line in found) for word in words)


def test_an_emoji_stays_with_the_word_before_it() -> None:
    for room in range(12, 24):
        for line in lines("We love it 🎉 and dance 💃🏽 all night 👨‍👩‍👧 long ❤️ yes", room):
            assert line[0].isalpha(), line


async def test_emoji_are_not_drawn_and_are_reported(tmp_path: Path) -> None:
    pictures = []
    for text in ("What a party it was", "What a 🎉 party 😀 it was 🇩🇪"):
        script = make_subtitles(
            [spoken(text, 0.0, 0.3)], resolve_style(CaptionStyle(Position.MIDDLE), (640, 180), ALL, 1)
        ).ass
        pictures.append((await draw(script, tmp_path, (640, 180), 1))[0].astype(int))
    assert pictures[0].max() > 240 and np.abs(pictures[0] - pictures[1]).max() < 24
    words = spoken("What a 🎉 party 😀 it was 🇩🇪 ❤ ✓")
    made = make_subtitles([words], resolve_style(CaptionStyle(), (640, 180)))
    assert made.missing_glyphs.startswith("🎉😀🇩🇪") and "🎉" in made.srt and "🎉" not in made.ass
    assert "✓" not in made.missing_glyphs


@pytest.mark.parametrize(
    ("letters", "least"),
    [("الطقس جميل اليوم", 0.10), ("आज मौसम अच्छा", 0.12), ("היום מזג האוויר", 0.12), ("วันนี้อากาศดี", 0.08)],
)
async def test_letters_of_every_script_are_bold_beside_bold_digits(letters: str, least: float, tmp_path: Path) -> None:
    """Bold letters fill a larger part of the area of a text than regular ones."""
    style = CaptionStyle(Position.MIDDLE, 0.3, outline=0.0)
    ink = []
    for font in ("Manrope ExtraBold", "Manrope Regular"):
        seen = like(await still(style, letters, tmp_path, (960, 180), chain(font)), "#ffffff", 90)
        left, top, right, bottom = bounds(seen)
        ink.append(seen.sum() / ((right - left) * (bottom - top)))
    assert ink[0] > 1.2 * ink[1] and ink[0] > least
    faces = {face.name: face.weight for face, part in ALL.runs(letters) if face}
    assert min(faces.values()) >= 700, faces


@pytest.mark.parametrize("behind", ["white", "0xfae2a0"])
async def test_captions_are_readable_on_bright_backgrounds(behind: str, tmp_path: Path) -> None:
    """The dark outline around the letters is wide enough to separate them from a lit window."""
    words = spoken("Readable", 0.0, 1.0)
    script = make_subtitles([words], resolve_style(CaptionStyle(), UPRIGHT, ALL, 1)).ass
    (picture, *_) = await draw(script, tmp_path, UPRIGHT, 1, behind=behind)
    left, top, right, bottom = bounds(like(picture, "#101010", 40))
    around = picture[top : bottom + 1, left : right + 1].astype(int).max(axis=2)
    assert (around < 70).mean() > 0.32
    # The outline is a twelfth of the height of a line, at least two pixels here.
    assert resolve_style(CaptionStyle(), UPRIGHT).outline >= 2

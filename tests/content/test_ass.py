"""ASS: captions are drawn with the requested style and times, and no text acts as a command."""

from __future__ import annotations

import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysubs2
import pytest

from services.content.captions.subtitles import guess_language, make_subtitles
from services.content.layout.line_breaking import Word
from services.content.layout.style import CaptionStyle, Highlight, Position
from tests.content.drawing import FONT, MANROPE, Mask, bands, bounds, draw, like, resolve_style, spoken, still

BLUE, WHITE, YELLOW, GREEN = "#2040c0", "#ffffff", "#ffd400", "#20c040"
WIDE, TALL = (320, 180), (180, 320)


def script(style: CaptionStyle, words: list[Word] | str, size: tuple[int, int] = WIDE) -> str:
    resolved = resolve_style(style, size, MANROPE)
    return make_subtitles([spoken(words) if isinstance(words, str) else words], resolved).ass


async def test_a_plain_caption_is_text_without_commands() -> None:
    parsed = pysubs2.SSAFile.from_string(script(CaptionStyle(), "Hello, world."))
    assert [(event.start, event.end, event.text) for event in parsed] == [(190, 590, "Hello, world.")]
    assert (parsed.info["PlayResX"], parsed.info["PlayResY"]) == ("320", "180")
    assert (parsed.styles["Default"].fontname, parsed.styles["Default"].fontsize) == (FONT, 12.6)


@pytest.mark.parametrize("size", [WIDE, TALL])
@pytest.mark.parametrize("text", ["Hello", "gap, jog and say"])
async def test_a_box_with_round_corners_fits_the_text(size: tuple[int, int], text: str, tmp_path: Path) -> None:
    picture = await still(CaptionStyle(size=0.12, box_colour=BLUE), text, tmp_path, size)
    left, top, right, bottom = bounds(like(picture, BLUE, 8))
    for row, column in ((top, left), (top, right), (bottom, left), (bottom, right)):
        assert picture[row, column].max() < 40, "the corner is not round"
    # The middle of each edge has the colour of the box.
    for row, column in ((top, (left + right) // 2), (bottom, (left + right) // 2), ((top + bottom) // 2, left + 1)):
        assert like(picture[row, column], BLUE, 8)
    ink_left, ink_top, ink_right, ink_bottom = bounds(like(picture, WHITE))
    letters = min(size) * 0.12
    for gap in (ink_left - left, right - ink_right):
        assert 0.2 * letters < gap < 0.6 * letters
    assert abs((ink_left - left) - (right - ink_right)) <= 3
    assert ink_top - top > 0.1 * letters and bottom - ink_bottom > 0.1 * letters
    assert bottom - top < (1.4 + bands(like(picture, WHITE)) - 1) * letters + 2


async def test_a_box_and_its_text_are_on_screen_just_while_words_are_spoken(tmp_path: Path) -> None:
    frames = await draw(script(CaptionStyle(box_colour=BLUE, pop=True), "One two."), tmp_path)
    for colour in (BLUE, WHITE):
        shown = like(frames, colour).any(axis=(1, 2))
        assert np.flatnonzero(shown).tolist() == list(range(10, 30))


async def test_only_the_spoken_word_is_highlighted(tmp_path: Path) -> None:
    words = spoken("One two three", start=0.1, each=0.2, gap=0.1)
    frames = await draw(script(CaptionStyle(size=0.2, highlight=Highlight.WORD), words), tmp_path)
    lit = like(frames, YELLOW).any(axis=(1, 2))
    spoken_at = [
        any(word.start.total_seconds() <= n / 50 < word.end.total_seconds() for word in words) for n in range(50)
    ]
    assert lit.tolist() == spoken_at
    places = [bounds(like(frames[n], YELLOW)) for n in (5, 20, 35)]
    assert all(before[2] < after[0] for before, after in pairwise(places)), "not one word after the other"
    # Only the colour changes; where the outlines of two words meet, their edges blend slightly differently.
    assert np.ptp(frames[5:40].max(axis=3).astype(int), axis=0).max() <= 40


async def test_karaoke_runs_through_the_caption(tmp_path: Path) -> None:
    style = CaptionStyle(size=0.2, highlight=Highlight.KARAOKE, highlight_colour=GREEN)
    frames = await draw(script(style, spoken("One two three", start=0.0, each=0.3, gap=0.02)), tmp_path)
    reached = [bounds(like(frame, GREEN))[2] for frame in frames[:47]]
    assert reached == sorted(reached)
    assert len(set(reached)) == 3
    assert like(frames[2], WHITE).any()
    assert not like(frames[45], WHITE).any()
    assert not like(frames, YELLOW, 30).any()


async def test_a_caption_pops_up(tmp_path: Path) -> None:
    frames = await draw(script(CaptionStyle(size=0.2, box_colour=BLUE, pop=True), "Hello"), tmp_path)
    plain = await draw(script(CaptionStyle(size=0.2, box_colour=BLUE), "Hello"), tmp_path)
    widths = [(lambda b: b[2] - b[0])(bounds(like(frame, BLUE))) for frame in frames[10:20]]
    assert widths[0] < 0.75 * widths[-1]
    assert max(widths) > widths[-1], "it does not go a little too far"
    assert widths[:4] == sorted(widths[:4])
    # Then it equals a caption without pop.
    assert np.abs(frames[18:20].astype(int) - plain[18:20]).max() <= 24


@pytest.mark.parametrize("size", [WIDE, TALL])
async def test_captions_have_the_requested_position(size: tuple[int, int], tmp_path: Path) -> None:
    middles = {}
    for position in set(Position) - {Position.NONE}:
        picture = await still(
            CaptionStyle(position, box_colour=BLUE), "Two small lines, if it is narrow", tmp_path, size
        )
        left, top, right, bottom = bounds(like(picture, BLUE))
        assert abs((left + right) / 2 - size[0] / 2) <= 1.5
        assert top >= 0.04 * size[1] and bottom <= 0.96 * size[1] and left > 0 and right < size[0] - 1
        ink = bounds(like(picture, WHITE))
        assert left < ink[0] and top < ink[1] and ink[2] < right and ink[3] < bottom
        middles[position] = (top + bottom) / 2 / size[1]
    assert middles[Position.TOP] < 0.2 and middles[Position.BOTTOM] > 0.8
    assert abs(middles[Position.MIDDLE] - 0.5) < 0.01
    assert 0.6 < middles[Position.DEFAULT] < 0.8 if size == TALL else middles[Position.DEFAULT] > 0.8


async def test_letters_have_the_requested_size_and_colours(tmp_path: Path) -> None:
    heights = []
    for size in (0.1, 0.2):
        style = CaptionStyle(size=size, colour=GREEN, outline_colour="#c02020")
        picture = await still(style, "HHH", tmp_path, WIDE)
        _, top, _, bottom = bounds(like(picture, GREEN))
        heights.append(bottom - top + 1)
        assert like(picture, "#c02020").any()
        assert not like(picture, WHITE).any()
    assert abs(heights[1] / heights[0] - 2) < 0.25


@pytest.mark.parametrize(("most", "lines"), [(0, 2), (1, 1), (3, 3), (4, 4)])
async def test_the_number_of_lines_is_limited(most: int, lines: int, tmp_path: Path) -> None:
    words = " ".join(["hands on deck now"] * 8)
    frames = await draw(
        script(CaptionStyle(size=0.11, max_lines=most), spoken(words, each=0.1), TALL), tmp_path, TALL, 10, 4
    )
    assert max(bands(like(frame, WHITE, 120)) for frame in frames) == lines


async def test_large_letters_shrink_until_no_word_is_cut(tmp_path: Path) -> None:
    made = script(CaptionStyle(size=0.3, box_colour=BLUE), "Extraordinary circumstances", TALL)
    texts = [event.plaintext for event in pysubs2.SSAFile.from_string(made) if event.layer == 1]
    assert " ".join(texts).split() == ["Extraordinary", "circumstances"]
    picture = await still(CaptionStyle(size=0.3, box_colour=BLUE), "Extraordinary circumstances", tmp_path, TALL)
    left, _, right, _ = bounds(like(picture, BLUE))
    assert left >= 1 and right <= 178
    ink = bounds(like(picture, WHITE))
    assert left < ink[0] and ink[2] < right


def test_an_endless_word_is_drawn_in_time() -> None:
    began = time.process_time()
    script(CaptionStyle(), [Word("x" * 20_000, timedelta(0), timedelta(seconds=5000))], TALL)
    assert time.process_time() - began < 10


async def test_the_widest_lines_stay_inside_the_picture(tmp_path: Path) -> None:
    resolved = resolve_style(CaptionStyle(), TALL, MANROPE)
    made = make_subtitles([spoken(f"{'W' * 20} {'M' * 20}")], resolved)
    left, _, right, _ = bounds((await draw(made.ass, tmp_path, TALL))[12].max(axis=2) > 128)
    assert left >= 1 and right <= TALL[0] - 2


@pytest.mark.parametrize("cut", [11, 13, 16, 21, 33])
async def test_a_cut_script_has_the_same_frames(cut: int, tmp_path: Path) -> None:
    style = CaptionStyle(size=0.15, box_colour=BLUE, highlight=Highlight.KARAOKE, pop=True)
    whole = script(style, "Cut it anywhere")
    frames = await draw(whole, tmp_path)
    later = pysubs2.SSAFile.from_string(whole)
    later.events = [event for event in later if event.end > cut * 20]
    for event in later:
        event.start, event.end = max(0, event.start - cut * 20), event.end - cut * 20
    assert np.array_equal((await draw(later.to_string("ass"), tmp_path))[: 50 - cut], frames[cut:])


HOSTILE = [
    "{\\fs90}x",
    "{\\pos(9,9)}x",
    "{\\c&H0000FF&}x",
    "x\\Nx\\nx\\hx",
    "\\{\\fs90}x",
    "\\\\{\\fs90\\}x}",
    "{\\p1}m_0_0_l_99_0_99_99{\\p0}x",
    "{{\\an8}}x",
    "}{\\an8}{x",
    "{=1}x{*}",
    "x{\\fscx900",
    "x\\ {\\t(\\fs99)} \\",
    "\\N{\\k99}x你\\{",
]
STYLES = {
    "plain": CaptionStyle(),
    "box": CaptionStyle(box_colour=BLUE),
    "word": CaptionStyle(highlight=Highlight.WORD),
    "karaoke": CaptionStyle(highlight=Highlight.KARAOKE, position=Position.TOP),
    "all": CaptionStyle(Position.MIDDLE, 0.08, GREEN, "", BLUE, 2, Highlight.KARAOKE, YELLOW, True),
}


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
@pytest.mark.parametrize("measured", [True, False])
async def test_a_hostile_script_is_shown_as_it_is_written(style: CaptionStyle, measured: bool, tmp_path: Path) -> None:
    harmless = [text.replace("\\", "/").replace("{", "(").replace("}", ")").replace("你", "") for text in HOSTILE]
    drawn = []
    for texts in (HOSTILE, harmless):
        sentences = [
            spoken(text.replace("你", "") if not measured else text, start=10 * n, each=9 / len(text.split()))
            for n, text in enumerate(texts)
        ]
        made = make_subtitles(sentences, resolve_style(style, (480, 270), MANROPE if measured else FONT))
        # At the first frame of each, and at the fifth second.
        drawn.append(await draw(made.ass, tmp_path, (480, 270), rate=1, seconds=10 * len(texts)))
    for shown, plain, text in zip(*(frames[5::10] for frames in drawn), HOSTILE, strict=True):
        assert not like(shown, "#ff0000", 90).any(), text
        ink, expected = bounds(shown.max(axis=2) > 128), bounds(plain.max(axis=2) > 128)
        assert abs(ink[1] - expected[1]) <= 3 and abs(ink[3] - expected[3]) <= 3, f"{text} is elsewhere or larger"
        assert abs((ink[2] - ink[0]) - (expected[2] - expected[0])) <= 24, f"{text} is wider or narrower"


async def test_characters_without_a_glyph_are_left_out_and_reported(tmp_path: Path) -> None:
    resolved = resolve_style(CaptionStyle(box_colour=BLUE), WIDE, MANROPE)
    made = make_subtitles([spoken("Hi 👩\u200d👧 you 你好 Ω\u0301 안 你")], resolved)
    (box, text) = pysubs2.SSAFile.from_string(made.ass)
    assert text.text == "Hi you Ώ"
    assert made.missing_glyphs == "👩👧你好안"
    assert "你好" in made.srt and "你好" in made.vtt
    clean = make_subtitles([spoken("Hi you Ώ", each=1.4 / 3)], resolved)
    assert np.array_equal(await draw(made.ass, tmp_path), await draw(clean.ass, tmp_path))
    assert box.text == pysubs2.SSAFile.from_string(clean.ass)[0].text
    nothing = make_subtitles([spoken("你 好")], resolved)
    assert len(pysubs2.SSAFile.from_string(nothing.ass)) == 0
    assert len(nothing.cues) == 1


async def test_without_fonts_nothing_is_missing() -> None:
    made = make_subtitles([spoken("Hi 你好")], resolve_style(CaptionStyle(box_colour=BLUE), WIDE, FONT))
    assert made.missing_glyphs == "" and "你好" in made.ass


async def test_arabic_runs_from_right_to_left_also_around_latin(tmp_path: Path) -> None:
    resolved = resolve_style(CaptionStyle(highlight=Highlight.WORD), WIDE)
    for text, leftward in (("hello مرحبا بالعالم .", True), ("This is hello مرحبا here", False)):
        made = make_subtitles([spoken(text)], resolved)
        assert made.missing_glyphs == ""
        frames = await draw(made.ass, tmp_path)
        first, second = (bounds(like(frames[n], YELLOW)) for n in (12, 22))
        assert second[2] < first[0] if leftward else first[2] < second[0]


def gaps(mask: Mask) -> int:
    """The number of empty columns between the first and the last marked one."""
    filled = np.flatnonzero(mask.any(axis=0))
    return int(filled[-1] - filled[0] + 1 - len(filled))


async def test_letters_are_shaped_by_the_rules_of_their_script(tmp_path: Path) -> None:
    plain = CaptionStyle(Position.MIDDLE, 0.3, outline=0.0)
    # The same letters, separated by invisible characters.
    for joined, apart in (("بيت", "ب‌ي‌ت"), ("سجن", "س‌ج‌ن")):
        one, other = [like(await still(plain, text, tmp_path, WIDE), WHITE, 100) for text in (joined, apart)]
        assert gaps(one) == 0 < gaps(other), joined
    for formed, apart in (("क्ष", "क्‌ष"), ("त्र", "त्‌र")):
        first, second = [bounds(like(await still(plain, text, tmp_path, WIDE), WHITE)) for text in (formed, apart)]
        assert first[2] - first[0] < 0.8 * (second[2] - second[0]), formed
    # A vowel that is drawn before its consonant but spoken after it.
    picture = await still(
        CaptionStyle(Position.MIDDLE, 0.3, highlight=Highlight.NONE, outline=0.0), "कि", tmp_path, WIDE
    )
    alone = await still(plain, "क", tmp_path, WIDE)
    assert (
        bounds(like(picture, WHITE))[2] - bounds(like(picture, WHITE))[0]
        > bounds(like(alone, WHITE))[2] - bounds(like(alone, WHITE))[0]
    )


@pytest.mark.parametrize(
    ("text", "language"),
    [("Hello", ""), ("你好", "zh"), ("骨を食べる", "ja"), ("안녕 世界", "ko"), ("マ・サ", "ja"), ("马·克・吐温", "zh")],
)
def test_the_language_is_guessed_from_the_letters(text: str, language: str) -> None:
    assert guess_language(text) == language


async def test_a_character_has_the_glyph_of_its_language(tmp_path: Path) -> None:
    words = [Word("骨直关", timedelta(0), timedelta(seconds=1))]
    pictures = {}
    for language in ("zh", "ja", "ko", ""):
        script = make_subtitles([words], resolve_style(CaptionStyle(size=0.3), WIDE), language=language).ass
        pictures[language] = (await draw(script, tmp_path))[25]
    assert not np.array_equal(pictures["zh"], pictures["ja"])
    assert not np.array_equal(pictures["ko"], pictures["ja"])
    assert np.array_equal(pictures[""], pictures["zh"])

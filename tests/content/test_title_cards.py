"""Title cards: large, balanced, faded in and out, and clear of captions and each other."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.content.captions.ass import place_captions
from services.content.captions.cues import make_cues
from services.content.captions.subtitles import make_subtitles
from services.content.captions.title_cards import DEFAULT_TITLE_SIZE, OccupiedArea, TitleCard, place_titles
from services.content.layout.line_breaking import Word
from services.content.layout.style import CaptionStyle, Highlight, Position
from services.content.layout.typesetting import vertical_extent
from tests.content.drawing import bands, bounds, draw, like, resolve_style, spoken

BLUE, WHITE, GREEN, RED = "#2040c0", "#ffffff", "#20c040", "#ff2020"
WIDE, TALL = (320, 180), (180, 320)
PLAIN = CaptionStyle()


def card(text: str, start: float = 0.0, end: float = 1.0, canvas: tuple[int, int] = WIDE, **style: object) -> TitleCard:
    options = {"position": Position.MIDDLE, "size": DEFAULT_TITLE_SIZE, "colour": RED, **style}
    resolved = resolve_style(CaptionStyle(**options), canvas)  # type: ignore[arg-type]
    return TitleCard(text, timedelta(seconds=start), timedelta(seconds=end), resolved)


def script(
    cards: list[TitleCard], words: list[Word] | None = None, style: CaptionStyle = PLAIN, size: tuple[int, int] = WIDE
) -> str:
    return make_subtitles([words] if words else [], resolve_style(style, size), cards).ass


@pytest.mark.parametrize("size", [WIDE, TALL])
async def test_a_title_stands_large_in_the_middle(size: tuple[int, int], tmp_path: Path) -> None:
    frames = await draw(script([card("The Last Garden", canvas=size)], size=size), tmp_path, size)
    left, top, right, bottom = bounds(like(frames[25], RED))
    assert abs((left + right) / 2 - size[0] / 2) <= 3 and abs((top + bottom) / 2 - size[1] / 2) <= 6
    assert bottom - top > 0.06 * min(size)
    assert not like(frames, WHITE).any()


@pytest.mark.parametrize(
    ("text", "size", "lines"),
    [
        ("How a baker learned to dream of the sea", TALL, 3),
        ("Short", TALL, 1),
        ("One\nTwo\n\nThree", WIDE, 3),
        ("一つの長い題名は、「ここ」で分かれる。", TALL, 3),
    ],
)
async def test_a_title_is_broken_into_even_lines(text: str, size: tuple[int, int], lines: int, tmp_path: Path) -> None:
    (placed,) = place_titles([card(text, canvas=size)], [])
    assert len(placed.block.lines) == lines
    widths = [line.extent.advance for line in placed.block.lines]
    if "\n" not in text:
        assert min(widths) > 0.5 * max(widths)
    for line in placed.block.lines:
        assert line.text.strip()[0] not in "、。」" and line.text.strip()[-1] not in "「"
    frames = await draw(script([card(text, canvas=size)], size=size), tmp_path, size)
    if text.isascii():
        assert bands(like(frames[25], RED, 120)) >= lines


async def test_a_title_fades_in_and_out_by_still_events(tmp_path: Path) -> None:
    made = script([card("Hello", 0.2, 0.8, box_colour=BLUE)])
    assert r"\t(" not in made and r"\fad" not in made
    frames = await draw(made, tmp_path)
    for channel, colour in ((0, RED), (2, BLUE)):
        at = like(frames[25], colour)
        light = [float(frame[at][:, channel].mean()) for frame in frames]
        shown = [number for number, value in enumerate(light) if value > 1]
        assert shown == list(range(10, 40))
        assert all(before < after for before, after in pairwise(light[10:20]))
        assert max(light[20:30]) - min(light[20:30]) < 1
        assert all(before > after for before, after in pairwise(light[30:40]))


async def test_a_title_has_the_requested_colours_size_and_position(tmp_path: Path) -> None:
    requested = card("Hi", colour=GREEN, outline_colour=WHITE, box_colour=BLUE, position=Position.TOP)
    frames = await draw(script([requested]), tmp_path)
    box, ink = bounds(like(frames[25], BLUE)), bounds(like(frames[25], GREEN))
    assert box[0] < ink[0] and box[1] < ink[1] and ink[2] < box[2] and ink[3] < box[3]
    assert box[3] < 60 and like(frames[25], WHITE).any()
    heights = []
    for part in (0.1, 0.3):
        _, top, _, bottom = bounds(like((await draw(script([card("HH", size=part)]), tmp_path))[25], RED))
        heights.append(bottom - top + 1)
    assert heights[1] / heights[0] == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize(
    ("position", "size"),
    [(Position.BOTTOM, WIDE), (Position.MIDDLE, TALL), (Position.TOP, WIDE), (Position.DEFAULT, TALL)],
)
@pytest.mark.parametrize("requested", [Position.BOTTOM, Position.MIDDLE, Position.TOP])
async def test_a_title_keeps_clear_of_captions(
    position: Position, requested: Position, size: tuple[int, int], tmp_path: Path
) -> None:
    words = spoken("Some words that are said meanwhile, and some more", 0.0, 0.1)
    style = CaptionStyle(position, 0.12, GREEN, pop=True, max_lines=3)
    alone = await draw(script([], words, style, size), tmp_path, size)
    both = await draw(
        script([card("Title of it all", canvas=size, position=requested)], words, style, size), tmp_path, size
    )
    ink = like(both, RED, 100)
    assert ink[25].any()
    left, top, right, bottom = bounds(np.any(ink, axis=0))
    assert left > 0 and top > 0 and right < size[0] - 1 and bottom < size[1] - 1
    # The captions are unchanged to the pixel, and no title is near them.
    captions_at = like(alone, GREEN, 100).any(axis=(0, 2))
    title_at = ink.any(axis=(0, 2))
    assert not (captions_at & title_at).any()
    rows = captions_at & ~title_at
    assert np.array_equal(both[:, rows], alone[:, rows])


def test_a_title_moves_only_for_captions_on_its_frames() -> None:
    (free,) = place_titles([card("Title")], [])
    (beside,) = place_titles([card("Title")], [OccupiedArea(0, 50, 150, 170), OccupiedArea(60, 90, 0, 180)])
    assert beside == free
    (moved,) = place_titles([card("Title")], [OccupiedArea(0, 50, 80, 170)])
    assert vertical_extent(moved.block, moved.style)[1] < 80 and moved.style.size == free.style.size
    (shrunk,) = place_titles([card("Title")], [OccupiedArea(0, 50, 20, 170)])
    assert vertical_extent(shrunk.block, shrunk.style)[1] < 20 and shrunk.style.size < free.style.size
    assert list(place_titles([card("Title")], [OccupiedArea(0, 50, 0, 180)])) == []


async def test_two_titles_at_once_do_not_overlap(tmp_path: Path) -> None:
    made = script([card("First one"), card("Second one", 0.2, 0.9, colour=BLUE)])
    frames = await draw(made, tmp_path)
    first, second = bounds(like(frames[25], RED)), bounds(like(frames[25], BLUE))
    assert first[3] < second[1] or second[3] < first[1]


def test_a_title_is_in_the_ass_file_only() -> None:
    made = make_subtitles(
        [spoken("Spoken.")], resolve_style(CaptionStyle(Position.NONE), WIDE), [card("Card 你🜀\U0001ffff")]
    )
    assert "Card" not in made.srt and "Card" not in made.vtt
    assert "Spoken" in made.srt and "Spoken" not in made.ass and "Card" in made.ass
    assert made.missing_glyphs.endswith("\U0001ffff")
    nothing = make_subtitles([], resolve_style(CaptionStyle(), WIDE), [card(" \n "), card("\U0001ffff")])
    assert "Dialogue" not in nothing.ass and nothing.cues == ()


def test_another_title_changes_only_its_own_events() -> None:
    before, after = (
        pysubs2.SSAFile.from_string(script(cards, spoken("Hello there.")))
        for cards in ([], [card("A title"), card("Other", size=0.3, colour=GREEN)])
    )
    assert before.info == after.info and before.styles == after.styles
    assert [event for event in after if event.style == "Default"] == before.events


@pytest.mark.parametrize("text", ["{\\fs90}x", "\\N{\\an8}", "x\\hx", "\\{\\pos(9,9)}"])
async def test_a_hostile_title_is_shown_as_it_is_written(text: str, tmp_path: Path) -> None:
    harmless = text.replace("\\", "/").replace("{", "(").replace("}", ")")
    drawn = [bounds(like((await draw(script([card(one)]), tmp_path))[25], RED)) for one in (text, harmless)]
    assert all(abs(a - b) <= 6 for a, b in zip(*drawn, strict=True))


async def test_a_cut_within_a_title_changes_no_frame(tmp_path: Path) -> None:
    whole = script(
        [card("Cut it", box_colour=BLUE)], spoken("Anywhere at all"), CaptionStyle(pop=True, highlight=Highlight.WORD)
    )
    frames = await draw(whole, tmp_path)
    for cut in (3, 25, 44):
        later = pysubs2.SSAFile.from_string(whole)
        later.events = [event for event in later if event.end > cut * 20]
        for event in later:
            event.start, event.end = max(0, event.start - cut * 20), event.end - cut * 20
        assert np.array_equal((await draw(later.to_string("ass"), tmp_path))[: 50 - cut], frames[cut:])


TITLES = st.tuples(
    st.one_of(st.text(max_size=80), st.sampled_from(["A very long title " * 15, "x\n" * 12, "字" * 120, "W" * 300])),
    st.floats(0, 2),
    st.floats(2, 4),
    st.sampled_from([Position.TOP, Position.MIDDLE, Position.BOTTOM]),
    st.sampled_from([0.02, DEFAULT_TITLE_SIZE, 0.5]),
)


@settings(max_examples=60)
@given(
    st.lists(TITLES, min_size=1, max_size=3),
    st.sampled_from([*Position]),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.sampled_from([WIDE, TALL, (64, 64)]),
    st.sampled_from([0.0, 0.2, 0.5]),
)
def test_titles_and_captions_never_overlap(
    titles: list[tuple[str, float, float, Position, float]],
    position: Position,
    size: float,
    canvas: tuple[int, int],
    margin: float,
) -> None:
    resolved = resolve_style(
        CaptionStyle(position, size, box_colour=BLUE, pop=True, max_lines=4, margin=margin), canvas
    )
    words = spoken("and so they went on and on until nobody knew where or why", 0.0, 0.3)
    fitted = resolved.fit_words([words])
    drawn = place_captions(make_cues([words], fitted.layout), fitted)
    taken = [OccupiedArea(one.first, one.last, *vertical_extent(one.block, fitted)) for one in drawn]
    cards = [
        TitleCard(
            text, timedelta(seconds=start), timedelta(seconds=end), resolve_style(CaptionStyle(place, part), canvas)
        )
        for text, start, end, place, part in titles
    ]
    for title in place_titles(cards, taken):
        top, bottom = vertical_extent(title.block, title.style)
        assert top >= 0 and bottom <= canvas[1]
        assert title.block.width <= canvas[0]
        for other in taken:
            if other.first < title.last and title.first < other.last:
                assert bottom <= other.top or other.bottom <= top
        taken.append(OccupiedArea(title.first, title.last, top, bottom))

"""Title cards: large texts, each placed clear of the captions and the other cards that are on screen with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from services.content.captions.cues import balance_lines
from services.content.captions.event_spans import FrameClock
from services.content.layout.line_breaking import Word
from services.content.layout.style import ResolvedStyle
from services.content.layout.typesetting import Block, place_block, typeset_lines, vertical_extent

DEFAULT_TITLE_SIZE = 0.13
"""The size of the letters unless the caller sets one, relative to the smaller side of the canvas."""

_MAX_LINES = 5
# Relative to the height of the canvas: the maximum height of a card, and the least distance from edges and captions.
_MAX_HEIGHT, _MIN_DISTANCE = 0.6, 0.02
# Letters shrink by this factor until the card fits. Below this size in pixels the block is scaled instead.
_SHRINK, _MIN_SIZE = 0.93, 8


@dataclass(frozen=True)
class TitleCard:
    """A text that is on screen for some time."""

    text: str
    """A line feed begins a new line."""
    start: timedelta
    end: timedelta
    style: ResolvedStyle
    """The style of the card when nothing limits its size."""


@dataclass(frozen=True)
class OccupiedArea:
    """A band of the canvas that is occupied from a frame on until another; heights in pixels from the top."""

    first: int
    last: int
    top: float
    bottom: float


@dataclass(frozen=True)
class PlacedTitle:
    """A card as it is drawn, from a frame on until another."""

    style: ResolvedStyle
    block: Block
    first: int
    last: int


def place_titles(cards: Iterable[TitleCard], occupied: Sequence[OccupiedArea]) -> Iterator[PlacedTitle]:
    """Place the cards that have something to show, each as large and as near to its position as there is space."""
    areas = list(occupied)
    for card in cards:
        clock = FrameClock(card.style.canvas.frames_per_second)
        first = clock.frame(card.start)
        last = max(clock.frame(card.end), first + 1)
        beside = [area for area in areas if area.first < last and first < area.last]
        if placed := _place(card, beside):
            style, block = placed
            areas.append(OccupiedArea(first, last, *vertical_extent(block, style)))
            yield PlacedTitle(style, block, first, last)


def _place(card: TitleCard, beside: Sequence[OccupiedArea]) -> tuple[ResolvedStyle, Block] | None:
    height = card.style.canvas.height
    best: tuple[ResolvedStyle, Block] | None = None
    for top, bottom in sorted(_free_bands(beside, height), key=lambda band: band[0] - band[1]):
        if (fitted := _fit(card, min(bottom - top, _MAX_HEIGHT * height))) is None:
            return None
        style, block = fitted
        overhang = block.top - vertical_extent(block, style)[0]
        if block.height + 2 * overhang > bottom - top:
            continue
        block = replace(block, top=min(max(block.top, top + overhang), bottom - overhang - block.height), natural=False)
        if best is None or (style.size, -_distance(block, style)) > (best[0].size, -_distance(best[1], best[0])):
            best = style, block
    return best


def _distance(block: Block, style: ResolvedStyle) -> float:
    """The distance in pixels of a block from the position of its style."""
    return abs(block.top - place_block(block.lines, style).top)


def _free_bands(beside: Iterable[OccupiedArea], height: int) -> Iterator[tuple[float, float]]:
    """The free bands of the canvas from top to bottom, at the least distance from occupied areas."""
    distance = _MIN_DISTANCE * height
    free = distance
    for area in sorted(beside, key=lambda area: area.top):
        if area.top - distance > free:
            yield free, area.top - distance
        free = max(free, area.bottom + distance)
    if height - distance > free:
        yield free, height - distance


def _fit(card: TitleCard, max_height: float) -> tuple[ResolvedStyle, Block] | None:
    """Shrink the letters of a card until it fits a height in pixels; None when the card has nothing to show."""
    paragraphs = [[Word(part, timedelta(0), timedelta(1)) for part in line.split()] for line in card.text.splitlines()]
    style = card.style.fit_words(paragraphs)
    style = style.with_size(style.size)
    while True:
        spoken = [line for words in paragraphs for line in balance_lines(words, style.layout)]
        lines = typeset_lines(spoken, style)
        if not lines:
            return None
        block = place_block(lines, style, max_height)
        top, bottom = vertical_extent(block, style)
        smallest = style.size * _SHRINK < _MIN_SIZE
        fits = block.scale == 1 and bottom - top <= max_height and len(lines) <= max(_MAX_LINES, len(paragraphs))
        if smallest or fits:
            overhang = (bottom - top - block.height) / 2
            return style, place_block(lines, style, max(1.0, max_height - 2 * overhang))
        style = style.with_size(style.size * _SHRINK)

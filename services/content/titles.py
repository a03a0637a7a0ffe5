"""Titles: large texts, each where no caption and no other title is while it is on screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from services.content import captions, typeset
from services.content.looks import Look
from services.content.pieces import Word
from services.content.stills import Clock
from services.content.typeset import Block

# The size of letters where nobody chose one, as a part of the canvas's smaller side.
SIZE = 0.13

_LINES = 5
# The part of the canvas's height that a title may take, and the least room between it and its edges or a caption.
_TALL, _APART = 0.6, 0.02
# By so much its letters are made smaller until it fits; below so many pixels they are scaled instead.
_SMALLER, _SMALLEST = 0.93, 8


@dataclass(frozen=True)
class Card:
    """A text, and when it is on screen."""

    text: str
    """A line feed begins a new line."""
    start: timedelta
    end: timedelta
    look: Look
    """As it would be with all the room that there is."""


@dataclass(frozen=True)
class Reach:
    """What is on screen from a frame on until another, and between which heights of the canvas."""

    first: int
    last: int
    top: float
    bottom: float


@dataclass(frozen=True)
class Title:
    """A card as it is drawn, from a frame on until another."""

    look: Look
    block: Block
    first: int
    last: int


def place(cards: Iterable[Card], taken: Sequence[Reach]) -> Iterator[Title]:
    """The cards that have something to show, each as large and as near to where it is wanted as there is room."""
    taken = list(taken)
    for card in cards:
        clock = Clock(card.look.canvas.frames_per_second)
        first = clock.frame(card.start)
        last = max(clock.frame(card.end), first + 1)
        beside = [reach for reach in taken if reach.first < last and first < reach.last]
        if fitting := _placed(card, beside):
            look, block = fitting
            taken.append(Reach(first, last, *typeset.reach(block, look)))
            yield Title(look, block, first, last)


def _placed(card: Card, beside: Sequence[Reach]) -> tuple[Look, Block] | None:
    height = card.look.canvas.height
    best: tuple[Look, Block] | None = None
    for top, bottom in sorted(_gaps(beside, height), key=lambda gap: gap[0] - gap[1]):
        if (made := _made(card, min(bottom - top, _TALL * height))) is None:
            return None
        look, block = made
        over = block.top - typeset.reach(block, look)[0]
        if block.height + 2 * over > bottom - top:
            continue
        block = replace(block, top=min(max(block.top, top + over), bottom - over - block.height), natural=False)
        if best is None or (look.size, -_moved(block, look)) > (best[0].size, -_moved(best[1], best[0])):
            best = look, block
    return best


def _moved(block: Block, look: Look) -> float:
    """How far a block is from where its style wants it."""
    return abs(block.top - typeset.block(block.lines, look).top)


def _gaps(beside: Iterable[Reach], height: int) -> Iterator[tuple[float, float]]:
    """The free parts of the canvas, from top to bottom, with some air to what is there."""
    apart = _APART * height
    free = apart
    for reach in sorted(beside, key=lambda reach: reach.top):
        if reach.top - apart > free:
            yield free, reach.top - apart
        free = max(free, reach.bottom + apart)
    if height - apart > free:
        yield free, height - apart


def _made(card: Card, tall: float) -> tuple[Look, Block] | None:
    """A card with letters as large as wanted, or as fit in so high a room; None: it has nothing to show."""
    paragraphs = [[Word(part, timedelta(0), timedelta(1)) for part in line.split()] for line in card.text.splitlines()]
    look = card.look.fitted(paragraphs)
    look = look.sized(look.size)
    while True:
        spoken = [line for words in paragraphs for line in captions.balanced(words, look.layout)]
        lines = typeset.lines(spoken, look)
        if not lines:
            return None
        block = typeset.block(lines, look, tall)
        top, bottom = typeset.reach(block, look)
        small = look.size * _SMALLER < _SMALLEST
        if small or (block.scale == 1 and bottom - top <= tall and len(lines) <= max(_LINES, len(paragraphs))):
            over = (bottom - top - block.height) / 2
            return look, typeset.block(lines, look, max(1.0, tall - 2 * over))
        look = look.sized(look.size * _SMALLER)

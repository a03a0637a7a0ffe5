"""Typeset: the lines of a caption as runs of one font each, and where on the canvas each of them stands.

The renderer makes each line as high as the tallest font on it, which for some scripts is twice what its letters take.
So lines that it would put elsewhere than they belong are placed one by one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from services.content.fonts import Extent, Face, Run, needs_glyph
from services.content.looks import ASCENT, GROWN, LINE, Look, Position
from services.content.pieces import Word

# A letter is drawn with at most so many marks; more are no writing, and would make all others tiny.
_MARKS = 8

# What makes one picture of several emoji. On a line without a letter the renderer cannot tell in which script it
# stands, and draws the several: so that they are measured as several, it is left out.
_JOINERS = dict.fromkeys(map(ord, "\u200d\ufe0f\u20e3"))


@dataclass(frozen=True)
class Line:
    """A line, without what no font can show."""

    words: tuple[tuple[Run, ...], ...]
    """Each word as runs; their texts follow each other as they are, with their blanks."""
    spoken: tuple[Word, ...]
    """The words that those are."""
    extent: Extent
    """What it takes, in ems."""
    descent: float
    """How far the renderer takes it to reach below the line that letters stand on, in ems."""
    plain: bool
    """Whether all of it is in the main font."""

    @property
    def text(self) -> str:
        """What is written on it."""
        return "".join(part for runs in self.words for _, part in runs)


@dataclass(frozen=True)
class Block:
    """Lines on a canvas; lengths are in its pixels."""

    lines: tuple[Line, ...]
    scale: float
    """How much smaller than in its look the letters are, so that all fit; 1: not."""
    width: float
    """Of the widest line."""
    height: float
    """Of all lines."""
    baselines: tuple[float, ...]
    """Where the letters of each line stand, from the top of the block."""
    natural: bool
    """Whether the renderer by itself puts lines of this height at these distances."""
    top: float = 0.0

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.top + self.height

    @property
    def middle(self) -> float:
        """Half way down."""
        return self.top + self.height / 2


def lines(spoken: Sequence[Sequence[Word]], look: Look) -> list[Line]:
    """Lines of words, less those of which nothing can be shown."""
    return [line for line in (_line(words, look) for words in spoken) if line.words]


def block(lines: Sequence[Line], look: Look, tall: float | None = None) -> Block:
    """Lines one below the other, where the style wants them: smaller than it wants where they would not fit.

    `tall` is how high they may be, when it is not for the style to say.
    """
    # Ink that reaches far, as that of stacked marks does, gets the room that it needs.
    first = max(ASCENT, lines[0].extent.above)
    steps = [max(LINE, upper.extent.below + lower.extent.above) for upper, lower in pairwise(lines)]
    last = max(LINE - ASCENT, lines[-1].extent.below)
    wide, high = max(line.extent.advance for line in lines), first + sum(steps) + last
    fits = min(1.0, look.room / (wide * look.em or 1.0), (look.tall if tall is None else tall) / (high * look.em))
    em = look.em * fits
    found = Block(
        lines=tuple(lines),
        scale=fits,
        width=wide * em,
        height=high * em,
        baselines=tuple(at * em for at in accumulate(steps, initial=first)),
        natural=fits == 1.0
        and abs(high - LINE * len(lines)) < 1e-6
        and abs(look.font_size - look.size) < 0.01 * look.size
        and all(line.plain for line in lines),
    )
    match look.style.position:
        case Position.TOP:
            found = replace(found, top=look.foot)
        case Position.MIDDLE:
            found = replace(found, top=(look.canvas.height - found.height) / 2)
        case _:
            found = replace(found, top=look.canvas.height - look.foot - found.height)
    # For a moment it may reach farther than it stays.
    top, bottom = reach(found, look)
    inward = max(0.0, 1 - top) - max(0.0, bottom + 1 - look.canvas.height)
    return replace(found, top=found.top + inward, natural=found.natural and not inward)


def reach(block: Block, look: Look) -> tuple[float, float]:
    """The heights between which all that is drawn of a block is, at its largest."""
    outside = look.padding[1] if look.style.box_colour else look.outline + look.shadow
    half = (block.height / 2 + outside) * (GROWN if look.style.pop else 1.0)
    return block.middle - half, block.middle + half


def _line(words: Sequence[Word], look: Look) -> Line:
    shown: list[tuple[Word, tuple[Run, ...]]] = []
    letters = any(unicodedata.category(character)[0] == "L" for word in words for character in word.text)
    for word in words:
        text = word.text if letters else word.text.translate(_JOINERS)
        runs = _runs(text if shown else text.lstrip(), look, shown[-1][1][-1][0] if shown else None)
        if any(needs_glyph(character) for _, part in runs for character in part):
            shown.append((word, runs))
    words_shown = tuple(runs for _, runs in shown)
    return Line(
        words=words_shown,
        spoken=tuple(word for word, _ in shown),
        extent=_extent([run for runs in words_shown for run in runs], look),
        descent=max((face.descent for runs in words_shown for face, _ in runs if face), default=LINE - ASCENT),
        plain=look.chain is None or {face for runs in words_shown for face, _ in runs} <= {look.chain.main},
    )


def _runs(text: str, look: Look, before: Face | None) -> tuple[Run, ...]:
    if look.chain is None:
        return ((None, text),)
    bare = text.lstrip()
    runs = [(face, part) for face, part in look.chain.runs(_with_few_marks(bare)) if face]
    if runs and bare != text:
        # A blank between two words in one font is of that font too, so that it is named once; others are of the main.
        face, part = runs[0]
        if face is before and face.shows(" "):
            runs[0] = (face, " " + part)
        else:
            runs.insert(0, (look.chain.main, " "))
    return tuple(runs)


def _extent(runs: Sequence[Run], look: Look) -> Extent:
    if look.chain is None:
        return Extent(look.measure("".join(part for _, part in runs)))
    advance, above, below = 0.0, 0.0, 0.0
    for face, part in runs:
        if face:
            blanks = part.count(" ")
            taken = face.measure(part.replace(" ", ""))
            advance += taken.advance + blanks * face.measure(" ").advance if blanks else taken.advance
            above, below = max(above, taken.above), max(below, taken.below)
    return Extent(advance, above, below)


def _with_few_marks(text: str) -> str:
    kept, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        if marks <= _MARKS:
            kept.append(character)
    return "".join(kept)

"""Typesetting: the lines of a caption as runs of one font each, and the place of each line on the canvas.

libass makes each line as high as its tallest font, which for some scripts is twice the height of the letters. Lines
that it would put at the wrong height are therefore placed one by one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from services.content.fonts.characters import needs_glyph
from services.content.fonts.fallback import Extent, Face, Run
from services.content.layout.line_breaking import Word
from services.content.layout.style import ASCENT_EMS, LINE_HEIGHT_EMS, POP_SCALE, Position, ResolvedStyle

# The most marks that are drawn on a letter. More are not writing, and would make all other letters tiny.
_MAX_MARKS = 8

# Characters that join emoji to one picture. On a line without letters libass does not know the script and draws the
# emoji one by one. Without the joiners they are also measured one by one.
_JOINERS = dict.fromkeys(map(ord, "\u200d\ufe0f\u20e3"))


@dataclass(frozen=True)
class Line:
    """A line, without the characters that no font can show."""

    words: tuple[tuple[Run, ...], ...]
    """Each word as runs. All but the first begin with the blank before them, so that their texts join to the line."""
    spoken: tuple[Word, ...]
    """The spoken words, one for each of `words`."""
    extent: Extent
    """The extent of the line, in ems."""
    descent: float
    """The height of the line below the baseline as libass computes it, in ems."""
    plain: bool
    """Whether the whole line is in the main font."""

    @property
    def text(self) -> str:
        """The text of the line."""
        return "".join(part for runs in self.words for _, part in runs)


@dataclass(frozen=True)
class Block:
    """Lines on a canvas; lengths are in pixels of the canvas."""

    lines: tuple[Line, ...]
    scale: float
    """The scale of the letters relative to their style; less than 1 when the lines would not fit otherwise."""
    width: float
    """The width of the widest line."""
    height: float
    """The height of all lines."""
    baselines: tuple[float, ...]
    """The baseline of each line, from the top of the block."""
    natural: bool
    """Whether libass places the lines at these distances by itself."""
    top: float = 0.0

    @property
    def bottom(self) -> float:
        """The lower edge of the block."""
        return self.top + self.height

    @property
    def middle(self) -> float:
        """The height half-way between the upper and the lower edge."""
        return self.top + self.height / 2


def typeset_lines(spoken: Sequence[Sequence[Word]], resolved: ResolvedStyle) -> list[Line]:
    """Typeset the words of each line; lines of which nothing can be shown are left out."""
    return [line for line in (_typeset_line(words, resolved) for words in spoken) if line.words]


def place_block(lines: Sequence[Line], resolved: ResolvedStyle, max_height: float | None = None) -> Block:
    """Stack lines at the position of their style, scaled down where they would not fit.

    Args:
        lines: The lines, at least one.
        resolved: Their style.
        max_height: The maximum height of the block in pixels; None: that of the style.
    """
    # Ink that reaches far above or below a line, such as stacked marks, gets the space that it needs.
    first = max(ASCENT_EMS, lines[0].extent.above)
    steps = [max(LINE_HEIGHT_EMS, upper.extent.below + lower.extent.above) for upper, lower in pairwise(lines)]
    last = max(LINE_HEIGHT_EMS - ASCENT_EMS, lines[-1].extent.below)
    width, height = max(line.extent.advance for line in lines), first + sum(steps) + last
    available = resolved.max_height if max_height is None else max_height
    scale = min(1.0, resolved.max_width / (width * resolved.em or 1.0), available / (height * resolved.em))
    em = resolved.em * scale
    block = Block(
        lines=tuple(lines),
        scale=scale,
        width=width * em,
        height=height * em,
        baselines=tuple(at * em for at in accumulate(steps, initial=first)),
        natural=scale == 1.0
        and abs(height - LINE_HEIGHT_EMS * len(lines)) < 1e-6
        and abs(resolved.font_size - resolved.size) < 0.01 * resolved.size
        and all(line.plain for line in lines),
    )
    match resolved.style.position:
        case Position.TOP:
            block = replace(block, top=resolved.margin)
        case Position.MIDDLE:
            block = replace(block, top=(resolved.canvas.height - block.height) / 2)
        case _:
            block = replace(block, top=resolved.canvas.height - resolved.margin - block.height)
    # While it pops up, the block is larger than its final size: it must stay inside the canvas then, too.
    top, bottom = vertical_extent(block, resolved)
    inward = max(0.0, 1 - top) - max(0.0, bottom + 1 - resolved.canvas.height)
    return replace(block, top=block.top + inward, natural=block.natural and not inward)


def vertical_extent(block: Block, resolved: ResolvedStyle) -> tuple[float, float]:
    """The top and the bottom of all that is drawn of a block at its largest, in pixels from the top of the canvas."""
    outside = resolved.padding[1] if resolved.style.box_colour else resolved.outline + resolved.shadow
    half = (block.height / 2 + outside) * (POP_SCALE if resolved.style.pop else 1.0)
    return block.middle - half, block.middle + half


def _typeset_line(words: Sequence[Word], resolved: ResolvedStyle) -> Line:
    shown: list[tuple[Word, tuple[Run, ...]]] = []
    letters = any(unicodedata.category(character)[0] == "L" for word in words for character in word.text)
    for word in words:
        text = word.text if letters else word.text.translate(_JOINERS)
        runs = _split_into_runs(text if shown else text.lstrip(), resolved, shown[-1][1][-1][0] if shown else None)
        if any(needs_glyph(character) for _, part in runs for character in part):
            shown.append((word, runs))
    words_shown = tuple(runs for _, runs in shown)
    faces = {face for runs in words_shown for face, _ in runs}
    return Line(
        words=words_shown,
        spoken=tuple(word for word, _ in shown),
        extent=_measure([run for runs in words_shown for run in runs], resolved),
        descent=max((face.descent for face in faces if face), default=LINE_HEIGHT_EMS - ASCENT_EMS),
        plain=resolved.fallback is None or faces <= {resolved.fallback.main},
    )


def _split_into_runs(text: str, resolved: ResolvedStyle, before: Face | None) -> tuple[Run, ...]:
    if resolved.fallback is None:
        return ((None, text),)
    bare = text.lstrip()
    runs = [(face, part) for face, part in resolved.fallback.runs(_limit_marks(bare)) if face]
    if runs and bare != text:
        # A blank between two words in one font takes that font, so that the script names it once. Any other blank
        # takes the main font.
        face, part = runs[0]
        if face is before and face.shows(" "):
            runs[0] = (face, " " + part)
        else:
            runs.insert(0, (resolved.fallback.main, " "))
    return tuple(runs)


def _measure(runs: Sequence[Run], resolved: ResolvedStyle) -> Extent:
    if resolved.fallback is None:
        return Extent(resolved.measure("".join(part for _, part in runs)))
    advance, above, below = 0.0, 0.0, 0.0
    for face, part in runs:
        if face:
            blanks = part.count(" ")
            extent = face.measure(part.replace(" ", ""))
            advance += extent.advance + blanks * face.measure(" ").advance if blanks else extent.advance
            above, below = max(above, extent.above), max(below, extent.below)
    return Extent(advance, above, below)


def _limit_marks(text: str) -> str:
    limited, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        if marks <= _MAX_MARKS:
            limited.append(character)
    return "".join(limited)

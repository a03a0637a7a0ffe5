"""ASS: captions drawn for a canvas, as a script for libass.

Whatever moves is written as short events that each stand still: one for each word of a highlight, one for each step
of a pop. So a script can be cut anywhere by cutting its events, and every frame looks as before.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise

from pysubs2 import Alignment, Color, SSAEvent, SSAFile, SSAStyle

from services.content import fonts
from services.content.captions import Cue
from services.content.looks import NEARLY_BLACK, WHITE, YELLOW, Highlight, Look, Position
from services.content.pieces import Word

# Takes no room and shows nothing, and keeps a backslash from the letter that would make it a command.
_NOTHING = "\u2060"

# Neither is drawn; a line runs the way of the first letter in it, or of such a mark.
_LEFT_TO_RIGHT, _RIGHT_TO_LEFT = "\u200e", "\u200f"

# The steps in which a caption pops up: from when, in milliseconds after it appears, and how large, in percent.
_POP = ((0, 70), (30, 86), (60, 98), (90, 105), (120, 102), (150, 100))

_ALIGNMENTS = {Position.TOP: Alignment.TOP_CENTER, Position.MIDDLE: Alignment.MIDDLE_CENTER}

# How far the handles of a curve stand from its ends, so that it is a quarter of a circle.
_ROUND = 0.5523


def ass(cues: Sequence[Cue], look: Look) -> str:
    """An ASS script. No text in it acts as a command, and it holds no character that the fonts cannot show."""
    subtitles = SSAFile()
    for cue in cues:
        lines = [line for line in (_showable(line, look) for line in cue.spoken) if line]
        if lines:
            subtitles.events += _events(cue, lines, look)
    subtitles.info = {
        "ScriptType": "v4.00+",
        "PlayResX": str(look.width),
        "PlayResY": str(look.height),
        # Lines that were measured are never broken again.
        "WrapStyle": "2" if look.fonts else "0",
        "ScaledBorderAndShadow": "yes",
        "YCbCr Matrix": "None",
    }
    subtitles.styles = {"Default": _style(look)}
    return subtitles.to_string("ass", header_notice="Captions of MoneyPrinter")


def _showable(line: Sequence[Word], look: Look) -> list[Word]:
    """The words of a line without what no font can show."""
    if not look.fonts:
        return list(line)
    shown: list[Word] = []
    for word in line:
        text = "".join(part for font, part in fonts.runs(word.text, look.fonts) if font)
        if any(map(fonts.needs_glyph, text)):
            shown.append(Word(text if shown else text.lstrip(), word.start, word.end))
    return shown


def _events(cue: Cue, lines: Sequence[Sequence[Word]], look: Look) -> Iterator[SSAEvent]:
    words = [word for line in lines for word in line] if look.style.highlight is not Highlight.NONE else []
    start, end = _milliseconds(cue.start), _milliseconds(cue.end)
    pop = _POP if look.style.pop else _POP[-1:]
    steps = {start + after for after, _ in pop} if look.style.pop else set()

    def scale(at: int) -> int:
        return [percent for after, percent in pop if after <= at - start or not look.style.pop][-1]

    def spoken(at: int) -> frozenset[int]:
        karaoke = look.style.highlight is Highlight.KARAOKE
        return frozenset(
            number
            for number, word in enumerate(words)
            if _milliseconds(word.start) <= at and (karaoke or at < _milliseconds(word.end))
        )

    def stills(changes: set[int], aspects: bool) -> Iterator[tuple[int, int, int, frozenset[int]]]:
        """The times between changes, each with its scale and the words that are highlighted."""
        times = sorted({start, end} | {at for at in changes if start < at < end})
        found: list[tuple[int, int, int, frozenset[int]]] = []
        for begin, then in pairwise(times):
            still = (scale(begin), spoken(begin) if aspects else frozenset[int]())
            if found and found[-1][2:] == still:
                found[-1] = (found[-1][0], then, *still)
            else:
                found.append((begin, then, *still))
        yield from found

    if look.style.box_colour:
        for begin, then, percent, _ in stills(steps, False):
            yield SSAEvent(start=begin, end=then, layer=0, text=_box(lines, look, percent))
    said = {_milliseconds(at) for word in words for at in (word.start, word.end)}
    for begin, then, percent, highlighted in stills(steps | said, True):
        text = _placed(len(lines), look, percent) + _text(lines, look, highlighted)
        yield SSAEvent(start=begin, end=then, layer=1 if look.style.box_colour else 0, text=text)


def _milliseconds(time: timedelta) -> int:
    """A time as ASS can write it, in steps of 10 ms."""
    return round(time.total_seconds() * 100) * 10


def _text(lines: Sequence[Sequence[Word]], look: Look, highlighted: frozenset[int]) -> str:
    """The lines, some of their words in the colour of the highlight, and each run in a font that has it."""
    colour = look.style.highlight_colour or YELLOW
    mark = _direction("".join(word.text for line in lines for word in line))
    text, number, font, lit = "", 0, look.font, False
    for index, line in enumerate(lines):
        text += (r"\N" if index else "") + mark
        for word in line:
            if (number in highlighted) != lit:
                lit = not lit
                text += rf"{{\1c{_colour(colour if lit else look.style.colour or WHITE)}}}"
            for wanted, part in fonts.runs(word.text, look.fonts) if look.fonts else [(None, word.text)]:
                if wanted and wanted.name != font:
                    font = wanted.name
                    text += rf"{{\fn{font}}}"
                text += _escaped(part)
            number += 1
    return text


def _direction(text: str) -> str:
    """The mark of the way that lines run in which some letters run from right to left: that of most letters."""
    ways = [unicodedata.bidirectional(character) for character in text]
    leftward = sum(way in ("R", "AL") for way in ways)
    if not leftward:
        return ""
    return _RIGHT_TO_LEFT if leftward > ways.count("L") else _LEFT_TO_RIGHT


def _placed(lines: int, look: Look, percent: int) -> str:
    """Where a caption that pops stands: it grows from its middle. Others stand where their style says."""
    if not look.style.pop:
        return ""
    x, y = look.centre(lines)
    size = "" if percent == 100 else rf"\fscx{percent}\fscy{percent}"
    return rf"{{\an5\pos({x:.2f},{y:.2f}){size}}}"


def _box(lines: Sequence[Sequence[Word]], look: Look, percent: int) -> str:
    """A box with round corners behind the lines, drawn in eighths of a pixel."""
    (x, y), (beside, above) = look.centre(len(lines)), look.padding
    widest = max(look.measure("".join(word.text for word in line)) for line in lines) * look.size
    scale = 8 * percent / 100
    half_width, half_height = (widest / 2 + beside) * scale, (len(lines) * look.size / 2 + above) * scale
    radius = min(0.3 * look.size * scale, half_width, half_height)

    def at(right: int, down: int, inward_x: float, inward_y: float) -> str:
        """A point near a corner, so far from it towards the middle."""
        return f"{8 * x + right * (half_width - inward_x):.0f} {8 * y + down * (half_height - inward_y):.0f}"

    near = radius * (1 - _ROUND)
    path = f"m {at(-1, -1, radius, 0)}"
    for right, down in ((1, -1), (1, 1), (-1, 1), (-1, -1)):
        # Clockwise: every second corner is met along its upright side.
        ends = [(radius, 0.0), (near, 0.0), (0.0, near), (0.0, radius)]
        if right != -down:
            ends.reverse()
        first, *curve = (at(right, down, *end) for end in ends)
        path += f" l {first} b {' '.join(curve)}"
    return rf"{{\an7\pos(0,0)\bord0\shad0\1c{_colour(look.style.box_colour)}\p4}}{path}"


def _escaped(line: str) -> str:
    return line.replace("\\", "\\" + _NOTHING).replace("{", r"\{").replace("}", r"\}")


def _colour(colour: str) -> str:
    """A colour `#rrggbb` as ASS writes it."""
    return f"&H{colour[5:7]}{colour[3:5]}{colour[1:3]}&".upper()


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _style(look: Look) -> SSAStyle:
    style = look.style
    colour = Color(*_rgb(style.colour or WHITE))
    return SSAStyle(
        fontname=look.font,
        fontsize=look.size,
        primarycolor=colour,
        secondarycolor=colour,
        outlinecolor=Color(*_rgb(style.outline_colour), 0) if style.outline_colour else Color(*_rgb(NEARLY_BLACK), 24),
        backcolor=Color(0, 0, 0, 130),
        outline=look.outline,
        shadow=0 if style.box_colour else round(look.size * 0.035, 2),
        alignment=_ALIGNMENTS.get(style.position, Alignment.BOTTOM_CENTER),
        marginl=look.side,
        marginr=look.side,
        marginv=0 if style.position is Position.MIDDLE else look.foot,
        # Each line runs the way of its first letter or mark.
        encoding=-1,
    )

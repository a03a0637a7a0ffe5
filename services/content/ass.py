"""ASS: captions and title cards drawn for a canvas, as a script for libass.

Whatever moves is written as short events that each stand still: one for each word of a highlight, one for each step
of a pop or a fade. So a script can be cut anywhere by cutting its events, and every frame looks as before.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pysubs2 import Alignment, Color, SSAEvent, SSAFile, SSAStyle

from services.content import stills, typeset
from services.content.captions import Cue
from services.content.fonts import Face
from services.content.looks import NEARLY_BLACK, WHITE, YELLOW, Canvas, Highlight, Look, Position, Style
from services.content.stills import Clock
from services.content.titles import SIZE, Title
from services.content.typeset import Block, Line

# Takes no room and shows nothing, and keeps a backslash from the letter that would make it a command.
_NOTHING = "\u2060"

# Neither is drawn; a line runs the way of the first letter in it, or of such a mark.
_LEFT_TO_RIGHT, _RIGHT_TO_LEFT = "\u200e", "\u200f"

_ALIGNMENTS = {Position.TOP: Alignment.TOP_CENTER, Position.MIDDLE: Alignment.MIDDLE_CENTER}

# A font this much lighter than the main one is drawn bolder, unless it is bold itself.
_BOLD, _LIGHTER = 600, 150

# How far the handles of a curve stand from its ends, so that it is a quarter of a circle.
_ROUND = 0.5523

# How opaque the rim and the shadow are by themselves, 0 to 255 as ASS counts it: from opaque to not seen.
_RIM_ALPHA, _SHADOW_ALPHA = 0, 90

_BOXES, _TEXTS, _TITLE_BOXES, _TITLES = range(4)


@dataclass(frozen=True)
class Caption:
    """A cue as it is drawn, from a frame on until another."""

    cue: Cue
    block: Block
    first: int
    last: int


def captions(cues: Sequence[Cue], look: Look) -> list[Caption]:
    """The captions that have something to show."""
    drawn = []
    for cue, (first, last) in zip(cues, Clock(look.canvas.frames_per_second).spans(cues), strict=True):
        if first < last and (lines := typeset.lines(cue.spoken, look)):
            drawn.append(Caption(cue, typeset.block(lines, look), first, last))
    return drawn


def ass(drawn: Sequence[Caption], titles: Sequence[Title], look: Look, language: str) -> str:
    """An ASS script. No text in it acts as a command, and it holds no character that the fonts cannot show."""
    subtitles = SSAFile()
    clock = Clock(look.canvas.frames_per_second)
    for caption in drawn:
        subtitles.events += _caption(caption, look, clock)
    for title in titles:
        subtitles.events += _title(title, clock)
    subtitles.info = _info(look.canvas, look, language)
    # What is one title's own is said in its events: so that another title changes no part of a cut without it.
    plain = Look.of(Style(Position.MIDDLE, SIZE), look.canvas, look.chain or look.font)
    subtitles.styles = {"Default": _style(look), "Title": _style(plain)}
    return subtitles.to_string("ass", header_notice="Captions of MoneyPrinter")


def _info(canvas: Canvas, look: Look, language: str) -> dict[str, str]:
    return {
        "ScriptType": "v4.00+",
        "PlayResX": str(canvas.width),
        "PlayResY": str(canvas.height),
        # Lines that were measured are never broken again.
        "WrapStyle": "2" if look.chain else "0",
        "ScaledBorderAndShadow": "yes",
        # Kerned letters would stir whenever the highlight parts them.
        "Kerning": "no",
        "YCbCr Matrix": "None",
    } | ({"Language": language} if language else {})


def _caption(caption: Caption, look: Look, clock: Clock) -> Iterator[SSAEvent]:
    block, first, last = caption.block, caption.first, caption.last
    sizes = stills.pop(first, clock) if look.style.pop else {first: 100}

    def size(at: int) -> int:
        return [percent for since, percent in sizes.items() if since <= at][-1]

    if look.style.box_colour:
        for begin, then, percent in stills.stills(first, last, sizes, size):
            yield _event(begin, then, clock, _BOXES, _box(block, look, percent / 100))
    for row in _rows(block):
        spans = _spans(row, look, clock)

        def drawn(at: int, spans: Sequence[tuple[int, int]] = spans) -> tuple[int, frozenset[int]]:
            return size(at), _lit(spans, look.style.highlight, at)

        changes = {*sizes, *itertools.chain.from_iterable(spans)}
        for begin, then, (percent, lit) in stills.stills(first, last, changes, drawn):
            yield _event(begin, then, clock, _TEXTS, _text(row, block, look, percent / 100, lit))


def _spans(row: _Row, look: Look, clock: Clock) -> list[tuple[int, int]]:
    """When each word of a row is spoken, in frames; nothing if that is not shown."""
    if look.style.highlight is Highlight.NONE:
        return []
    return [(clock.frame(word.start), clock.frame(word.end)) for line in row.lines for word in line.spoken]


def _lit(spans: Sequence[tuple[int, int]], highlight: Highlight, at: int) -> frozenset[int]:
    """Which words are highlighted on a frame."""
    karaoke = highlight is Highlight.KARAOKE
    return frozenset(number for number, (start, end) in enumerate(spans) if start <= at and (karaoke or at < end))


def _title(title: Title, clock: Clock) -> Iterator[SSAEvent]:
    seen = stills.fade(title.first, title.last, clock)
    own = _own(title.look)
    for begin, then, part in stills.stills(
        title.first, title.last, seen, lambda at: [part for since, part in seen.items() if since <= at][-1]
    ):
        if title.look.style.box_colour:
            yield _event(begin, then, clock, _TITLE_BOXES, _box(title.block, title.look, 1.0, part), "Title")
        for row in _rows(title.block):
            text = _text(row, title.block, title.look, 1.0, frozenset(), part)
            yield _event(begin, then, clock, _TITLES, own + text, "Title")


def _own(look: Look) -> str:
    """The commands that make a title look as it should, whatever its style in the script says."""
    style = look.style
    rim = _alpha(0 if style.outline_colour else _RIM_ALPHA, 1.0)
    return _braced(
        rf"\fn{look.font}\fs{look.font_size:.2f}\bord{look.outline:g}\shad{look.shadow:g}"
        rf"\1c{_colour(style.colour or WHITE)}\3c{_colour(style.outline_colour or NEARLY_BLACK)}\3a{rim}"
    )


def _event(begin: int, then: int, clock: Clock, layer: int, text: str, style: str = "Default") -> SSAEvent:
    return SSAEvent(start=clock.before(begin), end=clock.before(then), layer=layer, text=text, style=style)


@dataclass(frozen=True)
class _Row:
    """Lines that are drawn by one event."""

    lines: tuple[Line, ...]
    baseline: float | None
    """Where its letters stand, from the top of its block; None: the renderer puts all lines right by itself."""


def _rows(block: Block) -> list[_Row]:
    if block.natural:
        return [_Row(block.lines, None)]
    return [_Row((line,), baseline) for line, baseline in zip(block.lines, block.baselines, strict=True)]


def _text(row: _Row, block: Block, look: Look, grown: float, lit: frozenset[int], seen: float = 1.0) -> str:
    """A row as the text of an event. Its block grows from its middle; `lit` are the words of the row that are
    highlighted, `seen` is how opaque it is."""
    centre, scale = look.canvas.width / 2, grown * block.scale
    commands = ""
    if row.baseline is not None:
        # Down from the middle of the block, then to where the renderer takes the line to end.
        down = block.middle + (block.top + row.baseline - block.middle) * grown
        commands = rf"\an2\pos({centre:g},{down + row.lines[0].descent * look.em * scale:.2f})"
    elif scale != 1:
        commands = rf"\an5\pos({centre:g},{block.middle:g})"
    if scale != 1:
        commands += rf"\fscx{100 * scale:g}\fscy{100 * scale:g}"
    mark = _direction("".join(line.text for line in block.lines))
    return _braced(commands + _opacity(look, seen)) + _written(row.lines, look, lit, mark)


def _written(lines: Sequence[Line], look: Look, lit: frozenset[int], mark: str) -> str:
    """Lines, some of their words in the colour of the highlight, and each run in the font that shows it."""
    colour = look.style.highlight_colour or YELLOW
    text, number, font, was_lit = "", 0, look.chain.main if look.chain else None, False
    for index, line in enumerate(lines):
        text += (r"\N" if index else "") + mark
        for runs in line.words:
            if (number in lit) != was_lit:
                was_lit = not was_lit
                text += rf"{{\1c{_colour(colour if was_lit else look.style.colour or WHITE)}}}"
            for face, part in runs:
                if face and face is not font:
                    text += _braced(_font(face, font, look))
                    font = face
                text += _escaped(part)
            number += 1
    return text


def _font(face: Face, before: Face | None, look: Look) -> str:
    """The commands for a font, as large and about as bold as the main one."""
    height, bold = _height_and_weight(face, look)
    commands = rf"\fn{face.name}"
    if before is None or (height, bold) != _height_and_weight(before, look):
        commands += rf"\fs{height:g}\b{bold:d}"
    return commands


def _height_and_weight(face: Face, look: Look) -> tuple[float, bool]:
    main = look.chain.main if look.chain else face
    bold = main.weight >= _BOLD and face.weight < min(_BOLD, main.weight - _LIGHTER)
    return round(look.em * (face.ascent + face.descent), 2), bold


def _direction(text: str) -> str:
    """The mark of the way that lines run in which some letters run from right to left: that of most letters."""
    ways = [unicodedata.bidirectional(character) for character in text]
    leftward = sum(way in ("R", "AL") for way in ways)
    if not leftward:
        return ""
    return _RIGHT_TO_LEFT if leftward > ways.count("L") else _LEFT_TO_RIGHT


def _box(block: Block, look: Look, scale: float, seen: float = 1.0) -> str:
    """A box with round corners behind the lines, drawn in eighths of a pixel."""
    beside, above = look.padding
    x, y, eighths = look.canvas.width / 2, block.middle, 8 * scale
    half_width, half_height = (block.width / 2 + beside) * eighths, (block.height / 2 + above) * eighths
    radius = min(0.3 * look.size * eighths, half_width, half_height)

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
    faded = rf"\1a{_alpha(0, seen)}" if seen < 1 else ""
    return rf"{{\an7\pos(0,0)\bord0\shad0\1c{_colour(look.style.box_colour)}{faded}\p4}}{path}"


def _opacity(look: Look, seen: float) -> str:
    if seen == 1:
        return ""
    rim = 0 if look.style.outline_colour else _RIM_ALPHA
    return rf"\1a{_alpha(0, seen)}\3a{_alpha(rim, seen)}\4a{_alpha(_SHADOW_ALPHA, seen)}"


def _alpha(alpha: int, seen: float) -> str:
    return f"&H{round(255 - (255 - alpha) * seen):02X}&"


def _braced(commands: str) -> str:
    return f"{{{commands}}}" if commands else ""


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
        fontsize=round(look.font_size, 2),
        primarycolor=colour,
        secondarycolor=colour,
        outlinecolor=Color(*_rgb(style.outline_colour or NEARLY_BLACK), 0 if style.outline_colour else _RIM_ALPHA),
        backcolor=Color(0, 0, 0, _SHADOW_ALPHA),
        outline=look.outline,
        shadow=look.shadow,
        alignment=_ALIGNMENTS.get(style.position, Alignment.BOTTOM_CENTER),
        marginl=look.side,
        marginr=look.side,
        marginv=0 if style.position is Position.MIDDLE else look.foot,
        # Each line runs the way of its first letter or mark.
        encoding=-1,
    )

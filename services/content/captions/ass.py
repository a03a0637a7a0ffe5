"""ASS: captions and title cards drawn on a canvas, as a script for libass.

Everything that moves is written as short events that each stand still: one for each word of a highlight, one for each
step of a pop or a fade. A script can therefore be cut anywhere by cutting its events, and every frame looks the same.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pysubs2 import Alignment, Color, SSAEvent, SSAFile, SSAStyle

from services.content.captions.cues import Cue
from services.content.captions.event_spans import FrameClock, fade_opacities, pop_scales, split_at_changes
from services.content.captions.title_cards import DEFAULT_TITLE_SIZE, PlacedTitle
from services.content.fonts.fallback import Face
from services.content.layout.style import (
    NEARLY_BLACK,
    WHITE,
    YELLOW,
    Canvas,
    CaptionStyle,
    Highlight,
    Position,
    ResolvedStyle,
)
from services.content.layout.typesetting import Block, Line, place_block, typeset_lines

# Word joiner: has no width and no ink, and keeps a backslash from forming a command with the letter after it.
_WORD_JOINER = "\u2060"

# Marks without ink; a line runs in the direction of its first letter or mark.
_LEFT_TO_RIGHT, _RIGHT_TO_LEFT = "\u200e", "\u200f"

_ALIGNMENTS = {Position.TOP: Alignment.TOP_CENTER, Position.MIDDLE: Alignment.MIDDLE_CENTER}

# A substitute that is lighter than the main face by this much is drawn bold, unless it is bold itself.
_BOLD, _LIGHTER = 600, 150

# The distance of the control points of a Bézier curve from its ends that makes it a quarter of a circle.
_QUARTER_CIRCLE = 0.5523

# The default alpha of the outline and of the shadow: 0 is opaque, 255 invisible.
_OUTLINE_ALPHA, _SHADOW_ALPHA = 0, 90

# The layers of a script, from back to front.
_BOXES, _TEXTS, _TITLE_BOXES, _TITLES = range(4)


@dataclass(frozen=True)
class PlacedCaption:
    """A cue as it is drawn, from a frame on until another."""

    cue: Cue
    block: Block
    first: int
    last: int


def place_captions(cues: Sequence[Cue], resolved: ResolvedStyle) -> list[PlacedCaption]:
    """Typeset and place cues; cues of which nothing can be shown are left out."""
    placed = []
    for cue, (first, last) in zip(cues, FrameClock(resolved.canvas.frames_per_second).spans(cues), strict=True):
        if first < last and (lines := typeset_lines(cue.spoken, resolved)):
            placed.append(PlacedCaption(cue, place_block(lines, resolved), first, last))
    return placed


def write_ass(
    captions: Sequence[PlacedCaption], titles: Sequence[PlacedTitle], resolved: ResolvedStyle, language: str
) -> str:
    """Write an ASS script. No text in it acts as a command, and it has no character that the fonts cannot show.

    Args:
        captions: The captions to draw.
        titles: The title cards to draw.
        resolved: The style of the captions.
        language: The language of the text (ISO 639), by which libass chooses between variants of a character.
    """
    script = SSAFile()
    clock = FrameClock(resolved.canvas.frames_per_second)
    for caption in captions:
        script.events += _caption_events(caption, resolved, clock)
    for title in titles:
        script.events += _title_events(title, clock)
    script.info = _info(resolved.canvas, resolved, language)
    # The events of a title override its style, so that a new title changes no segment of the video without it.
    font = resolved.fallback or resolved.font
    title_style = ResolvedStyle.resolve(CaptionStyle(Position.MIDDLE, DEFAULT_TITLE_SIZE), resolved.canvas, font)
    script.styles = {"Default": _ass_style(resolved), "Title": _ass_style(title_style)}
    return script.to_string("ass", header_notice="Captions of MoneyPrinter")


def _info(canvas: Canvas, resolved: ResolvedStyle, language: str) -> dict[str, str]:
    return {
        "ScriptType": "v4.00+",
        "PlayResX": str(canvas.width),
        "PlayResY": str(canvas.height),
        # Measured lines must not be broken again.
        "WrapStyle": "2" if resolved.fallback else "0",
        "ScaledBorderAndShadow": "yes",
        # With kerning, letters would move whenever the highlight separates them.
        "Kerning": "no",
        "YCbCr Matrix": "None",
    } | ({"Language": language} if language else {})


def _caption_events(caption: PlacedCaption, resolved: ResolvedStyle, clock: FrameClock) -> Iterator[SSAEvent]:
    block, first, last = caption.block, caption.first, caption.last
    scales = pop_scales(first, clock) if resolved.style.pop else {first: 100}

    def scale_at(frame: int) -> int:
        return [percent for since, percent in scales.items() if since <= frame][-1]

    if resolved.style.box_colour:
        for begin, end, percent in split_at_changes(first, last, scales, scale_at):
            yield _event(begin, end, clock, _BOXES, _box(block, resolved, percent / 100))
    for row in _rows(block):
        spans = _word_spans(row, resolved, clock)

        def appearance(frame: int, spans: Sequence[tuple[int, int]] = spans) -> tuple[int, frozenset[int]]:
            return scale_at(frame), _highlighted_words(spans, resolved.style.highlight, frame)

        changes = {*scales, *itertools.chain.from_iterable(spans)}
        for begin, end, (percent, highlighted) in split_at_changes(first, last, changes, appearance):
            yield _event(begin, end, clock, _TEXTS, _text(row, block, resolved, percent / 100, highlighted))


def _word_spans(row: _Row, resolved: ResolvedStyle, clock: FrameClock) -> list[tuple[int, int]]:
    """The frames on which each word of a row is spoken; empty when words are not highlighted."""
    if resolved.style.highlight is Highlight.NONE:
        return []
    return [(clock.frame(word.start), clock.frame(word.end)) for line in row.lines for word in line.spoken]


def _highlighted_words(spans: Sequence[tuple[int, int]], highlight: Highlight, frame: int) -> frozenset[int]:
    """The numbers of the words that are highlighted on a frame."""
    karaoke = highlight is Highlight.KARAOKE
    return frozenset(number for number, (start, end) in enumerate(spans) if start <= frame and (karaoke or frame < end))


def _title_events(title: PlacedTitle, clock: FrameClock) -> Iterator[SSAEvent]:
    opacities = fade_opacities(title.first, title.last, clock)
    overrides = _title_overrides(title.style)
    for begin, end, opacity in split_at_changes(
        title.first,
        title.last,
        opacities,
        lambda frame: [opacity for since, opacity in opacities.items() if since <= frame][-1],
    ):
        if title.style.style.box_colour:
            yield _event(begin, end, clock, _TITLE_BOXES, _box(title.block, title.style, 1.0, opacity), "Title")
        for row in _rows(title.block):
            text = _text(row, title.block, title.style, 1.0, frozenset(), opacity)
            yield _event(begin, end, clock, _TITLES, overrides + text, "Title")


def _title_overrides(resolved: ResolvedStyle) -> str:
    """The commands that give a title its own style, whatever the style of its events is."""
    style = resolved.style
    outline_alpha = _alpha(0 if style.outline_colour else _OUTLINE_ALPHA, 1.0)
    return _brace(
        rf"\fn{resolved.font}\fs{resolved.font_size:.2f}\bord{resolved.outline:g}\shad{resolved.shadow:g}"
        rf"\1c{_colour(style.colour or WHITE)}\3c{_colour(style.outline_colour or NEARLY_BLACK)}\3a{outline_alpha}"
    )


def _event(begin: int, end: int, clock: FrameClock, layer: int, text: str, style: str = "Default") -> SSAEvent:
    return SSAEvent(start=clock.before(begin), end=clock.before(end), layer=layer, text=text, style=style)


@dataclass(frozen=True)
class _Row:
    """Lines that one event draws."""

    lines: tuple[Line, ...]
    baseline: float | None
    """The baseline in pixels from the top of the block; None: libass places all lines correctly by itself."""


def _rows(block: Block) -> list[_Row]:
    if block.natural:
        return [_Row(block.lines, None)]
    return [_Row((line,), baseline) for line, baseline in zip(block.lines, block.baselines, strict=True)]


def _text(
    row: _Row,
    block: Block,
    resolved: ResolvedStyle,
    pop: float,
    highlighted: frozenset[int],
    opacity: float = 1.0,
) -> str:
    """The text of an event that draws a row.

    Args:
        row: The row.
        block: The block of the row; it is scaled about its middle.
        resolved: The style of the block.
        pop: The scale of the block, relative to its final size.
        highlighted: The numbers of the words of the row that are highlighted.
        opacity: 0 to 1.
    """
    centre, scale = resolved.canvas.width / 2, pop * block.scale
    commands = ""
    if row.baseline is not None:
        # From the middle of the block to the baseline, then to the lower edge of the line as libass computes it.
        baseline = block.middle + (block.top + row.baseline - block.middle) * pop
        commands = rf"\an2\pos({centre:g},{baseline + row.lines[0].descent * resolved.em * scale:.2f})"
    elif scale != 1:
        commands = rf"\an5\pos({centre:g},{block.middle:g})"
    if scale != 1:
        commands += rf"\fscx{100 * scale:g}\fscy{100 * scale:g}"
    mark = _direction_mark("".join(line.text for line in block.lines))
    return _brace(commands + _opacity(resolved, opacity)) + _line_text(row.lines, resolved, highlighted, mark)


def _line_text(lines: Sequence[Line], resolved: ResolvedStyle, highlighted: frozenset[int], mark: str) -> str:
    """The text of lines, with highlighted words in their colour, and each run in the font that shows it."""
    colour = resolved.style.highlight_colour or YELLOW
    text, number, was_highlighted = "", 0, False
    font = resolved.fallback.main if resolved.fallback else None
    for index, line in enumerate(lines):
        text += (r"\N" if index else "") + mark
        for runs in line.words:
            if (number in highlighted) != was_highlighted:
                was_highlighted = not was_highlighted
                text += rf"{{\1c{_colour(colour if was_highlighted else resolved.style.colour or WHITE)}}}"
            for face, part in runs:
                if face and face is not font:
                    text += _brace(_font(face, font, resolved))
                    font = face
                text += _escape(part)
            number += 1
    return text


def _font(face: Face, before: Face | None, resolved: ResolvedStyle) -> str:
    """The commands that select a face, in the size of the main one and about as bold."""
    height, bold = _height_and_weight(face, resolved)
    commands = rf"\fn{face.name}"
    if before is None or (height, bold) != _height_and_weight(before, resolved):
        commands += rf"\fs{height:g}\b{bold:d}"
    return commands


def _height_and_weight(face: Face, resolved: ResolvedStyle) -> tuple[float, bool]:
    main = resolved.fallback.main if resolved.fallback else face
    bold = main.weight >= _BOLD and face.weight < min(_BOLD, main.weight - _LIGHTER)
    return round(resolved.em * (face.ascent + face.descent), 2), bold


def _direction_mark(text: str) -> str:
    """The direction mark for lines with right-to-left letters: the direction of most letters; otherwise empty."""
    directions = [unicodedata.bidirectional(character) for character in text]
    leftward = sum(direction in ("R", "AL") for direction in directions)
    if not leftward:
        return ""
    return _RIGHT_TO_LEFT if leftward > directions.count("L") else _LEFT_TO_RIGHT


def _box(block: Block, resolved: ResolvedStyle, scale: float, opacity: float = 1.0) -> str:
    """The drawing of a box with round corners behind a block, in eighths of a pixel."""
    beside, above = resolved.padding
    x, y, eighths = resolved.canvas.width / 2, block.middle, 8 * scale
    half_width, half_height = (block.width / 2 + beside) * eighths, (block.height / 2 + above) * eighths
    radius = min(0.3 * resolved.size * eighths, half_width, half_height)

    def point(right: int, down: int, inward_x: float, inward_y: float) -> str:
        """A point at a distance from a corner towards the middle; `right` and `down` are 1 or -1."""
        return f"{8 * x + right * (half_width - inward_x):.0f} {8 * y + down * (half_height - inward_y):.0f}"

    near = radius * (1 - _QUARTER_CIRCLE)
    path = f"m {point(-1, -1, radius, 0)}"
    for right, down in ((1, -1), (1, 1), (-1, 1), (-1, -1)):
        # Clockwise: the path reaches every second corner along its vertical side.
        ends = [(radius, 0.0), (near, 0.0), (0.0, near), (0.0, radius)]
        if right != -down:
            ends.reverse()
        first, *curve = (point(right, down, *end) for end in ends)
        path += f" l {first} b {' '.join(curve)}"
    faded = rf"\1a{_alpha(0, opacity)}" if opacity < 1 else ""
    return rf"{{\an7\pos(0,0)\bord0\shad0\1c{_colour(resolved.style.box_colour)}{faded}\p4}}{path}"


def _opacity(resolved: ResolvedStyle, opacity: float) -> str:
    if opacity == 1:
        return ""
    outline = 0 if resolved.style.outline_colour else _OUTLINE_ALPHA
    return rf"\1a{_alpha(0, opacity)}\3a{_alpha(outline, opacity)}\4a{_alpha(_SHADOW_ALPHA, opacity)}"


def _alpha(alpha: int, opacity: float) -> str:
    return f"&H{round(255 - (255 - alpha) * opacity):02X}&"


def _brace(commands: str) -> str:
    return f"{{{commands}}}" if commands else ""


def _escape(text: str) -> str:
    return text.replace("\\", "\\" + _WORD_JOINER).replace("{", r"\{").replace("}", r"\}")


def _colour(colour: str) -> str:
    """A colour `#rrggbb` in the form of ASS, `&HBBGGRR&`."""
    return f"&H{colour[5:7]}{colour[3:5]}{colour[1:3]}&".upper()


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _ass_style(resolved: ResolvedStyle) -> SSAStyle:
    style = resolved.style
    colour = Color(*_rgb(style.colour or WHITE))
    outline_alpha = 0 if style.outline_colour else _OUTLINE_ALPHA
    return SSAStyle(
        fontname=resolved.font,
        fontsize=round(resolved.font_size, 2),
        primarycolor=colour,
        secondarycolor=colour,
        outlinecolor=Color(*_rgb(style.outline_colour or NEARLY_BLACK), outline_alpha),
        backcolor=Color(0, 0, 0, _SHADOW_ALPHA),
        outline=resolved.outline,
        shadow=resolved.shadow,
        alignment=_ALIGNMENTS.get(style.position, Alignment.BOTTOM_CENTER),
        marginl=resolved.side_margin,
        marginr=resolved.side_margin,
        marginv=0 if style.position is Position.MIDDLE else resolved.margin,
        # Each line runs in the direction of its first letter or mark.
        encoding=-1,
    )

"""Style: the look that a caller requests for captions, resolved to pixels and colours on a canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from math import ceil

from services.content.fonts.fallback import COLUMN_EMS, FontFallback
from services.content.layout.line_breaking import (
    Layout,
    Word,
    columns_per_line,
    count_text_columns,
    split_into_segments,
)

WHITE, NEARLY_BLACK, YELLOW = "#ffffff", "#101010", "#ffd400"

LINE_HEIGHT_EMS = 1.366
"""The height of a line, as in Manrope."""
ASCENT_EMS = 1.066
"""The part of a line's height that is above the baseline, as in Manrope."""
POP_SCALE = 1.05
"""The largest scale of a caption that pops up, relative to its final size."""

# Letters are made smaller until words of this many columns fit a line; only longer words are hyphenated.
_WHOLE_WORD_COLUMNS = 20
# Default margins, relative to the width (side) and the height of the canvas.
_SIDE_MARGIN, _MARGIN, _UPRIGHT_MARGIN = 0.06, 0.07, 0.22

# Defaults relative to the size of the letters: the outline, and the padding of the box beside the lines; the padding
# above them is relative to the one beside them. The outline separates white letters from lit windows and snow.
_OUTLINE, _PADDING, _PADDING_ABOVE = 0.085, 0.35, 0.12 / 0.35
_SHADOW = 0.045


class Position(Enum):
    """Where captions stand."""

    DEFAULT = auto()
    BOTTOM = auto()
    MIDDLE = auto()
    TOP = auto()
    NONE = auto()
    """Captions are not drawn."""


class Highlight(Enum):
    """How the spoken word is highlighted."""

    NONE = auto()
    WORD = auto()
    KARAOKE = auto()


@dataclass(frozen=True)
class CaptionStyle:
    """The style that a caller requests; empty and 0 mean the default for the canvas. Colours are `#rrggbb`."""

    position: Position = Position.DEFAULT
    size: float = 0.0
    """The height of a line, relative to the smaller side of the canvas."""
    colour: str = ""
    outline_colour: str = ""
    box_colour: str = ""
    """Empty: no box."""
    max_lines: int = 0
    highlight: Highlight = Highlight.NONE
    highlight_colour: str = ""
    pop: bool = False
    margin: float = 0.0
    """The distance from the nearer edge, relative to the height of the canvas."""
    side_margin: float = 0.0
    """Relative to the width of the canvas."""
    outline: float | None = None
    """The width of the outline, relative to the size of the letters; None: the default."""
    box_padding: float = 0.0
    """The space between the letters and the sides of their box, relative to the size of the letters."""


@dataclass(frozen=True)
class Canvas:
    """The picture that captions are drawn on; sizes in pixels."""

    width: int
    height: int
    frames_per_second: int = 30


@dataclass(frozen=True)
class ResolvedStyle:
    """A style on a canvas; lengths are in pixels of the canvas unless noted."""

    style: CaptionStyle
    """The style as the caller requested it."""
    canvas: Canvas
    size: float
    """The height of a line."""
    columns: float
    """The maximum width of a line, in columns of `COLUMN_EMS`."""
    font: str
    """The name of the font."""
    fallback: FontFallback | None
    """The font with its substitutes; None when only its name is known: then widths are estimates, and no character
    counts as missing."""
    language: str = ""
    """The language of the text (ISO 639); empty when unknown."""

    @classmethod
    def resolve(cls, style: CaptionStyle, canvas: Canvas, font: str | FontFallback) -> ResolvedStyle:
        """Resolve a style on a canvas, in a font or in one of which only the name is known."""
        fallback = font if isinstance(font, FontFallback) else None
        name = font.main.name if isinstance(font, FontFallback) else font
        upright = canvas.width < canvas.height
        size = min(canvas.width, canvas.height) * (style.size or (0.1 if upright else 0.07))
        resolved = cls(style, canvas, round(size, 1), 0.0, name, fallback)
        return resolved._with_columns(columns_per_line(canvas.width, canvas.height))

    def with_size(self, size: float) -> ResolvedStyle:
        """The same style with letters of another size, and lines as wide as the canvas allows."""
        return replace(self, size=int(size * 10) / 10)._with_columns(float("inf"))

    def fit_words(self, sentences: Sequence[Sequence[Word]]) -> ResolvedStyle:
        """The same style with letters so small that every word of ordinary length fits a line."""
        longest = max(
            (
                self.measure(segment.text)
                for words in sentences
                for segment in split_into_segments(words, _WHOLE_WORD_COLUMNS, count_text_columns, self.language)
                if segment.width <= _WHOLE_WORD_COLUMNS
            ),
            default=0.0,
        )
        fitted = self
        # Smaller letters have a smaller box, which leaves more space: two rounds come close enough.
        for _ in range(2):
            if longest * fitted.em > fitted.max_width:
                fitted = replace(fitted, size=fitted.max_width / longest * LINE_HEIGHT_EMS)
        fitted = replace(fitted, size=max(1.0, int(fitted.size * 10) / 10))
        columns = max(columns_per_line(self.canvas.width, self.canvas.height), longest / COLUMN_EMS)
        return fitted._with_columns(columns)

    def _with_columns(self, columns: float) -> ResolvedStyle:
        return replace(self, columns=min(columns, self.max_width / (COLUMN_EMS * self.em)))

    @property
    def em(self) -> float:
        """The length of one em."""
        return self.size / LINE_HEIGHT_EMS

    @property
    def font_size(self) -> float:
        """The font size for libass, which measures it as ascent plus descent."""
        main = self.fallback.main if self.fallback else None
        return self.size if main is None else self.em * (main.ascent + main.descent)

    @property
    def max_width(self) -> float:
        """The maximum width of a line."""
        beside = 1 + self.shadow
        if self.style.box_colour:
            beside = self.padding[0] + (self.side_margin if self.style.side_margin else 0.01 * self.canvas.width)
        width = self.canvas.width - 2 * max(self.side_margin, beside) - 2 * self.outline
        if self.style.pop:
            outside = self.padding[0] if self.style.box_colour else self.outline + self.shadow
            width = min(width, (self.canvas.width - 2) / POP_SCALE - 2 * outside)
        return max(1.0, width)

    @property
    def max_height(self) -> float:
        """The maximum height of all lines of a caption together."""
        near = self._overhang if self.style.position is Position.MIDDLE else self.margin
        return max(1.0, self.canvas.height - near - self._overhang) / (POP_SCALE if self.style.pop else 1.0)

    @property
    def layout(self) -> Layout:
        """The space for the lines."""
        # Unless the caller sets a margin, lines keep the same distance from the opposite edge.
        height = self.max_height if self.style.margin else self.canvas.height - 2 * self.margin
        max_lines = max(1, int(height / self.size))
        return Layout(
            self.columns,
            min(self.style.max_lines or 2, max_lines),
            lambda text: self.measure(text) / COLUMN_EMS,
            self.language,
        )

    def measure(self, text: str) -> float:
        """The width of a line, in ems."""
        if self.fallback is None:
            return COLUMN_EMS * count_text_columns(text)
        return self.fallback.measure(text).advance

    @property
    def outline(self) -> float:
        """The width of the outline."""
        return round(self.size * (_OUTLINE if self.style.outline is None else self.style.outline), 2)

    @property
    def shadow(self) -> float:
        """The distance of the shadow from the letters; 0 in a box, which has none."""
        return 0.0 if self.style.box_colour else round(self.size * _SHADOW, 2)

    @property
    def padding(self) -> tuple[float, float]:
        """The space between the lines and the edge of their box: beside them, and above them."""
        beside = self.size * (self.style.box_padding or _PADDING)
        return beside, beside * _PADDING_ABOVE

    @property
    def _overhang(self) -> float:
        """How far the drawing reaches above and below the lines."""
        return max(self.padding[1] if self.style.box_colour else 0.0, self.outline + self.shadow) + 1

    @property
    def side_margin(self) -> int:
        """The space beside the lines."""
        return round((self.style.side_margin or _SIDE_MARGIN) * self.canvas.width)

    @property
    def margin(self) -> int:
        """The space between the lines and the nearer edge: below them, or above them."""
        if self.style.margin:
            box = self.padding[1] if self.style.box_colour else 0.0
            margin = self.style.margin * self.canvas.height + box
        else:
            upright = self.canvas.width < self.canvas.height and self.style.position is Position.DEFAULT
            margin = self.canvas.height * (_UPRIGHT_MARGIN if upright else _MARGIN)
        return max(round(margin), ceil(self._overhang))

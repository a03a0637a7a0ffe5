"""Looks: from what a caller says of captions to pixels and colours on a canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from math import ceil

from services.content import fonts
from services.content.captions import Layout, line_width
from services.content.fonts import Chain
from services.content.pieces import Word, pieces

WHITE, NEARLY_BLACK, YELLOW = "#ffffff", "#101010", "#ffd400"

# The height of a line in ems, and how much of it is above the line that letters stand on: as in Manrope.
LINE, ASCENT = 1.366, 1.066

# The size of letters is lowered until words so long fit a line; only longer ones are hyphenated.
_WHOLE_WORD = 20
_SIDE, _FOOT, _UPRIGHT_FOOT = 0.06, 0.07, 0.22
GROWN = 1.05
"""How much larger than it stays a caption that pops up is for a moment."""

# What is chosen for the rim and, beside and above the lines, for the box, as a part of the size of the letters.
# The rim keeps white letters apart from what is as bright: lit windows, snow.
_RIM, _PADDING, _ABOVE = 0.085, 0.35, 0.12 / 0.35
_SHADOW = 0.045


class Position(Enum):
    """Where captions are."""

    CHOSEN = auto()
    BOTTOM = auto()
    MIDDLE = auto()
    TOP = auto()
    NONE = auto()
    """Nowhere: they are not drawn."""


class Highlight(Enum):
    """How the word that is spoken is shown."""

    NONE = auto()
    WORD = auto()
    KARAOKE = auto()


@dataclass(frozen=True)
class Style:
    """What a caller says of captions; what is empty or 0 is chosen for the canvas. Colours are `#rrggbb`."""

    position: Position = Position.CHOSEN
    size: float = 0.0
    """As a part of the canvas's smaller side."""
    colour: str = ""
    outline_colour: str = ""
    box_colour: str = ""
    """Empty: no box."""
    max_lines: int = 0
    highlight: Highlight = Highlight.NONE
    highlight_colour: str = ""
    pop: bool = False
    margin: float = 0.0
    """From the edge that they are near, as a part of the canvas's height."""
    side_margin: float = 0.0
    """As a part of the canvas's width."""
    outline: float | None = None
    """The width of the rim, as a part of the size of the letters; None: chosen."""
    box_padding: float = 0.0
    """The room between the letters and the sides of their box, as a part of the size of the letters."""


@dataclass(frozen=True)
class Canvas:
    """The picture that is drawn on."""

    width: int
    height: int
    frames_per_second: int = 30


@dataclass(frozen=True)
class Look:
    """A style on a canvas; all lengths are in its pixels."""

    style: Style
    canvas: Canvas
    size: float
    """The size of the letters: the height of a line."""
    columns: float
    """How wide a line may be, in columns of `fonts.COLUMN`."""
    font: str
    """The name of the font."""
    chain: Chain | None
    """That font and what stands in for it; without it, widths are estimated and nothing is known to be missing."""
    language: str = ""
    """The language of the text, ISO 639; empty: not known."""

    @classmethod
    def of(cls, style: Style, canvas: Canvas, font: str | Chain) -> Look:
        """The look of a style in a font, or in one of which only its name is known."""
        chain = font if isinstance(font, Chain) else None
        name = font.main.name if isinstance(font, Chain) else font
        upright = canvas.width < canvas.height
        size = min(canvas.width, canvas.height) * (style.size or (0.1 if upright else 0.07))
        return cls(style, canvas, round(size, 1), 0.0, name, chain)._with_columns(
            line_width(canvas.width, canvas.height)
        )

    def sized(self, size: float) -> Look:
        """The same with letters of another size, in lines as long as there is room."""
        return replace(self, size=int(size * 10) / 10)._with_columns(float("inf"))

    def fitted(self, sentences: Sequence[Sequence[Word]]) -> Look:
        """The same with letters so small that no word is cut, unless it is very long."""
        longest = max(
            (
                self.measure(piece.text)
                for words in sentences
                for piece in pieces(words, _WHOLE_WORD, lambda text: sum(map(fonts.columns, text)), self.language)
                if piece.width <= _WHOLE_WORD
            ),
            default=0.0,
        )
        fitting = self
        # A smaller box leaves more room: the second time is near enough.
        for _ in range(2):
            if longest * fitting.em > fitting.room:
                fitting = replace(fitting, size=fitting.room / longest * LINE)
        fitting = replace(fitting, size=max(1.0, int(fitting.size * 10) / 10))
        columns = max(line_width(self.canvas.width, self.canvas.height), longest / fonts.COLUMN)
        return fitting._with_columns(columns)

    def _with_columns(self, columns: float) -> Look:
        return replace(self, columns=min(columns, self.room / (fonts.COLUMN * self.em)))

    @property
    def em(self) -> float:
        """The size at which letters are designed."""
        return self.size / LINE

    @property
    def font_size(self) -> float:
        """What the renderer is told to draw the font with: it counts the height of the font's letters."""
        return self.size if self.chain is None else self.em * (self.chain.main.ascent + self.chain.main.descent)

    @property
    def room(self) -> float:
        """How wide a line may be."""
        beside = 1 + self.shadow
        if self.style.box_colour:
            beside = self.padding[0] + (self.side if self.style.side_margin else 0.01 * self.canvas.width)
        room = self.canvas.width - 2 * max(self.side, beside) - 2 * self.outline
        if self.style.pop:
            outside = self.padding[0] if self.style.box_colour else self.outline + self.shadow
            room = min(room, (self.canvas.width - 2) / GROWN - 2 * outside)
        return max(1.0, room)

    @property
    def tall(self) -> float:
        """How high the lines of a caption together may be."""
        near = self._outside if self.style.position is Position.MIDDLE else self.foot
        return max(1.0, self.canvas.height - near - self._outside) / (GROWN if self.style.pop else 1.0)

    @property
    def layout(self) -> Layout:
        """The room that the lines have."""
        # As far from the opposite edge, unless the caller said how far.
        tall = self.tall if self.style.margin else self.canvas.height - 2 * self.foot
        most = max(1, int(tall / self.size))
        return Layout(
            self.columns,
            min(self.style.max_lines or 2, most),
            lambda text: self.measure(text) / fonts.COLUMN,
            self.language,
        )

    def measure(self, text: str) -> float:
        """How wide a line is, in ems."""
        if self.chain is None:
            return fonts.COLUMN * sum(map(fonts.columns, text))
        return self.chain.measure(text).advance

    @property
    def outline(self) -> float:
        """The width of the rim."""
        return round(self.size * (_RIM if self.style.outline is None else self.style.outline), 2)

    @property
    def shadow(self) -> float:
        """How far the shadow is from the letters. In a box there is none."""
        return 0.0 if self.style.box_colour else round(self.size * _SHADOW, 2)

    @property
    def padding(self) -> tuple[float, float]:
        """The room between the lines and the edge of their box, beside and above them."""
        beside = self.size * (self.style.box_padding or _PADDING)
        return beside, beside * _ABOVE

    @property
    def _outside(self) -> float:
        """How far what is drawn reaches beyond the lines."""
        return max(self.padding[1] if self.style.box_colour else 0.0, self.outline + self.shadow) + 1

    @property
    def side(self) -> int:
        """The room beside the lines."""
        return round((self.style.side_margin or _SIDE) * self.canvas.width)

    @property
    def foot(self) -> int:
        """The room under the lines, or above them."""
        if self.style.margin:
            box = self.padding[1] if self.style.box_colour else 0.0
            wanted = self.style.margin * self.canvas.height + box
        else:
            upright = self.canvas.width < self.canvas.height and self.style.position is Position.CHOSEN
            wanted = self.canvas.height * (_UPRIGHT_FOOT if upright else _FOOT)
        return max(round(wanted), ceil(self._outside))

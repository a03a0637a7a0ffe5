"""Looks: from what a caller says of captions to pixels and colours on a canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from services.content import fonts
from services.content.captions import Layout, line_width
from services.content.fonts import Font
from services.content.pieces import Word, pieces

WHITE, NEARLY_BLACK, YELLOW = "#ffffff", "#101010", "#ffd400"

# The size of letters is lowered until words so long fit a line; only longer ones are cut.
_WHOLE_WORD = 20
_SIDE = 0.06


class Position(Enum):
    """Where captions are."""

    CHOSEN = auto()
    BOTTOM = auto()
    MIDDLE = auto()
    TOP = auto()


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


@dataclass(frozen=True)
class Look:
    """A style on a canvas of `width` x `height`; all lengths are in its pixels."""

    style: Style
    width: int
    height: int
    size: float
    """The size of the letters, and the height of a line."""
    columns: float
    """How wide a line may be, in columns of `fonts.COLUMN`."""
    font: str
    fonts: tuple[Font, ...] = ()

    @classmethod
    def of(cls, style: Style, canvas: tuple[int, int], font: str, at_hand: tuple[Font, ...]) -> Look:
        """The look of a style, for a font by name and the fonts at hand."""
        width, height = canvas
        size = min(canvas) * (style.size or (0.1 if width < height else 0.07))
        look = cls(style, width, height, round(size, 1), 0.0, at_hand[0].name if at_hand else font, at_hand)
        return look._with_columns(line_width(width, height))

    def fitted(self, sentences: Sequence[Sequence[Word]]) -> Look:
        """The same with letters so small that no word is cut, unless it is very long."""
        longest = max(
            (
                self.measure(piece.text)
                for words in sentences
                for piece in pieces(words, _WHOLE_WORD + 1, lambda text: sum(map(fonts.columns, text)))
                if piece.width <= _WHOLE_WORD
            ),
            default=0.0,
        )
        fitting = self
        # A smaller box leaves more room: the second time is near enough.
        for _ in range(2):
            if longest * fitting.size > fitting.room:
                fitting = replace(fitting, size=fitting.room / longest)
        fitting = replace(fitting, size=int(fitting.size * 10) / 10)
        return fitting._with_columns(max(line_width(self.width, self.height), longest / fonts.COLUMN))

    def _with_columns(self, columns: float) -> Look:
        return replace(self, columns=min(columns, self.room / (fonts.COLUMN * self.size)))

    @property
    def room(self) -> float:
        """How wide a line may be."""
        beside = self.padding[0] + 0.01 * self.width if self.style.box_colour else 0.0
        return self.width - 2 * max(_SIDE * self.width, beside) - 2 * self.outline

    @property
    def layout(self) -> Layout:
        """The room that the lines have."""
        most = max(1, int((self.height - 2 * self.foot) / self.size))
        return Layout(
            self.columns, min(self.style.max_lines or 2, most), lambda text: self.measure(text) / fonts.COLUMN
        )

    def measure(self, text: str) -> float:
        """How wide a text is, as a part of the size of its letters."""
        return fonts.width(text, self.fonts)

    @property
    def outline(self) -> float:
        """The width of the rim."""
        return round(self.size * 0.05, 2)

    @property
    def padding(self) -> tuple[float, float]:
        """The room between the lines and the edge of their box, beside and above them."""
        return self.size * 0.35, self.size * 0.12

    @property
    def side(self) -> int:
        """The room beside the lines."""
        return round(_SIDE * self.width)

    @property
    def foot(self) -> int:
        """The room under the lines, or above them."""
        portrait = self.width < self.height
        return round(self.height * (0.22 if portrait and self.style.position is Position.CHOSEN else 0.07))

    def centre(self, lines: int) -> tuple[float, float]:
        """The middle of so many lines."""
        half = lines * self.size / 2
        match self.style.position:
            case Position.TOP:
                return self.width / 2, self.foot + half
            case Position.MIDDLE:
                return self.width / 2, self.height / 2
        return self.width / 2, self.height - self.foot - half

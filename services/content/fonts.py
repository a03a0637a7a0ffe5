"""Fonts: which of the fonts at hand shows a text, and what the text measures in it.

Lengths are in ems: parts of the size at which a font is designed, so that letters of all fonts stand side by side
as their designers meant them to.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from moneyprinter.errors import InvalidArgument

COLUMN = 0.519
"""Of a column of one Latin letter; a little more than English takes in Manrope ExtraBold."""

# How many texts a chain remembers, and how many fonts an error names.
_REMEMBERED = 1 << 16
_NAMED = 40

# Format characters that are drawn, unlike all others: signs under Arabic and other numbers, and marks of annotations.
_DRAWN = frozenset([*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0xFFF9, 0xFFFA, 0xFFFB, 0x110BD, 0x110CD])


@dataclass(frozen=True)
class Extent:
    """What a text takes on a line."""

    advance: float = 0.0
    """How far it moves the pen."""
    above: float = 0.0
    """How far its ink reaches above the line that letters stand on."""
    below: float = 0.0
    """And below it."""


class Face(Protocol):
    """A font: one weight of a family."""

    @property
    def name(self) -> str:
        """The name under which the renderer finds this face and no other."""

    @property
    def names(self) -> frozenset[str]:
        """All its names and those of its family, in small letters."""

    @property
    def weight(self) -> int:
        """400 is regular, 700 bold, 800 extra bold."""

    @property
    def slanted(self) -> bool:
        """Whether it is an italic."""

    @property
    def ascent(self) -> float:
        """How far the renderer takes its letters to reach above the line that they stand on."""

    @property
    def descent(self) -> float:
        """And below it."""

    def shows(self, text: str) -> bool:
        """Whether it knows all characters of a text that need a glyph, and its blanks."""

    def measure(self, text: str) -> Extent:
        """What a text takes, laid out as the renderer lays it out."""


class Shelf(Protocol):
    """Some fonts that are at hand together, such as those of a folder."""

    @property
    def faces(self) -> Sequence[Face]:
        """All of them."""

    def may_show(self, character: str) -> bool:
        """Whether one of them may know a character; a quick no spares asking each."""


Run = tuple[Face | None, str]
"""A text and the font that shows it; None: none can."""


class Chain:
    """A font, and those that stand in for what it lacks: of one shelf before the next, the most alike first."""

    def __init__(self, main: Face, shelves: Sequence[Shelf]) -> None:
        self.main = main
        self._shelves = shelves
        self._sorted: dict[int, list[Face]] = {}
        self.runs = lru_cache(_REMEMBERED)(self._runs)
        self.extent = lru_cache(_REMEMBERED)(self._extent)

    def _runs(self, text: str) -> tuple[Run, ...]:
        """A text in pieces of one font each, in the order in which it is read.

        A letter and its marks stay together, and so do a word and the signs beside it where its font has them.
        """
        found: list[Run] = []
        for cluster in _clusters(unicodedata.normalize("NFC", text)):
            last = found[-1][0] if found else None
            neutral = unicodedata.category(cluster[0])[0] not in "LN"
            for face, part in [(last, cluster)] if last and neutral and last.shows(cluster) else self._shown(cluster):
                if found and found[-1][0] is face:
                    found[-1] = (face, found[-1][1] + part)
                else:
                    found.append((face, part))
        return tuple(found)

    def _shown(self, cluster: str) -> Sequence[Run]:
        # A letter with its marks may be there in one piece or in several; what no font has whole, without some marks.
        for form in (cluster, unicodedata.normalize("NFD", cluster)):
            if face := self._first(form):
                return [(face, form)]
        return [(self._first(character), character) for character in cluster]

    def _first(self, text: str) -> Face | None:
        if any(map(is_emoji, text)):
            return None
        if self.main.shows(text):
            return self.main
        for number, shelf in enumerate(self._shelves):
            if all(shelf.may_show(character) for character in text if needs_glyph(character)):
                if number not in self._sorted:
                    self._sorted[number] = sorted(shelf.faces, key=self._unlike)
                if face := next((face for face in self._sorted[number] if face.shows(text)), None):
                    return face
        return None

    def _unlike(self, face: Face) -> tuple[bool, int, str]:
        return face.slanted != self.main.slanted, abs(face.weight - self.main.weight), face.name

    def _extent(self, word: str) -> Extent:
        """What a text without blanks takes, less what no font can show."""
        parts = [face.measure(part) for face, part in self.runs(word) if face]
        return Extent(
            sum(part.advance for part in parts),
            max((part.above for part in parts), default=0.0),
            max((part.below for part in parts), default=0.0),
        )

    def measure(self, text: str) -> Extent:
        """What a line takes."""
        if " " not in text:
            return self.extent(text)
        blank = self.extent(" ").advance
        words = [self.extent(word) for word in text.split(" ")]
        return Extent(
            sum(word.advance for word in words) + blank * (len(words) - 1),
            max(word.above for word in words),
            max(word.below for word in words),
        )

    def missing(self, text: str) -> str:
        """The characters that no font can show, each once, in order."""
        lost = "".join(part for word in text.split() for face, part in self.runs(word) if face is None)
        return "".join(dict.fromkeys(character for character in lost if needs_glyph(character)))


class Fonts:
    """The fonts at hand, and the one that is taken where nobody names another."""

    def __init__(self, chosen: str, shelves: Sequence[Shelf]) -> None:
        self._chosen = chosen
        self._shelves = shelves
        self._chains: dict[Face, Chain] = {}

    def chain(self, name: str = "") -> str | Chain:
        """A font by its name, with those that stand in for it; its name alone, when no fonts are at hand.

        Raises InvalidArgument, FONT_UNKNOWN, when it is not among those at hand.
        """
        if not self._shelves:
            return name or self._chosen
        face = named(name or self._chosen, self._shelves)
        return self._chains.setdefault(face, Chain(face, self._shelves))


def named(name: str, shelves: Sequence[Shelf]) -> Face:
    """The font of that name; of a family, its regular weight. Raises InvalidArgument when there is none."""
    for shelf in shelves:
        called = [face for face in shelf.faces if name.lower() in face.names]
        whole = [face for face in called if face.name.lower() == name.lower()]
        if called:
            return min(whole or called, key=lambda face: (face.slanted, abs(face.weight - 400), face.name))
    there = list(dict.fromkeys(face.name for shelf in shelves for face in shelf.faces))
    more = f" and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
    raise InvalidArgument(
        f"there is no font {name!r}; there are: {', '.join(there[:_NAMED])}{more}", reason="FONT_UNKNOWN"
    )


@lru_cache(_REMEMBERED)
def needs_glyph(character: str) -> bool:
    """Whether a font must know a character to show it; blanks, joiners and variation selectors are not drawn."""
    category = unicodedata.category(character)
    if category == "Cf":
        return ord(character) in _DRAWN
    return category not in ("Cc", "Zs", "Zl", "Zp") and not (
        "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    )


@lru_cache(_REMEMBERED)
def is_emoji(character: str) -> bool:
    """Whether a character is a picture in colours by itself (Emoji_Presentation): a wide symbol, or half a flag.

    The renderer draws no colours of fonts: a grey outline would be seen.
    """
    return "\U0001f1e6" <= character <= "\U0001f1ff" or (
        unicodedata.category(character) in ("So", "Sk")
        and unicodedata.east_asian_width(character) == "W"
        and not "\u2e80" <= character <= "\u4dff"
    )


@lru_cache(_REMEMBERED)
def columns(character: str) -> int:
    """How many columns a character takes: a mark none, a Chinese, Japanese or Korean one and an emoji two."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def joined(before: str, after: str) -> bool:
    """Whether two characters are one picture: a letter with its mark, an emoji of several."""
    return (
        "\u200d" in (before, after)
        or unicodedata.category(after)[0] == "M"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"
    )


def _clusters(text: str) -> Iterator[str]:
    """Letters with their marks, and what joiners hold together."""
    start = 0
    for at in range(1, len(text)):
        if not joined(text[at - 1], text[at]):
            yield text[start:at]
            start = at
    if text:
        yield text[start:]

"""Font fallback: which of the available fonts shows a text, and what the text measures in it.

Lengths are in ems, fractions of the size at which a font is designed. Letters of all fonts then stand side by side
as their designers intended.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from moneyprinter.errors import InvalidArgument
from services.content.fonts.characters import is_emoji, is_joined, needs_glyph

COLUMN_EMS = 0.519
"""The width of one Latin letter; a little more than the average of English text in Manrope ExtraBold."""

# How many texts a fallback caches.
_CACHE_SIZE = 1 << 16
# How many fonts an error message lists.
_MAX_LISTED = 20


@dataclass(frozen=True)
class Extent:
    """What a text occupies on a line, in ems."""

    advance: float = 0.0
    """How far the text moves the pen."""
    above: float = 0.0
    """How far its ink reaches above the baseline."""
    below: float = 0.0
    """How far its ink reaches below the baseline."""


class Face(Protocol):
    """A font face: one weight of a family."""

    @property
    def name(self) -> str:
        """The name under which libass finds this face and no other."""

    @property
    def names(self) -> frozenset[str]:
        """All names of the face and of its family, in lower case."""

    @property
    def weight(self) -> int:
        """400 is regular, 700 bold, 800 extra bold."""

    @property
    def is_slanted(self) -> bool:
        """Whether the face is italic."""

    @property
    def ascent(self) -> float:
        """The height of a line above the baseline as libass computes it, in ems."""

    @property
    def descent(self) -> float:
        """The height of a line below the baseline as libass computes it, in ems."""

    def shows(self, text: str) -> bool:
        """Whether the face has a glyph for every blank and every character of a text that needs one."""

    def measure(self, text: str) -> Extent:
        """The extent of a text, shaped as libass shapes it."""


class FontSource(Protocol):
    """Fonts that belong together, such as those of a folder."""

    @property
    def faces(self) -> Sequence[Face]:
        """All faces of the source."""

    def may_show(self, character: str) -> bool:
        """Whether a face may have the character; a quick no avoids a search through all faces."""


Run = tuple[Face | None, str]
"""A text and the face that shows it; None when no face can."""


class FontFallback:
    """A main face and its substitutes: source by source in order, within a source the most similar face first."""

    def __init__(self, main: Face, sources: Sequence[FontSource]) -> None:
        self.main = main
        self._sources = sources
        self._by_similarity: dict[int, list[Face]] = {}
        self.runs = lru_cache(_CACHE_SIZE)(self._runs)
        self.extent = lru_cache(_CACHE_SIZE)(self._extent)

    def _runs(self, text: str) -> tuple[Run, ...]:
        """Split a text into runs of one face each, in reading order.

        A letter stays with its marks. Neighbouring signs take the face of the word before them if that has them.
        """
        runs: list[Run] = []
        for cluster in _clusters(unicodedata.normalize("NFC", text)):
            last = runs[-1][0] if runs else None
            neutral = unicodedata.category(cluster[0])[0] not in "LN"
            for face, part in [(last, cluster)] if last and neutral and last.shows(cluster) else self._match(cluster):
                if runs and runs[-1][0] is face:
                    runs[-1] = (face, runs[-1][1] + part)
                else:
                    runs.append((face, part))
        return tuple(runs)

    def _match(self, cluster: str) -> Sequence[Run]:
        # A face may have a letter with its marks as one glyph or as several. If no face has the whole cluster,
        # each character is matched alone, and some marks are lost.
        for form in (cluster, unicodedata.normalize("NFD", cluster)):
            if face := self._first_face(form):
                return [(face, form)]
        return [(self._first_face(character), character) for character in cluster]

    def _first_face(self, text: str) -> Face | None:
        if any(map(is_emoji, text)):
            return None
        if self.main.shows(text):
            return self.main
        for number, source in enumerate(self._sources):
            if all(source.may_show(character) for character in text if needs_glyph(character)):
                if number not in self._by_similarity:
                    self._by_similarity[number] = sorted(source.faces, key=self._dissimilarity)
                if face := next((face for face in self._by_similarity[number] if face.shows(text)), None):
                    return face
        return None

    def _dissimilarity(self, face: Face) -> tuple[bool, int, str]:
        return face.is_slanted != self.main.is_slanted, abs(face.weight - self.main.weight), face.name

    def _extent(self, word: str) -> Extent:
        """The extent of a text without blanks; characters that no face can show are left out."""
        parts = [face.measure(part) for face, part in self.runs(word) if face]
        return Extent(
            sum(part.advance for part in parts),
            max((part.above for part in parts), default=0.0),
            max((part.below for part in parts), default=0.0),
        )

    def measure(self, text: str) -> Extent:
        """The extent of a line."""
        if " " not in text:
            return self.extent(text)
        blank = self.extent(" ").advance
        words = [self.extent(word) for word in text.split(" ")]
        return Extent(
            sum(word.advance for word in words) + blank * (len(words) - 1),
            max(word.above for word in words),
            max(word.below for word in words),
        )

    def missing_characters(self, text: str) -> str:
        """The characters that no face can show, each once, in order of appearance."""
        lost = "".join(part for word in text.split() for face, part in self.runs(word) if face is None)
        return "".join(dict.fromkeys(character for character in lost if needs_glyph(character)))


class FontLibrary:
    """All available fonts, and the default one.

    Args:
        default: The name of the font that is used unless the caller names another.
        sources: The fonts, in the order in which they are searched; without any, only names are known.
    """

    def __init__(self, default: str, sources: Sequence[FontSource]) -> None:
        self._default = default
        self._sources = sources
        self._fallbacks: dict[Face, FontFallback] = {}

    def resolve(self, name: str = "") -> str | FontFallback:
        """The font of a name with its substitutes; only the name when the library has no sources.

        Raises `InvalidArgument` (FONT_UNKNOWN) when no source has the font.
        """
        if not self._sources:
            return name or self._default
        face = find_face(name or self._default, self._sources)
        return self._fallbacks.setdefault(face, FontFallback(face, self._sources))


def find_face(name: str, sources: Sequence[FontSource]) -> Face:
    """The face of a name; the regular weight when the name is that of a family.

    Raises `InvalidArgument` (FONT_UNKNOWN) when no source has the font.
    """
    for source in sources:
        matching = [face for face in source.faces if name.lower() in face.names]
        exact = [face for face in matching if face.name.lower() == name.lower()]
        if matching:
            return min(exact or matching, key=lambda face: (face.is_slanted, abs(face.weight - 400), face.name))
    available = list(dict.fromkeys(face.name for source in sources for face in source.faces))
    more = f" and {len(available) - _MAX_LISTED} more" if len(available) > _MAX_LISTED else ""
    raise InvalidArgument(
        f"there is no font {name!r}; there are: {', '.join(available[:_MAX_LISTED])}{more}", reason="FONT_UNKNOWN"
    )


def _clusters(text: str) -> Iterator[str]:
    """Split a text into letters with their marks, and sequences that joiners hold together."""
    start = 0
    for at in range(1, len(text)):
        if not is_joined(text[at - 1], text[at]):
            yield text[start:at]
            start = at
    if text:
        yield text[start:]

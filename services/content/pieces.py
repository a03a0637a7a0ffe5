"""Pieces: cut spoken words into what a line of a caption may be broken between.

A line may end at a blank, between two Chinese or Japanese characters unless the next line would then begin with a
closing sign or a small letter, or this one end with an opening sign, and between two words of Thai, Lao, Khmer or
Burmese, which a dictionary tells apart. What is wider than a line is cut anywhere.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from itertools import accumulate

from icu4py.breakers import LineBreaker

from services.content.fonts import joined

_CLOSING = ".,!?;:…‥%、。，．！？；：・％"
# Small letters, and marks that lengthen or repeat the letter before them.
_CLINGING = "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶーゝゞヽヾ々〻"


@dataclass(frozen=True)
class Word:
    """A spoken word, as it is written, with its time from the start of the narration."""

    text: str
    start: timedelta
    end: timedelta


@dataclass(frozen=True)
class Piece:
    """A word, or a part of one, or a few that must not be parted."""

    words: tuple[Word, ...]
    """Their texts follow each other as they are, with their blanks."""
    text: str
    width: float
    blank: bool
    """Whether a blank parts it from the piece before it."""


def pieces(words: Sequence[Word], columns: float, measure: Callable[[str], float]) -> list[Piece]:
    """The pieces of a sentence, in order, each at most `columns` wide by `measure`."""
    found: list[Piece] = []
    for word in words:
        for number, part in enumerate(_parts(word, columns, measure)):
            blank = number == 0 and bool(found) and not (unspaced(found[-1].text[-1]) and unspaced(part.text[0]))
            if found and _clings(found[-1].text, part.text, blank):
                added = Word(" " + part.text, part.start, part.end) if blank else part
                text = found[-1].text + added.text
                if (width := measure(text)) <= columns:
                    found[-1] = Piece((*found[-1].words, added), text, width, found[-1].blank)
                    continue
            found.append(Piece((part,), part.text, measure(part.text), blank))
    return found


@lru_cache(1 << 16)
def unspaced(character: str) -> bool:
    """Whether a character is of a script that is written without blanks: Chinese, Japanese."""
    width, category = unicodedata.east_asian_width(character), unicodedata.category(character)[0]
    # Full-width Latin letters and digits make words as narrow ones do.
    return ((width == "W" and category in "LNP") or (width == "F" and category == "P")) and not unicodedata.name(
        character, ""
    ).startswith("HANGUL")


def runs_on(character: str) -> bool:
    """Whether a character is of a script whose words only a dictionary tells apart: Thai, Lao, Burmese, Khmer."""
    return "\u0e00" <= character <= "\u0eff" or "\u1000" <= character <= "\u109f" or "\u1780" <= character <= "\u17ff"


def _parts(word: Word, columns: float, measure: Callable[[str], float]) -> Iterator[Word]:
    """A word whole, or as the parts between which a line may break; those share its time by their width."""
    parts, part = [], ""
    text = _shown(word.text)
    ends = set(accumulate(map(len, LineBreaker(text, "th")))) if any(map(runs_on, text)) else set[int]()
    fits = measure(text) <= columns
    for at, character in enumerate(text):
        if (
            part
            and not joined(part[-1], character)
            and (at in ends or _may_break(part[-1], character) or (not fits and measure(part + character) > columns))
        ):
            parts.append(part)
            part = ""
        part += character
    parts += [part] if part else []
    widths = [measure(part) for part in parts]
    whole, done, start = sum(widths), 0.0, word.start
    for number, part in enumerate(parts):
        done += widths[number]
        last = number == len(parts) - 1 or not whole
        end = word.end if last else word.start + (word.end - word.start) * (done / whole)
        yield Word(part, start, max(start, end))
        start = max(start, end)


def _shown(text: str) -> str:
    """A text without what has no picture: control characters and broken characters."""
    return " ".join("".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs") or c.isspace()).split())


def _may_break(before: str, after: str) -> bool:
    """Whether a line may end between two characters of one word, as it may in Chinese, but not before a comma."""
    closing = unicodedata.category(after)[0] == "P" and not _opens(after)
    return (unspaced(before) or unspaced(after)) and not _opens(before) and not closing and after not in _CLINGING


def _clings(before: str, after: str, blank: bool) -> bool:
    """Whether what is written after a text must stay on its line."""
    if blank:  # as in French, a blank before a sign that closes
        return all(character in _CLOSING or unicodedata.category(character) in ("Pe", "Pf") for character in after)
    return (unspaced(before[-1]) or unspaced(after[0])) and not _may_break(before[-1], after[0])


def _opens(character: str) -> bool:
    return unicodedata.category(character) in ("Ps", "Pi", "Sc")

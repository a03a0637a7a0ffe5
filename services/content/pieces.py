"""Pieces: cut spoken words into what a line of a caption may be broken between.

A line may end at a blank and, where no blanks part words, between two phrases of Japanese and two words of Chinese,
Thai, Lao, Khmer or Burmese, which a dictionary tells apart; never before a closing sign or a small letter, nor after an
opening sign. What is wider than a line is hyphenated, or cut anywhere.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from itertools import accumulate

from icu4py.breakers import LineBreaker, WordBreaker

from services.content import hyphenation
from services.content.fonts import joined

_SYMBOLS = ("So", "Sk", "Mn", "Me", "Cf")
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


def pieces(words: Sequence[Word], columns: float, measure: Callable[[str], float], language: str = "") -> list[Piece]:
    """The pieces of a sentence, in order, each at most `columns` wide by `measure`.

    `language` is its ISO 639 code; empty: not known.
    """
    found: list[Piece] = []
    parts = [part for word in words for part in _parts(word, columns, measure, language)]
    blanks = [
        part.first and before is not None and not (unspaced(before.word.text[-1]) and unspaced(part.word.text[0]))
        for before, part in zip([None, *parts], parts, strict=False)
    ]
    ends = _ends("".join(" " * blank + part.word.text for blank, part in zip(blanks, parts, strict=True)))
    at, starts = 0, list[int]()
    for part, blank in zip(parts, blanks, strict=True):
        at += blank
        piece = Piece((part.word,), part.word.text, measure(part.word.text), blank)
        # What no font shows needs no line of its own, and there may be thousands of it.
        clings = found and not part.cut and (not piece.width or _clings(found[-1].text, part.word.text, blank))
        grown = _grown(found[-1], piece, columns, measure) if clings else None
        if grown is not None:
            found[-1] = grown
        else:
            found.append(piece)
            starts.append(at)
        at += len(part.word.text)
    return _phrases(found, starts, ends, columns, measure) if ends else found


def _phrases(
    found: Sequence[Piece], starts: Sequence[int], ends: frozenset[int], columns: float, measure: Callable[[str], float]
) -> list[Piece]:
    """The pieces, those of one phrase together as far as a line holds them."""
    phrases: list[Piece] = []
    for piece, start in zip(found, starts, strict=True):
        inside = phrases and start not in ends and not piece.blank
        if inside and unspaced(phrases[-1].text[-1]) and unspaced(piece.text[0]):
            grown = _grown(phrases[-1], piece, columns, measure)
            if grown is not None:
                phrases[-1] = grown
                continue
        phrases.append(piece)
    return phrases


def _grown(piece: Piece, following: Piece, columns: float, measure: Callable[[str], float]) -> Piece | None:
    """A piece with the one that follows it; None when a line does not hold both."""
    if len(piece.text) + len(following.text) >= hyphenation.MOST_CHARACTERS:
        return None
    first, *others = following.words
    words = (replace(first, text=" " * following.blank + first.text), *others)
    text = piece.text + "".join(word.text for word in words)
    width = measure(text)
    return Piece((*piece.words, *words), text, width, piece.blank) if width <= columns else None


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


@dataclass(frozen=True)
class _Part:
    """A word, or a part of one."""

    word: Word
    first: bool
    """Whether it begins a word."""
    cut: bool
    """Whether the word was cut before it for want of room."""


def _parts(word: Word, columns: float, measure: Callable[[str], float], language: str) -> Iterator[_Part]:
    """A word whole, or as the parts between which a line may break; those share its time by their width."""
    text = _shown(word.text)
    ends = set(accumulate(map(len, LineBreaker(text, "th")))) if any(map(runs_on, text)) else set[int]()
    parts, part = [], ""
    for at, character in enumerate(text):
        if part and not joined(part[-1], character) and (at in ends or _may_break(part[-1], character)):
            parts.append(part)
            part = ""
        part += character
    parts += [part] if part else []
    pieces = [(p, n > 0) for whole in parts for n, p in enumerate(hyphenation.cut(whole, columns, measure, language))]
    widths = [measure(part) for part, _ in pieces]
    whole_width, done, start = sum(widths), 0.0, word.start
    for number, (part, cut) in enumerate(pieces):
        done += widths[number]
        last = number == len(pieces) - 1 or not whole_width
        end = word.end if last else word.start + (word.end - word.start) * (done / whole_width)
        yield _Part(Word(part, start, max(start, end)), number == 0, cut)
        start = max(start, end)


@lru_cache(1 << 12)
def _ends(text: str) -> frozenset[int]:
    """Where a line may end in a text of Chinese or Japanese: between phrases, or between words."""
    if any("\u3041" <= character <= "\u30ff" for character in text):
        return frozenset(accumulate(map(len, LineBreaker(text, "ja-u-lw-phrase"))))
    if any(map(unspaced, text)):
        return frozenset(accumulate(map(len, WordBreaker(text, "zh"))))
    return frozenset()


def _shown(text: str) -> str:
    """A text without what has no picture: control characters and broken characters."""
    return " ".join("".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs") or c.isspace()).split())


def _may_break(before: str, after: str) -> bool:
    """Whether a line may end between two characters of one word, as it may in Chinese, but not before a comma."""
    closing = unicodedata.category(after)[0] == "P" and not _opens(after)
    return (unspaced(before) or unspaced(after)) and not _opens(before) and not closing and after not in _CLINGING


def _clings(before: str, after: str, blank: bool) -> bool:
    """Whether what is written after a text must stay on its line."""
    if all(unicodedata.category(character) in _SYMBOLS for character in after):
        return True  # an emoji belongs to what is said before it
    if blank:  # as in French, a blank before a sign that closes
        return all(character in _CLOSING or unicodedata.category(character) in ("Pe", "Pf") for character in after)
    return (unspaced(before[-1]) or unspaced(after[0])) and not _may_break(before[-1], after[0])


def _opens(character: str) -> bool:
    return unicodedata.category(character) in ("Ps", "Pi", "Sc")

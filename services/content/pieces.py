"""Pieces: cut spoken words into what a line of a caption may be broken between.

A line may end at a blank, and between two Chinese or Japanese characters unless the next line would then begin
with a closing sign or a small letter, or this one end with an opening sign. What is wider than a line is cut anywhere.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

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


def unspaced(character: str) -> bool:
    """Whether a character is of a script that is written without blanks: Chinese, Japanese."""
    return (
        unicodedata.east_asian_width(character) in "WF"
        and unicodedata.category(character)[0] in "LNP"
        and not unicodedata.name(character, "").startswith("HANGUL")
    )


def _parts(word: Word, columns: float, measure: Callable[[str], float]) -> Iterator[Word]:
    """A word whole, or as the parts between which a line may break; those share its time by their width."""
    parts, part = [], ""
    for character in _shown(word.text):
        if (
            part
            and (_may_break(part[-1], character) or measure(part + character) > columns)
            and not _joined(part[-1], character)
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
    return unicodedata.category(character) in ("Ps", "Pi")


def _joined(before: str, after: str) -> bool:
    """Whether two characters are one picture: a letter with its mark, an emoji of several."""
    return before == "\u200d" or after in "\u200d\u20e3" or unicodedata.category(after)[0] == "M"

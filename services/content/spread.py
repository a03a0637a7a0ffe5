"""Spread: when the words of a script are spoken, as far as its length and theirs tell."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import timedelta

from moneyprinter.errors import InvalidArgument
from services.content.pieces import Word, unspaced

# What is between two sentences, and after a comma, takes as long as so many letters.
_BETWEEN, _COMMA = 5.0, 2.5
# A character of Chinese or Japanese is a syllable.
_SYLLABLE = 2.5
_COMMAS = ",;:—–，、；：،؛"
# Nothing shorter can be read, nor written into a file.
_SHORTEST = timedelta(milliseconds=1)


def spread(sentences: Sequence[str], duration: timedelta) -> list[list[Word]]:
    """The words of sentences with their times, from 0 to `duration`, each for as long as it takes to say.

    Raises InvalidArgument when there are more words than the time has room for.
    """
    lines = [[(word, _weight(word)) for word in sentence.split()] for sentence in sentences]
    whole = sum(weight + _pause(word) for words in lines for word, weight in words)
    whole += _BETWEEN * (len(lines) - 1) - _pause(lines[-1][-1][0])
    found, at = [], 0.0
    for words in lines:
        timed = []
        for word, weight in words:
            timed.append(Word(word, duration * (at / whole), duration * (min(whole, at + weight) / whole)))
            at += weight + _pause(word)
        found.append(timed)
        at += _BETWEEN
    if any(word.end - word.start < _SHORTEST for timed in found for word in timed):
        raise InvalidArgument(
            f"duration: {sum(map(len, found))} words cannot be spoken in {duration.total_seconds():g} s",
            reason="REQUEST_INVALID",
        )
    return found


def _weight(word: str) -> float:
    """How long a word takes to say, in letters."""
    return 1.0 + sum(
        _SYLLABLE if unspaced(character) else 1.0 for character in word if unicodedata.category(character)[0] in "LN"
    )


def _pause(word: str) -> float:
    return _COMMA if word[-1] in _COMMAS else 0.0

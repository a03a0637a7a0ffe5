"""Word timing: estimate when the words of a script are spoken, from their lengths and its duration."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import timedelta

from moneyprinter.errors import InvalidArgument
from services.content.layout.line_breaking import Word, is_unspaced

# The pauses between two sentences and after a comma, as numbers of letters that take as long.
_SENTENCE_PAUSE, _COMMA_PAUSE = 5.0, 2.5
# A character of Chinese or Japanese is a syllable: it takes as long as this many letters.
_SYLLABLE = 2.5
_COMMAS = ",;:—–，、；：،؛"
# A shorter word cannot be read, and subtitle files cannot express it.
_MIN_DURATION = timedelta(milliseconds=1)


def estimate_word_times(sentences: Sequence[str], duration: timedelta) -> list[list[Word]]:
    """Spread the words of sentences over a duration, each for as long as it takes to speak.

    Returns the words of each sentence, with times from 0 to `duration`.

    Raises `InvalidArgument` (REQUEST_INVALID) when the duration is too short for the words.
    """
    weighted = [[(word, _weight(word)) for word in sentence.split()] for sentence in sentences]
    total = sum(weight + _pause(word) for words in weighted for word, weight in words)
    total += _SENTENCE_PAUSE * (len(weighted) - 1) - _pause(weighted[-1][-1][0])
    timed_sentences, at = [], 0.0
    for words in weighted:
        timed = []
        for word, weight in words:
            timed.append(Word(word, duration * (at / total), duration * (min(total, at + weight) / total)))
            at += weight + _pause(word)
        timed_sentences.append(timed)
        at += _SENTENCE_PAUSE
    if any(word.end - word.start < _MIN_DURATION for timed in timed_sentences for word in timed):
        raise InvalidArgument(
            f"duration: {sum(map(len, timed_sentences))} words cannot be spoken in {duration.total_seconds():g} s",
            reason="REQUEST_INVALID",
        )
    return timed_sentences


def _weight(word: str) -> float:
    """How long a word takes to speak, in letters."""
    return 1.0 + sum(
        _SYLLABLE if is_unspaced(character) else 1.0 for character in word if unicodedata.category(character)[0] in "LN"
    )


def _pause(word: str) -> float:
    return _COMMA_PAUSE if word[-1] in _COMMAS else 0.0

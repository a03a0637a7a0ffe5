"""Word alignment: find the time of each written word from the events and the sound of a speech engine."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from services.audio import normalization

Pcm = NDArray[np.int16]

_FRAME_SECONDS = 0.005
# A longer silence ends a word; a shorter one belongs to it.
_PAUSE_SECONDS = 0.08
# A shorter sound is not a word.
_MIN_WORD_SECONDS = 0.03
# A sample below 1.5 % of the loudest one (-36 dB) is silent.
_SILENT = 0.015
# The margins of the audible range, so that no consonant is cut.
_BEFORE_SECONDS = 0.01
_AFTER_SECONDS = 0.03


@dataclass(frozen=True)
class TimedWord:
    """A word of a sentence, with its first sample and the one after the last."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class WrittenWord:
    """A word as it is written, with the place of its first character and the one after the last."""

    text: str
    first: int
    last: int


def split_words(sentence: str) -> list[WrittenWord]:
    """Split a sentence into words with their punctuation; each character of Chinese and Japanese is a word."""
    words, at = [], 0
    for token in sentence.split():
        start = sentence.index(token, at)
        at = start + len(token)
        cuts, last = [0], ""
        for n in range(1, len(token)):
            if unicodedata.category(token[n - 1])[0] in "LN":
                last = token[n - 1]
            if _begins_word(token[n - 1], token[n], last):
                cuts.append(n)
        cuts.append(len(token))
        words += [WrittenWord(token[a:b], start + a, start + b) for a, b in pairwise(cuts)]
    return words


def audible_range(pcm: Pcm, rate: int) -> tuple[int, int]:
    """The first audible sample and the one after the last, with a margin; the whole sound when it is silent."""
    loud = np.flatnonzero(_audible_frames(pcm, rate))
    if not len(loud):
        return 0, len(pcm)
    frame = _frame_samples(rate)
    first = int(loud[0]) * frame - round(_BEFORE_SECONDS * rate)
    last = (int(loud[-1]) + 1) * frame + round(_AFTER_SECONDS * rate)
    return max(0, first), min(len(pcm), last)


def align_words(sentence: str, events: Sequence[tuple[int, int]], pcm: Pcm, rate: int) -> list[TimedWord]:
    """Find the times of the words of a sentence, in order. No word is empty, and no two overlap.

    Words without an event share the time between their neighbours by their length.

    Args:
        sentence: The written sentence.
        events: The events of the engine: the sample and the character at which it begins a word.
        pcm: The samples of the sentence.
        rate: Samples per second.
    """
    words = split_words(sentence)
    first, last = audible_range(pcm, rate)
    loud, frame = _audible_frames(pcm, rate), _frame_samples(rate)

    def trim(start: int, end: int) -> tuple[int, int]:
        """A range without the silences at its ends that are longer than those within words."""
        frames = np.flatnonzero(loud[start // frame : -(-end // frame)]) + start // frame
        if not len(frames):
            return start, end
        begins, ends = int(frames[0]) * frame, (int(frames[-1]) + 1) * frame
        pause = _PAUSE_SECONDS * rate
        begins, ends = (begins if begins - start > pause else start), (ends if end - ends > pause else end)
        return (begins, ends) if ends - begins > _MIN_WORD_SECONDS * rate else (start, end)

    bounds = [first]
    for (word, start), (after, end) in pairwise([*_anchors(words, events, first, last), (len(words), last)]):
        weights = np.cumsum([_weight(unit.text) for unit in words[word:after]])
        ends = start + (trim(start, end)[1] - start) * weights // weights[-1]
        bounds += [*map(int, ends[:-1]), end]
    # Every word has at least one sample.
    for n in range(1, len(bounds)):
        bounds[n] = max(bounds[n], bounds[n - 1] + 1)
    return [TimedWord(word.text, *trim(*span)) for word, span in zip(words, pairwise(bounds), strict=True)]


def _anchors(
    words: Sequence[WrittenWord], events: Sequence[tuple[int, int]], first: int, last: int
) -> list[tuple[int, int]]:
    """The numbers of words with the samples at which they begin, both ascending. The first word begins the sound."""
    anchors = [(0, first)]
    lasts = [word.last for word in words]
    for sample, character in sorted(events):
        place = bisect_right(lasts, character)
        # The event of a word may be at the blank before it.
        inside = place < len(words) and character >= words[place].first - 1
        if inside and place > anchors[-1][0] and anchors[-1][1] < sample < last:
            anchors.append((place, sample))
    return anchors


def _weight(text: str) -> int:
    """The number of letters and digits of a word after normalization."""
    return max(1, sum(unicodedata.category(character)[0] in "LN" for character in normalization.normalize(text).text))


def _frame_samples(rate: int) -> int:
    return round(_FRAME_SECONDS * rate)


def _audible_frames(pcm: Pcm, rate: int) -> NDArray[np.bool_]:
    """For each frame of 5 ms, whether it is audible."""
    frame = _frame_samples(rate)
    padded = np.zeros(-(-len(pcm) // frame) * frame, np.int32)
    padded[: len(pcm)] = np.abs(pcm.astype(np.int32))
    peaks = padded.reshape(-1, frame).max(axis=1)
    return np.asarray(peaks > max(32.0, _SILENT * float(padded.max(initial=0))))


def _begins_word(before: str, after: str, last: str) -> bool:
    """Whether a word begins between two characters of a token, as it does between two Chinese characters.

    `last` is the last letter or digit up to `before`; empty when there is none.
    """
    if unicodedata.category(after)[0] in "PMS" and unicodedata.category(after) not in ("Ps", "Pi"):
        return False
    if unicodedata.category(before) in ("Ps", "Pi"):
        return False
    following = after if unicodedata.category(after)[0] in "LN" else last
    return _is_unspaced(last) and _is_unspaced(following)


def _is_unspaced(character: str) -> bool:
    # Full-width Latin letters and digits (F) form words as narrow ones do.
    return (
        bool(character)
        and unicodedata.east_asian_width(character) == "W"
        and not unicodedata.name(character, "").startswith("HANGUL")
    )

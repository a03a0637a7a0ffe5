"""Timings: from what an engine tells of a spoken sentence to a time for each word as it is written."""

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
# A word ends where the sound does when so much silence follows; what is shorter belongs to the word.
_PAUSE_SECONDS = 0.08
# Nothing shorter is a word of its own.
_SHORTEST_SECONDS = 0.03
# Below 1.5 % of the loudest sample (-36 dB) nothing is heard.
_SILENT = 0.015
# Kept around what is heard, so that no consonant is cut.
_BEFORE_SECONDS = 0.01
_AFTER_SECONDS = 0.03


@dataclass(frozen=True)
class Timed:
    """A word of a sentence, with its first sample and the one after its last."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Unit:
    """A word as it is written, with the place of its first character and the one after its last."""

    text: str
    first: int
    last: int


def units(sentence: str) -> list[Unit]:
    """The words of a sentence with their punctuation; Chinese and Japanese ones character by character."""
    found, at = [], 0
    for token in sentence.split():
        start = sentence.index(token, at)
        at = start + len(token)
        cuts, last = [0], ""
        for n in range(1, len(token)):
            if unicodedata.category(token[n - 1])[0] in "LN":
                last = token[n - 1]
            if _parts(token[n - 1], token[n], last):
                cuts.append(n)
        cuts.append(len(token))
        found += [Unit(token[a:b], start + a, start + b) for a, b in pairwise(cuts)]
    return found


def heard(pcm: Pcm, rate: int) -> tuple[int, int]:
    """The first sample that is heard and the one after the last, with a little air; all of it when none is."""
    loud = np.flatnonzero(_loud(pcm, rate))
    if not len(loud):
        return 0, len(pcm)
    frame = _frame(rate)
    first = int(loud[0]) * frame - round(_BEFORE_SECONDS * rate)
    last = (int(loud[-1]) + 1) * frame + round(_AFTER_SECONDS * rate)
    return max(0, first), min(len(pcm), last)


def align(sentence: str, events: Sequence[tuple[int, int]], pcm: Pcm, rate: int) -> list[Timed]:
    """The words of a sentence with their times in `pcm`, in order; none overlaps another, none is empty.

    `events` are the pairs (sample, character) at which the engine began something. Words that it
    skipped, or took together, share the time between their neighbours by their length.
    """
    words = units(sentence)
    first, last = heard(pcm, rate)
    loud, frame = _loud(pcm, rate), _frame(rate)

    def sound(start: int, end: int) -> tuple[int, int]:
        """Where between two samples something is heard, leaving silences out that are longer than those in words."""
        frames = np.flatnonzero(loud[start // frame : -(-end // frame)]) + start // frame
        if not len(frames):
            return start, end
        begins, ends = int(frames[0]) * frame, (int(frames[-1]) + 1) * frame
        pause = _PAUSE_SECONDS * rate
        begins, ends = (begins if begins - start > pause else start), (ends if end - ends > pause else end)
        return (begins, ends) if ends - begins > _SHORTEST_SECONDS * rate else (start, end)

    bounds = [first]
    for (word, start), (after, end) in pairwise([*_anchors(words, events, first, last), (len(words), last)]):
        weights = np.cumsum([_weight(unit.text) for unit in words[word:after]])
        ends = start + (sound(start, end)[1] - start) * weights // weights[-1]
        bounds += [*map(int, ends[:-1]), end]
    # Every word gets a sample, however tight it is.
    for n in range(1, len(bounds)):
        bounds[n] = max(bounds[n], bounds[n - 1] + 1)
    return [Timed(word.text, *sound(*span)) for word, span in zip(words, pairwise(bounds), strict=True)]


def _anchors(words: Sequence[Unit], events: Sequence[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """Which word surely begins at which sample; both only grow. The first word begins the sound."""
    anchors = [(0, first)]
    lasts = [word.last for word in words]
    for sample, character in sorted(events):
        place = bisect_right(lasts, character)
        # The engine may begin a word with the blank before it.
        inside = place < len(words) and character >= words[place].first - 1
        if inside and place > anchors[-1][0] and anchors[-1][1] < sample < last:
            anchors.append((place, sample))
    return anchors


def _weight(text: str) -> int:
    """How many letters and digits are spoken of a word, whichever way they are written."""
    return max(1, sum(unicodedata.category(character)[0] in "LN" for character in normalization.reading(text).text))


def _frame(rate: int) -> int:
    return round(_FRAME_SECONDS * rate)


def _loud(pcm: Pcm, rate: int) -> NDArray[np.bool_]:
    """For each frame of 5 ms, whether something is heard in it."""
    frame = _frame(rate)
    padded = np.zeros(-(-len(pcm) // frame) * frame, np.int32)
    padded[: len(pcm)] = np.abs(pcm.astype(np.int32))
    peaks = padded.reshape(-1, frame).max(axis=1)
    return np.asarray(peaks > max(32.0, _SILENT * float(padded.max(initial=0))))


def _parts(before: str, after: str, last: str) -> bool:
    """Whether a new word begins between two characters of one token: between two Chinese characters.

    `last` is the last letter or digit up to `before`; empty when there is none.
    """
    if unicodedata.category(after)[0] in "PMS" and unicodedata.category(after) not in ("Ps", "Pi"):
        return False
    if unicodedata.category(before) in ("Ps", "Pi"):
        return False
    following = after if unicodedata.category(after)[0] in "LN" else last
    return _unspaced(last) and _unspaced(following)


def _unspaced(character: str) -> bool:
    # Full-width Latin letters and digits (F) make words as narrow ones do.
    return (
        bool(character)
        and unicodedata.east_asian_width(character) == "W"
        and not unicodedata.name(character, "").startswith("HANGUL")
    )

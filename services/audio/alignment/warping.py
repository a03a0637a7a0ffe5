"""Warping: match the frames of a recording to the frames of the same words in another voice.

The other voice is a chain of states: the frames of its words, and before each word a pause, which a person may make or
not. A recording passes along the chain: from frame to frame it stays in its state, goes to the next one, or skips up to
two. Dynamic programming (Viterbi) finds the path with the least distance, at first in coarse steps, then in the
neighbourhood of the coarse path. Time and memory therefore grow with the length and not with its square.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from services.audio.alignment.features import Matrix, Sound

Indices = NDArray[np.int64]

PAUSE = -1
"""The word of a pause."""

# The distance of a silent frame and of a loud one from a pause. Frames of one sound in two voices are 0.6 to 1.2 apart.
_SILENT_PAUSE, _LOUD_PAUSE = 0.3, 3.0
# The costs of staying in a state, and of skipping one and two: a voice is rarely half or three times as fast.
_STAY, _SKIP, _SKIP_TWO = 0.4, 0.4, 0.8
# The steps of the searches, in frames. The first search has the smallest step whose table has at most this many cells.
_STEPS = (48, 8, 1)
_MAX_CELLS = 16_000_000
# The neighbourhood of a coarser path, in states on each side.
_MARGIN = 160
# The same for a path that was found already, in a chain that has changed little.
_NEAR_MARGIN = 40
_BLOCK_ROWS = 256
_FAR = np.float32(1e9)


@dataclass(frozen=True)
class Chain:
    """The states of a voice. The first one and the last one are pauses."""

    features: Matrix
    """One row for each state; the rows of pauses have no meaning."""
    words: Indices
    """The word of each state; `PAUSE` for a pause."""

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True)
class Path:
    """The path of a recording along a chain."""

    states: Indices
    """The state of each frame, ascending."""
    distance: float
    """The mean distance of the frames with speech from their states; infinite when there is no path."""


@dataclass(frozen=True)
class _Frames:
    """A recording in the step of a search."""

    features: Matrix
    loudness: Matrix
    """The share of each step that is speech, from 0 to 1."""


@dataclass(frozen=True)
class _States:
    """A chain in the step of a search."""

    features: Matrix
    pauses: NDArray[np.bool_]
    places: Indices
    """The first state of the chain that belongs to each one."""


def find_path(recording: Sound, chain: Chain, near: Path | None = None) -> Path:
    """Find the path of a recording along a chain with the least distance; with `near`, in its neighbourhood."""
    if near is not None:
        frames, states = _reduce_frames(recording, 1), _reduce_states(chain, 1)
        return Path(*_search(frames, states, near.states, _NEAR_MARGIN))
    last = len(_STEPS) - 1
    first = next((n for n in range(last, 0, -1) if _cells(recording, chain, _STEPS[n]) <= _MAX_CELLS), 0)
    path, distance = np.zeros(0, np.int64), 0.0
    for step, coarser in zip(_STEPS[first:], (0, *_STEPS[first:]), strict=False):
        frames, states = _reduce_frames(recording, step), _reduce_states(chain, step)
        centres = None
        if coarser:
            before = path[np.arange(len(frames.features)) * step // coarser]
            centres = np.searchsorted(states.places, before, side="right") - 1
        found, distance = _search(frames, states, centres)
        if not np.isfinite(distance):
            break
        path = states.places[found]
    return Path(path, distance)


def _cells(recording: Sound, chain: Chain, step: int) -> int:
    return (len(recording) // step) * (len(chain) // step)


def _reduce_frames(sound: Sound, step: int) -> _Frames:
    """The means of each `step` frames."""
    begins = np.arange(0, len(sound), step)
    counts = np.diff(np.append(begins, len(sound))).astype(np.float32)
    speech = sound.speech.astype(np.float32)
    if step == 1:
        return _Frames(sound.features, speech)
    features = np.asarray(np.add.reduceat(sound.features, begins, axis=0) / counts[:, None], np.float32)
    return _Frames(features, np.asarray(np.add.reduceat(speech, begins) / counts, np.float32))


def _reduce_states(chain: Chain, step: int) -> _States:
    """The means of about `step` states, with a pause before the first word of each `step` states or more."""
    pauses = np.flatnonzero(chain.words == PAUSE)
    if step == 1:
        return _States(chain.features, chain.words == PAUSE, np.arange(len(chain)))
    rows, places, is_pause = [], [], []
    begin = int(pauses[0])
    for _, end in pairwise(pauses.tolist()):
        if end - begin < step and end != pauses[-1]:
            continue
        speech = begin + np.flatnonzero(chain.words[begin:end] != PAUSE)
        rows.append(chain.features[begin : begin + 1])
        places.append(begin)
        is_pause.append(True)
        for part in np.array_split(speech, max(1, round(len(speech) / step))) if len(speech) else ():
            rows.append(chain.features[part].mean(axis=0, keepdims=True))
            places.append(int(part[0]))
            is_pause.append(False)
        begin = end
    rows.append(chain.features[-1:])
    return _States(np.concatenate(rows), np.array([*is_pause, True]), np.array([*places, len(chain) - 1]))


def _search(frames: _Frames, states: _States, centres: Indices | None, margin: int = _MARGIN) -> tuple[Indices, float]:
    """The path through the states near `centres`, one state for each frame, and its mean distance in speech.

    The distance is infinite when no path leads from the first pause or the state behind it to the last ones.
    """
    count, width = len(frames.features), len(states.features)
    lows, highs = np.zeros(count, np.int64), np.full(count, width)
    if centres is not None:
        lows, highs = np.maximum(0, centres - margin), np.minimum(width, centres + margin + 1)
        highs[-1] = width
    pauses = np.concatenate([np.zeros(2, np.bool_), states.pauses])
    stay = np.where(states.pauses, 0.0, _STAY).astype(np.float32)
    # To skip a pause costs nothing.
    skip = np.where(pauses[1:-1], 0.0, _SKIP).astype(np.float32)
    skip_two = np.where(pauses[1:-1] | pauses[:-2], _SKIP, _SKIP_TWO).astype(np.float32)
    steps = np.zeros((count, int((highs - lows).max())), np.int8)
    # The totals of all states, with three unreachable ones in front.
    totals = np.full(width + 3, _FAR, np.float32)
    for first in range(0, count, _BLOCK_ROWS):
        last = min(count, first + _BLOCK_ROWS)
        low, high = int(lows[first]), int(highs[first:last].max())
        distances = _distances(frames, states, slice(first, last), slice(low, high))
        for row in range(first, last):
            begin, end = int(lows[row]), int(highs[row])
            nearby = distances[row - first, begin - low : end - low]
            if not row:
                totals[3 : 3 + min(2, end)] = nearby[:2]
                continue
            choices = np.stack(
                [
                    totals[3 + begin : 3 + end] + stay[begin:end],
                    totals[2 + begin : 2 + end],
                    totals[1 + begin : 1 + end] + skip[begin:end],
                    totals[begin:end] + skip_two[begin:end],
                ]
            )
            steps[row, : end - begin] = choices.argmin(axis=0)
            totals[3 + int(lows[row - 1]) : 3 + begin] = _FAR
            totals[3 + begin : 3 + end] = choices.min(axis=0) + nearby
    ends = totals[-2:]
    if ends.min() >= _FAR:
        return np.zeros(count, np.int64), float("inf")
    path = np.empty(count, np.int64)
    state = width - 2 + int(ends.argmin())
    for row in range(count - 1, -1, -1):
        path[row] = state
        state -= int(steps[row, state - int(lows[row])])
    return path, _mean_distance(frames, states, path)


def _distances(frames: _Frames, states: _States, rows: slice, columns: slice) -> Matrix:
    """The distances of frames from states."""
    left, right = frames.features[rows], states.features[columns]
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    distances: Matrix = np.sqrt(np.maximum(squares, 0))
    loudness = frames.loudness[rows, None]
    pauses = np.flatnonzero(states.pauses[columns])
    distances[:, pauses] = _SILENT_PAUSE + (_LOUD_PAUSE - _SILENT_PAUSE) * loudness
    return distances


def _mean_distance(frames: _Frames, states: _States, path: Indices) -> float:
    spoken = (frames.loudness > 0) & ~states.pauses[path]
    if not spoken.any():
        return float("inf")
    apart = frames.features[spoken] - states.features[path[spoken]]
    return float(np.sqrt((apart**2).sum(axis=1)).mean())

"""Word times: find the words of a text in a recording, by the same words in a voice whose word times are known.

The recording is matched twice. The first match shows how the two voices differ; the second one is made with the frames
of the known voice brought near the other one by a linear map. Measured on six languages (`docs/performance.md`), the
map halves the errors beyond 120 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.audio.alignment.features import FRAME_SECONDS, Matrix, Sound
from services.audio.alignment.warping import PAUSE, Chain, Path, find_path

# The least time of a word, in frames.
_MIN_WORD_FRAMES = 2
# The penalty on the size of the map, in units of the variance of the features: a short recording shows little.
_RIDGE = 50.0
# The constant feature, by which the map can move all frames.
_CONSTANT = 0.1


@dataclass(frozen=True)
class Span:
    """The time of a word, in seconds."""

    start: float
    end: float


def find_words(recording: Sound, reference: Sound, spans: Sequence[Span]) -> list[Span] | None:
    """Find the words of a recording, in order; no two overlap. None when it is too short for them.

    Args:
        recording: The recording.
        reference: The same words in a voice with known word times.
        spans: The time of each word in the reference.
    """
    chain = _make_chain(reference, spans)
    path = find_path(recording, chain)
    if not np.isfinite(path.distance):
        return None
    adapted = find_path(recording, _adapt(chain, recording, path), near=path)
    return _read_words(recording, chain, adapted if np.isfinite(adapted.distance) else path, len(spans))


def _adapt(chain: Chain, recording: Sound, path: Path) -> Chain:
    """The chain with features that are nearer to those of the recording, by ridge regression on a path."""
    matched = recording.speech & (chain.words[path.states] != PAUSE)
    known = _with_constant(chain.features[path.states[matched]])
    differences = recording.features[matched] - chain.features[path.states[matched]]
    ridge = np.float32(_RIDGE * known.var()) * np.eye(known.shape[1], dtype=np.float32)
    linear_map = np.linalg.solve(known.T @ known + ridge, known.T @ differences)
    return Chain(chain.features + _with_constant(chain.features) @ linear_map, chain.words)


def _with_constant(values: Matrix) -> Matrix:
    return np.pad(values, ((0, 0), (0, 1)), constant_values=_CONSTANT)


def _make_chain(reference: Sound, spans: Sequence[Span]) -> Chain:
    """The frames of the words, from the start of each to the start of the next one, without the pause between them."""
    places, words = [], []
    ends = [*(span.start for span in spans[1:]), spans[-1].end]
    for word, (span, end) in enumerate(zip(spans, ends, strict=True)):
        first, last = _frame(span.start), max(_frame(span.start) + 1, _frame(end))
        inside = np.arange(first, min(last, len(reference)))
        inside = inside[reference.speech[inside] | (inside < _frame(span.end))]
        places += [[first], inside]
        words += [[PAUSE], np.full(len(inside), word)]
    states = np.concatenate([*places, [0]]).astype(np.int64)
    return Chain(reference.features[np.minimum(states, len(reference) - 1)], np.concatenate([*words, [PAUSE]]))


def _read_words(recording: Sound, chain: Chain, path: Path, count: int) -> list[Span]:
    """The times of the words on a path. Words that the path skips share the time of their neighbours."""
    spoken = chain.words[path.states]
    frames = np.flatnonzero(spoken != PAUSE)
    numbers = np.arange(count)
    firsts = frames[np.minimum(np.searchsorted(spoken[frames], numbers), len(frames) - 1)]
    lasts = frames[np.maximum(np.searchsorted(spoken[frames], numbers, side="right") - 1, 0)] + 1
    skipped = lasts <= firsts
    starts = firsts.astype(np.float64)
    # A skipped word begins where the next one does, and takes its share of the word before.
    for word in range(1, count):
        starts[word] = max(starts[word], starts[word - 1] + _MIN_WORD_FRAMES)
    limits = np.append(starts[1:], max(len(recording), starts[-1] + _MIN_WORD_FRAMES))
    ends = np.minimum(np.where(skipped, limits, np.maximum(lasts, starts + _MIN_WORD_FRAMES)), limits)
    return [
        Span(float(start) * FRAME_SECONDS, float(end) * FRAME_SECONDS) for start, end in zip(starts, ends, strict=True)
    ]


def _frame(seconds: float) -> int:
    return round(seconds / FRAME_SECONDS)

"""Features: what each frame of speech sounds like, as mel cepstra that depend little on the voice and the microphone.

A frame is 25 ms long, and frames begin 10 ms apart. Its features are the cepstrum of its mel spectrum and its slope.
The mean and the variance of each feature are normalized over the frames with speech, which removes most of what
distinguishes microphones and voices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
"""Samples per second of the sound."""
FRAME_SECONDS = 0.01
"""The distance between frames."""

Pcm = NDArray[np.int16]
Matrix = NDArray[np.float32]

_HOP = round(RATE * FRAME_SECONDS)
_WINDOW = 400
_FFT = 512
_BANDS = 40
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 7_000.0
_CEPSTRA = 10
# The level of the voice distinguishes vowels from consonants in every voice: it counts twice.
_LEVEL_WEIGHT = 2.0
_SLOPE_FRAMES = 3
_BLOCK_FRAMES = 4_096
# A frame is silent below the lower one of two levels: this far below the loud frames (95th percentile), or this far
# above the noise (5th percentile), but at least 20 dB below the loud frames.
_RANGE_DB, _ABOVE_NOISE_DB, _LEAST_RANGE_DB = 38.0, 8.0, 20.0


@dataclass(frozen=True)
class Sound:
    """The features of a sound by frame."""

    features: Matrix
    """One row for each frame. The squares of the weights of its columns sum up to 1."""
    speech: NDArray[np.bool_]
    """Whether a frame is louder than the pauses."""

    def __len__(self) -> int:
        return len(self.speech)


def analyse(pcm: Pcm) -> Sound:
    """Compute the features of a sound, mono at 16 kHz, in blocks: it may be a file that is mapped into memory."""
    bands, levels = _mel_bands(pcm)
    quiet, loud = np.percentile(levels, (5, 95))
    speech = levels > max(loud - _RANGE_DB, min(quiet + _ABOVE_NOISE_DB, loud - _LEAST_RANGE_DB))
    cepstra = bands @ _cosines()
    features = np.concatenate([cepstra, _slopes(cepstra)], axis=1)
    chosen = features[speech]
    weights = np.ones(2 * _CEPSTRA, np.float32)
    weights[0] = _LEVEL_WEIGHT
    features -= chosen.mean(axis=0)
    features *= weights / np.linalg.norm(weights) / (chosen.std(axis=0) + 1e-6)
    return Sound(features, speech)


def _mel_bands(pcm: Pcm) -> tuple[Matrix, Matrix]:
    """The logarithms of the mel bands, and the levels in dB, of all frames. The first frame is around sample 0."""
    frames = 1 + len(pcm) // _HOP
    window = np.hanning(_WINDOW).astype(np.float32)
    weights = _mel_weights()
    bands, levels = np.empty((frames, _BANDS), np.float32), np.empty(frames, np.float32)
    for first in range(0, frames, _BLOCK_FRAMES):
        last = min(frames, first + _BLOCK_FRAMES)
        places = np.arange(last - first)[:, None] * _HOP + np.arange(_WINDOW)
        sound = _cut(pcm, first * _HOP - _WINDOW // 2 - 1, (last - first) * _HOP + _WINDOW)
        levels[first:last] = 10 * np.log10((sound[1:][places] ** 2).mean(axis=1) + 1e-9)
        emphasized = sound[1:] - 0.97 * sound[:-1]
        power = np.abs(np.fft.rfft(emphasized[places] * window, _FFT)).astype(np.float32) ** 2
        bands[first:last] = np.log(power @ weights + 1e-6)
    return bands, levels


def _cut(pcm: Pcm, first: int, count: int) -> Matrix:
    """Samples from -1 to 1; silence before the first and after the last one."""
    sound = pcm[max(0, first) : max(0, first + count)].astype(np.float32) / 32_768
    before = max(0, -first)
    return np.pad(sound, (before, count - before - len(sound)))


def _mel_weights() -> Matrix:
    def to_mel(hertz: float) -> float:
        return float(2_595 * np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(to_mel(_LOWEST_HZ), to_mel(_HIGHEST_HZ), _BANDS + 2) / 2_595) - 1)
    bins = np.fft.rfftfreq(_FFT, 1 / RATE)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)), np.float32)


def _cosines() -> Matrix:
    """The matrix of the cosine transform from mel bands to cepstra."""
    band, number = np.arange(_BANDS)[:, None] + 0.5, np.arange(_CEPSTRA)
    return np.asarray(np.cos(np.pi * band * number / _BANDS) * np.sqrt(2 / _BANDS), np.float32)


def _slopes(values: Matrix) -> Matrix:
    """The slope of each column around each frame, by linear regression."""
    padded = np.pad(values, ((_SLOPE_FRAMES, _SLOPE_FRAMES), (0, 0)), mode="edge")
    slopes = np.zeros_like(values)
    for step in range(1, _SLOPE_FRAMES + 1):
        later = padded[_SLOPE_FRAMES + step :][: len(values)]
        slopes += step * (later - padded[_SLOPE_FRAMES - step :][: len(values)])
    return np.asarray(slopes / (2 * sum(step * step for step in range(1, _SLOPE_FRAMES + 1))), np.float32)

"""Silence: shorten the long silences of a narration, and move its words accordingly.

The pauses of providers differ. A silence of more than 0.5 s is shortened to 0.4 s by removing its middle, so that the
sound before and after it keeps its decay and its onset.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_SILENCE_SECONDS = 0.5
"""A longer silence is shortened."""

_SHORTENED_SECONDS = 0.4
# A sample below 1 % of the loudest one (-40 dB) is silent.
_SILENT = 0.01
_FRAME_SECONDS = 0.01
_SEAM_SECONDS = 0.005
_STEP_FRAMES = 6_000

Pcm = NDArray[np.int16]


@dataclass(frozen=True)
class Silence:
    """A silence that is shortened; all values are in samples."""

    first: int
    """The first sample."""
    last: int
    """The sample after the last one."""
    shortened: int
    """The new length."""


def shorten_silences(path: Path) -> tuple[list[Silence], int]:
    """Shorten the long silences of a WAV file (mono, 16 bit) in place. A completely silent file is unchanged.

    Returns the silences, and the new length of the file in samples.
    """
    with wave.open(str(path), "rb") as file:
        rate, length = file.getframerate(), file.getnframes()
        silences = _find_silences(file, rate)
        if not silences:
            return [], length
        shorter = path.with_suffix(".shorter")
        with wave.open(str(shorter), "wb") as target:
            target.setparams(file.getparams())
            for section in _join_sections(file, silences, round(_SEAM_SECONDS * rate)):
                target.writeframes(section.tobytes())
    shorter.replace(path)
    return silences, length - sum(silence.last - silence.first - silence.shortened for silence in silences)


def move_time(seconds: float, silences: Sequence[Silence], rate: int) -> float:
    """Convert a time in the original sound to one in the sound with shortened silences. The order of times is kept.

    Args:
        seconds: The time in the original sound.
        silences: The silences that were shortened.
        rate: Samples per second.
    """
    before, after, removed = [0], [0], 0
    for silence in silences:
        before += [silence.first, silence.last]
        after.append(silence.first - removed)
        removed += silence.last - silence.first - silence.shortened
        after.append(silence.last - removed)
    # After the last silence, all times move by the same amount.
    sample = seconds * rate
    return (sample - removed if sample >= before[-1] else float(np.interp(sample, before, after))) / rate


def _find_silences(file: wave.Wave_read, rate: int) -> list[Silence]:
    """The silences that are too long; none when the whole file is silent."""
    frame = round(_FRAME_SECONDS * rate)
    peaks = []
    while len(block := _read(file, _STEP_FRAMES * frame)):
        padded = np.zeros(-(-len(block) // frame) * frame, np.int32)
        padded[: len(block)] = block
        peaks.append(np.abs(padded.reshape(-1, frame)).max(axis=1))
    loudness = np.concatenate([np.zeros(0, np.int32), *peaks])
    audible = np.flatnonzero(loudness > max(32.0, _SILENT * float(loudness.max(initial=0))))
    if not len(audible):
        return []
    shortened = round(_SHORTENED_SECONDS * rate)
    silences = []
    for before, after in pairwise([-1, *audible.tolist(), len(loudness)]):
        first, last = (before + 1) * frame, min(after * frame, file.getnframes())
        if last - first > MAX_SILENCE_SECONDS * rate:
            silences.append(Silence(first, last, shortened))
    return silences


def _join_sections(file: wave.Wave_read, silences: Sequence[Silence], seam: int) -> list[Pcm]:
    """The sections between the removed parts, with a cross-fade of `seam` samples where two of them meet."""
    begins = [0, *(silence.last - silence.shortened // 2 for silence in silences)]
    ends = [*(silence.first + silence.shortened // 2 for silence in silences), file.getnframes()]
    sections: list[Pcm] = []
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        ahead = seam if number else 0
        file.setpos(begin - ahead)
        section = _read(file, end - begin + ahead)
        if number:
            rising = np.linspace(0.0, 1.0, seam)
            faded = sections[-1][-seam:] * (1 - rising) + section[:seam] * rising
            sections[-1] = np.concatenate([sections[-1][:-seam], np.round(faded).astype(np.int16)])
        sections.append(section[ahead:])
    return sections


def _read(file: wave.Wave_read, samples: int) -> Pcm:
    return np.frombuffer(file.readframes(samples), np.int16)

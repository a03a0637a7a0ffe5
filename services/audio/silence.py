"""Silence: shorten what is silent for long in a narration, and say where its words are then.

Providers pause as they like; a pause that is longer than 0.5 s becomes one of 0.4 s. Of each the
beginning and the end are kept, and what is between them goes, so that a voice neither breaks off nor bursts in.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LONGEST_SECONDS = 0.5
"""A silence that lasts longer is shortened."""

_KEPT_SECONDS = 0.4
# Below 1 % of the loudest sample (-40 dB) nothing is heard.
_SILENT = 0.01
_FRAME_SECONDS = 0.01
_SEAM_SECONDS = 0.005
_STEP_FRAMES = 6_000

Pcm = NDArray[np.int16]


@dataclass(frozen=True)
class Silence:
    """A silence that is shortened."""

    first: int
    """Its first sample."""
    last: int
    """The one after its last."""
    kept: int
    """How many samples of it are kept."""


def shorten(path: Path) -> tuple[list[Silence], int]:
    """Shorten the long silences of a WAV file (mono, 16 bit) in place; return them, and the file's new length.

    The length is in samples. A file that is silent as a whole is left as it is.
    """
    with wave.open(str(path), "rb") as file:
        rate, length = file.getframerate(), file.getnframes()
        silences = _find(file, rate)
        if not silences:
            return [], length
        shorter = path.with_suffix(".shorter")
        with wave.open(str(shorter), "wb") as target:
            target.setparams(file.getparams())
            for piece in _pieces(file, silences, round(_SEAM_SECONDS * rate)):
                target.writeframes(piece.tobytes())
    shorter.replace(path)
    return silences, length - sum(silence.last - silence.first - silence.kept for silence in silences)


def moved(seconds: float, silences: Sequence[Silence], rate: int) -> float:
    """Where a moment of the sound is after its silences were shortened. No two moments change places."""
    olds, news, removed = [0], [0], 0
    for silence in silences:
        olds += [silence.first, silence.last]
        news.append(silence.first - removed)
        removed += silence.last - silence.first - silence.kept
        news.append(silence.last - removed)
    # After the last silence, time goes on as before.
    place = seconds * rate
    return (place - removed if place >= olds[-1] else float(np.interp(place, olds, news))) / rate


def _find(file: wave.Wave_read, rate: int) -> list[Silence]:
    """The silences that last too long."""
    frame = round(_FRAME_SECONDS * rate)
    peaks = []
    while len(block := _read(file, _STEP_FRAMES * frame)):
        padded = np.zeros(-(-len(block) // frame) * frame, np.int32)
        padded[: len(block)] = block
        peaks.append(np.abs(padded.reshape(-1, frame)).max(axis=1))
    loudness = np.concatenate([np.zeros(0, np.int32), *peaks])
    heard = np.flatnonzero(loudness > max(32.0, _SILENT * float(loudness.max(initial=0))))
    if not len(heard):
        return []
    kept = round(_KEPT_SECONDS * rate)
    found = []
    for before, after in pairwise([-1, *heard.tolist(), len(loudness)]):
        first, last = (before + 1) * frame, min(after * frame, file.getnframes())
        if last - first > LONGEST_SECONDS * rate:
            found.append(Silence(first, last, kept))
    return found


def _pieces(file: wave.Wave_read, silences: Sequence[Silence], seam: int) -> list[Pcm]:
    """What is kept, piece by piece; where something is left out, what was before fades into what comes."""
    begins = [0, *(silence.last - silence.kept // 2 for silence in silences)]
    ends = [*(silence.first + silence.kept // 2 for silence in silences), file.getnframes()]
    pieces: list[Pcm] = []
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        ahead = seam if number else 0
        file.setpos(begin - ahead)
        piece = _read(file, end - begin + ahead)
        if number:
            rising = np.linspace(0.0, 1.0, seam)
            faded = pieces[-1][-seam:] * (1 - rising) + piece[:seam] * rising
            pieces[-1] = np.concatenate([pieces[-1][:-seam], np.round(faded).astype(np.int16)])
        pieces.append(piece[ahead:])
    return pieces


def _read(file: wave.Wave_read, samples: int) -> Pcm:
    return np.frombuffer(file.readframes(samples), np.int16)

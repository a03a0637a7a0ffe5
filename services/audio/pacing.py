"""Pacing: the speed of a narration, and the pauses between its sentences and scenes, whichever provider spoke it."""

from __future__ import annotations

import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from services.audio.loudness import process_sound
from services.audio.silence import Silence

Pcm = NDArray[np.int16]
Span = tuple[float, float]
"""The times of the first and the last word of a sentence, in seconds."""

# What is inserted between the halves of a pause begins and ends softly.
_FADE_SECONDS = 0.005
_BLOCK_SAMPLES = 1 << 20


@dataclass(frozen=True)
class Pacing:
    """The pace that a request sets."""

    speed: float = 1.0
    """How many times as fast as the voice's own pace; 0.5 to 2. The pitch stays."""
    sentence_pause: float = 0.0
    """The pause between two sentences, in seconds; 0: that of the voice."""
    scene_pause: float = 0.0
    """The pause between two scenes, in seconds; 0: that between sentences."""
    scene_lengths: tuple[int, ...] = ()
    """The number of sentences of each scene; empty: there is one scene."""

    @property
    def has_pauses(self) -> bool:
        """Whether any pause differs from that of the voice."""
        return bool(self.sentence_pause or (self.scene_pause and len(self.scene_lengths) > 1))


async def change_speed(program: Path, path: Path, speed: float) -> None:
    """Change the speed of a WAV file in place, without its pitch. Raises `Internal` (RENDER_FAILED) when ffmpeg fails.

    Args:
        program: The ffmpeg program.
        path: The file.
        speed: How many times as fast it becomes; the times of its words are divided by this.
    """
    with wave.open(str(path), "rb") as file:
        seconds = file.getnframes() / file.getframerate() / speed
    target = path.with_suffix(".paced.wav")
    sound = (
        ffmpeg.input(path.name, f="wav")
        .filter("atempo", speed)
        .output(target.name, acodec="pcm_s16le", fflags="+bitexact", **{"flags:a": "+bitexact"})
    )
    await process_sound(program, sound, seconds=seconds, folder=path.parent)
    target.replace(path)


def plan_pauses(spans: Sequence[Span | None], pacing: Pacing, rate: int) -> list[Silence]:
    """Return the pauses that get another length, in samples.

    Args:
        spans: The first and the last time of each sentence; None for one without words.
        pacing: The pace.
        rate: Samples per second.
    """
    begins_scene = set(accumulate(pacing.scene_lengths[:-1]))
    pauses: list[Silence] = []
    end, is_new_scene = None, False
    for number, span in enumerate(spans):
        is_new_scene = is_new_scene or number in begins_scene
        if span is None:
            continue
        seconds = (is_new_scene and pacing.scene_pause) or pacing.sentence_pause
        if end is not None and seconds:
            first, last = round(end * rate), round(span[0] * rate)
            pauses.append(Silence(first, max(first, last), round(seconds * rate)))
        end, is_new_scene = span[1], False
    return pauses


def write_pauses(path: Path, pauses: Sequence[Silence]) -> int:
    """Give the pauses of a WAV file (mono, 16 bit) their new lengths, in place. Returns its length in samples.

    A pause becomes shorter in its middle, or longer by silence there, so that the sound before and after it keeps its
    decay and its onset.
    """
    target = path.with_suffix(".paused")
    with wave.open(str(path), "rb") as file, wave.open(str(target), "wb") as paced:
        paced.setparams(file.getparams())
        fade = round(_FADE_SECONDS * file.getframerate())
        begin = 0
        for pause in pauses:
            kept = min(pause.shortened, pause.last - pause.first)
            end = pause.first + kept - kept // 2
            _copy(file, paced, begin, end, fade if begin else 0, fade)
            paced.writeframes(bytes(2 * (pause.shortened - kept)))
            begin = pause.last - kept // 2
        _copy(file, paced, begin, file.getnframes(), fade if begin else 0, 0)
        length = paced.getnframes()
    target.replace(path)
    return length


def _copy(source: wave.Wave_read, target: wave.Wave_write, begin: int, end: int, fade_in: int, fade_out: int) -> None:
    """Copy samples, with a fade at either end."""
    for first, block in _read_blocks(source, begin, end):
        faded = block.astype(np.float64)
        places = np.arange(first, first + len(block))
        if fade_in:
            faded *= np.clip((places - begin) / fade_in, 0, 1)
        if fade_out:
            faded *= np.clip((end - 1 - places) / fade_out, 0, 1)
        target.writeframes(np.round(faded).astype(np.int16).tobytes())


def _read_blocks(source: wave.Wave_read, begin: int, end: int) -> Iterator[tuple[int, Pcm]]:
    source.setpos(begin)
    for first in range(begin, end, _BLOCK_SAMPLES):
        yield first, np.frombuffer(source.readframes(min(_BLOCK_SAMPLES, end - first)), np.int16)

"""Clips: bring parts of clips' own sound to their places in the result, to the sample, as one stereo sound.

Each part is decoded by a child of its own: any channel layout and sample rate that ffmpeg knows, at the
pace that is asked for and at its own pitch. Both ends of a part fade, so that nothing clicks.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from moneyprinter.errors import Internal, InvalidArgument
from services.audio import loudness
from services.media.formats import CLIP_FORMATS, CLIP_PROTOCOLS
from services.runtime import children
from services.runtime.tasks import run_all

RATE = 48_000
KEPT = "clips.f32"
"""The file that is made: stereo, 32 bit floats, 48 kHz, without a header."""

_SECOND = timedelta(seconds=1)
# A decoder that begins in the middle needs some packets to warm up, and some files lead to a place a bit late.
_RUN_UP_SECONDS = 1.0
_FADE_SAMPLES = RATE // 50
_AT_ONCE = 2
_STEP_SAMPLES = 1 << 20

Stereo = NDArray[np.float32]


@dataclass(frozen=True)
class ClipSound:
    """A part of a clip's own sound."""

    clip: Any
    """The stored clip."""
    clip_sha256: str
    source_start: timedelta
    """Where in the clip it begins."""
    start: timedelta
    """Where in the result it begins."""
    duration: timedelta
    """How long it is heard."""
    volume: float
    """1 is as it was."""
    speed: float
    """2 is twice as fast, at the same pitch."""
    track: int = 0
    """Which of the clip's sound tracks it is, from 0."""
    track_start: float = 0.0
    """When the track begins, in seconds from the clip's start, where ffmpeg counts from the track's beginning on."""

    @property
    def first_sample(self) -> int:
        return round(self.start / _SECOND * RATE)

    @property
    def samples(self) -> int:
        return round((self.start + self.duration) / _SECOND * RATE) - self.first_sample

    @property
    def identity(self) -> tuple[object, ...]:
        """All of it that the result depends on."""
        begin = self.source_start // timedelta(microseconds=1)
        return (
            self.clip_sha256,
            begin,
            self.first_sample,
            self.samples,
            self.volume,
            self.speed,
            self.track,
            self.track_start,
        )


class Objects(Protocol):
    """Stored objects."""

    async def get_file(self, source: Any, path: Path) -> None: ...


async def lay(program: Path, objects: Objects, sounds: Sequence[ClipSound], samples: int, folder: Path) -> None:
    """Write KEPT to `folder`: the sounds at their places, `samples` long; each clip is fetched once.

    Raises InvalidArgument: CLIP_NOT_PLAYABLE when a clip has no sound that can be decoded.
    """
    clips: dict[str, list[int]] = {}
    for number, sound in enumerate(sounds):
        clips.setdefault(sound.clip_sha256, []).append(number)

    async def work(waiting: Iterator[list[int]]) -> None:
        for numbers in waiting:
            source = folder / f"clip-{numbers[0]}"
            await objects.get_file(sounds[numbers[0]].clip, source)
            for number in numbers:
                await _decode(program, source.name, number, sounds[number], samples, folder)
            source.unlink()

    waiting = iter(clips.values())
    await run_all(*(work(waiting) for _ in range(_AT_ONCE)))
    await asyncio.to_thread(_add_up, sounds, samples, folder)


async def _decode(program: Path, source: str, number: int, sound: ClipSound, samples: int, folder: Path) -> None:
    """Decode a part of a clip into `part-N`, no longer than it is heard."""
    heard = min(sound.samples, samples - sound.first_sample) / RATE
    if heard <= 0:
        return
    with (folder / source).open("rb") as clip:
        # An AVI file does not say when its sound is, but by counting from its beginning.
        counts = clip.read(12).endswith(b"AVI ")
    run_up = sound.source_start / _SECOND if counts else _RUN_UP_SECONDS
    arguments = _arguments(source, f"part-{number}", sound, heard, run_up)
    try:
        await loudness.run(program, arguments, seconds=heard, folder=folder, niceness=children.BACKGROUND_NICENESS)
    except Internal as failure:
        if failure.reason == "CHILD_KILLED":
            raise
        raise InvalidArgument(
            f"clip_sounds[{number}]: the clip has no sound that can be played; drop its sound, or take another clip",
            reason="CLIP_NOT_PLAYABLE",
        ) from failure


def _arguments(source: str, file: str, sound: ClipSound, heard: float, run_up: float) -> list[str]:
    """The arguments of ffmpeg to write a part of a clip's sound, from its first sample on, to a file.

    It is `heard` seconds long or as long as the clip goes on. The clip is decoded from `run_up` seconds before.

    ffmpeg builds its filters anew when the sample rate or the channels change in mid-stream, and all that counts
    samples would count from 0 again. So the first filters only make one kind of sound of it, and count nothing; what
    they give is decoded again (`dec`), as one stream that does not change, for those that do.
    """
    begin = sound.source_start / _SECOND
    run_up = min(begin, run_up)
    taken = heard * sound.speed
    clip = ffmpeg.input(
        source,
        ss=f"{begin - run_up:.6f}",
        t=f"{run_up + taken + 1:.6f}",
        itsoffset=f"{sound.track_start:.6f}",
        format_whitelist=CLIP_FORMATS,
        protocol_whitelist=CLIP_PROTOCOLS,
    )
    even = (
        clip[f"a:{sound.track}"]
        .filter("aformat", sample_fmts="fltp", channel_layouts="mono|stereo")
        # One channel is heard on both sides as loud as it is, which ffmpeg by itself would not do.
        .filter("pan", "stereo|FL<FL+FC|FR<FR+FC")
        .filter("aresample", RATE, resampler="soxr")
        .output("-", f="null", acodec="pcm_f32le", ar=RATE, ac=2)
    )
    first = round(run_up * RATE)
    counted = [
        # Sound that begins after the picture stays where it is, and gaps remain gaps.
        "aresample=async=1:first_pts=0",
        f"atrim=start_sample={first}:end_sample={first + math.ceil(taken * RATE)}",
        "asetpts=N/SR/TB",
        *(f"atempo={tempo:.6f}" for tempo in _tempos(sound.speed)),
    ]
    again = ["-dec", "0:0", "-filter_complex", f"[dec:0]{','.join(counted)}[part]", "-map", "[part]"]
    return [*even.get_args(), *again, "-f", "f32le", "-acodec", "pcm_f32le", "-ar", str(RATE), "-ac", "2", file]


def _tempos(speed: float) -> Iterable[float]:
    """Factors of a speed. Each is 0.5 to 2: with those ffmpeg leaves no sound out."""
    steps = math.ceil(abs(math.log2(speed)))
    return [speed ** (1 / steps)] * steps if steps else []


def _add_up(sounds: Sequence[ClipSound], samples: int, folder: Path) -> None:
    """Add the parts at their places, always in the same order: so the same bytes come out."""
    kept = np.memmap(folder / KEPT, np.float32, "w+", shape=(samples, 2))
    for number, sound in enumerate(sounds):
        path = folder / f"part-{number}"
        if not path.exists() or not path.stat().st_size:
            continue
        part = np.memmap(path, np.float32, "r").reshape(-1, 2)
        length = min(len(part), sound.samples, samples - sound.first_sample)
        for begin in range(0, length, _STEP_SAMPLES):
            end = min(length, begin + _STEP_SAMPLES)
            gain = sound.volume * _envelope(begin, end, length)
            kept[sound.first_sample + begin : sound.first_sample + end] += part[begin:end] * gain[:, None]
        path.unlink()
    kept.flush()


def _envelope(begin: int, end: int, length: int) -> NDArray[np.float32]:
    """How loud the samples of a part are that is `length` long: it fades in and out like a cosine."""
    place = np.arange(begin, end, dtype=np.float32)
    fade = max(1, min(_FADE_SAMPLES, length // 2))
    away = np.clip(np.minimum(place, length - 1 - place) / fade, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * away), np.float32)

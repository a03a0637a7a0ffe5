"""Clip sounds: place parts of the clips' own sound in one stereo track, exact to the sample.

A child process decodes each part, in any channel layout and sample rate that ffmpeg supports, at the requested speed
and the original pitch. Both ends of a part fade, so that there is no click.
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
CLIPS_FILE = "clips.f32"
"""The result: stereo, 32-bit floats, 48 kHz, without a header."""

_SECOND = timedelta(seconds=1)
# A decoder that begins in the middle needs a few packets first, and some files seek to a slightly later position.
_RUN_UP_SECONDS = 1.0
_FADE_SAMPLES = RATE // 50
_MAX_DECODERS = 2
_STEP_SAMPLES = 1 << 20


@dataclass(frozen=True)
class ClipSound:
    """A part of a clip's own sound."""

    clip: Any
    """The stored clip."""
    clip_sha256: str
    source_start: timedelta
    """The beginning of the part in the clip."""
    start: timedelta
    """The beginning of the part in the result."""
    duration: timedelta
    """The length of the part in the result."""
    volume: float
    """The gain as a factor; 1 is the original volume."""
    speed: float
    """2 is twice as fast, at the same pitch."""
    track: int = 0
    """The number of the sound track in the clip, from 0."""
    track_start: float = 0.0
    """In a stream without an index, where ffmpeg counts from the beginning of the track: that beginning in seconds
    from the start of the clip. Otherwise 0."""

    @property
    def first_sample(self) -> int:
        """The first sample of the part in the result."""
        return round(self.start / _SECOND * RATE)

    @property
    def samples(self) -> int:
        """The length of the part in the result, in samples."""
        return round((self.start + self.duration) / _SECOND * RATE) - self.first_sample

    @property
    def identity(self) -> tuple[object, ...]:
        """All values that determine the sound, for the key of the result."""
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
    """The object store."""

    async def get_file(self, source: Any, path: Path) -> None: ...


async def place_clip_sounds(
    program: Path, objects: Objects, sounds: Sequence[ClipSound], samples: int, folder: Path
) -> None:
    """Write `CLIPS_FILE` with all sounds at their places. Each clip is fetched once.

    Args:
        program: The ffmpeg program.
        objects: The object store with the clips.
        sounds: The parts to place.
        samples: The length of the result, at 48 kHz.
        folder: The folder of the result and of temporary files.

    Raises `InvalidArgument` (CLIP_NOT_PLAYABLE) when a clip has no sound that can be decoded, and `Internal` when the
    decoder is killed.
    """
    clips: dict[str, list[int]] = {}
    for number, sound in enumerate(sounds):
        clips.setdefault(sound.clip_sha256, []).append(number)

    async def decode_clips(pending: Iterator[list[int]]) -> None:
        for numbers in pending:
            source = folder / f"clip-{numbers[0]}"
            await objects.get_file(sounds[numbers[0]].clip, source)
            for number in numbers:
                await _decode(program, source.name, number, sounds[number], samples, folder)
            source.unlink()

    pending = iter(clips.values())
    await run_all(*(decode_clips(pending) for _ in range(_MAX_DECODERS)))
    await asyncio.to_thread(_sum_parts, sounds, samples, folder)


async def _decode(program: Path, source: str, number: int, sound: ClipSound, samples: int, folder: Path) -> None:
    """Decode a part of a clip into the file `part-N`, cut at the end of the result."""
    seconds = min(sound.samples, samples - sound.first_sample) / RATE
    if seconds <= 0:
        return
    with (folder / source).open("rb") as clip:
        # AVI has no timestamps: the position of a sample is known only by counting from the beginning.
        is_avi = clip.read(12).endswith(b"AVI ")
    run_up = sound.source_start / _SECOND if is_avi else _RUN_UP_SECONDS
    arguments = _decode_arguments(source, f"part-{number}", sound, seconds, run_up)
    try:
        await loudness.process_sound(
            program, arguments, seconds=seconds, folder=folder, niceness=children.BACKGROUND_NICENESS
        )
    except Internal as failure:
        if failure.reason == "CHILD_KILLED":
            raise
        raise InvalidArgument(
            f"clip_sounds[{number}]: the clip has no sound that can be played; drop its sound, or take another clip",
            reason="CLIP_NOT_PLAYABLE",
        ) from failure


def _decode_arguments(source: str, file: str, sound: ClipSound, seconds: float, run_up: float) -> list[str]:
    """The arguments of ffmpeg that decode a part of a clip's sound into a file.

    ffmpeg rebuilds its filter graph when the sample rate or the channels change in mid-stream, and filters that count
    samples then start from 0 again. The first graph therefore only converts the sound to one rate and layout. Its
    output is decoded again (`dec`), as one stream that does not change, for the filters that count.

    Args:
        source: The file of the clip.
        file: The result.
        sound: The part.
        seconds: The length of the result; less when the clip ends before.
        run_up: The seconds before the part at which decoding begins.
    """
    begin = sound.source_start / _SECOND
    run_up = min(begin, run_up)
    source_seconds = seconds * sound.speed
    clip = ffmpeg.input(
        source,
        ss=f"{begin - run_up:.6f}",
        t=f"{run_up + source_seconds + 1:.6f}",
        itsoffset=f"{sound.track_start:.6f}",
        format_whitelist=CLIP_FORMATS,
        protocol_whitelist=CLIP_PROTOCOLS,
    )
    uniform = (
        clip[f"a:{sound.track}"]
        .filter("aformat", sample_fmts="fltp", channel_layouts="mono|stereo")
        # ffmpeg's own conversion makes a mono sound 3 dB quieter.
        .filter("pan", "stereo|FL<FL+FC|FR<FR+FC")
        .filter("aresample", RATE, resampler="soxr")
        .output("-", f="null", acodec="pcm_f32le", ar=RATE, ac=2)
    )
    first = round(run_up * RATE)
    counting = [
        # Fills the time before sound that begins after the picture, and gaps, with silence.
        "aresample=async=1:first_pts=0",
        f"atrim=start_sample={first}:end_sample={first + math.ceil(source_seconds * RATE)}",
        "asetpts=N/SR/TB",
        *(f"atempo={tempo:.6f}" for tempo in _tempos(sound.speed)),
    ]
    second = ["-dec", "0:0", "-filter_complex", f"[dec:0]{','.join(counting)}[part]", "-map", "[part]"]
    return [*uniform.get_args(), *second, "-f", "f32le", "-acodec", "pcm_f32le", "-ar", str(RATE), "-ac", "2", file]


def _tempos(speed: float) -> Iterable[float]:
    """Factors of a speed, each from 0.5 to 2: beyond, ffmpeg's atempo skips samples."""
    steps = math.ceil(abs(math.log2(speed)))
    return [speed ** (1 / steps)] * steps if steps else []


def _sum_parts(sounds: Sequence[ClipSound], samples: int, folder: Path) -> None:
    """Add the parts at their places, always in the same order, so that the result is the same to the byte."""
    result = np.memmap(folder / CLIPS_FILE, np.float32, "w+", shape=(samples, 2))
    for number, sound in enumerate(sounds):
        path = folder / f"part-{number}"
        if not path.exists() or not path.stat().st_size:
            continue
        part = np.memmap(path, np.float32, "r").reshape(-1, 2)
        length = min(len(part), sound.samples, samples - sound.first_sample)
        for begin in range(0, length, _STEP_SAMPLES):
            end = min(length, begin + _STEP_SAMPLES)
            gain = sound.volume * _envelope(begin, end, length)
            result[sound.first_sample + begin : sound.first_sample + end] += part[begin:end] * gain[:, None]
        path.unlink()
    result.flush()


def _envelope(begin: int, end: int, length: int) -> NDArray[np.float32]:
    """The gain of the samples `begin` to `end` of a part of `length` samples, with a cosine fade at both ends."""
    position = np.arange(begin, end, dtype=np.float32)
    fade = max(1, min(_FADE_SAMPLES, length // 2))
    distance = np.clip(np.minimum(position, length - 1 - position) / fade, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * distance), np.float32)

"""Check: open a finished video, measure it, and refuse one that nobody should be shown."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import ffmpeg

from moneyprinter.errors import FailedPrecondition
from services.rendering.finish import VIDEO, run
from services.rendering.pictures import BLACK_LUMA, BLACK_PART

DURATION_TOLERANCE_SECONDS = 0.1

# Quieter than any narration; digital silence is measured as -70.
SILENT_LUFS = -60.0


@dataclass(frozen=True)
class Measures:
    """What was measured in a finished video."""

    seconds: float
    loudness_lufs: float
    true_peak_dbtp: float


async def measure(folder: Path, program: Path, planned_seconds: float) -> Measures:
    """Measure the video in `folder`. Raises FailedPrecondition, with the figures, when it is not as it should be."""
    seconds = await asyncio.to_thread(_check_streams, folder / VIDEO, planned_seconds)
    loudness, peak = await _loudness(folder, program)
    if not loudness > SILENT_LUFS:
        raise failed(f"it is silent: its loudness is {loudness:.1f} LUFS")
    return Measures(seconds, loudness, peak)


def _check_streams(path: Path, planned_seconds: float) -> float:
    """The length of a file, in which picture and sound are as long as planned."""
    with av.open(str(path)) as container:
        for name, streams in (("picture", container.streams.video), ("sound", container.streams.audio)):
            if not streams or streams[0].duration is None or streams[0].time_base is None:
                raise failed(f"it has no {name}")
            seconds = float(streams[0].duration * streams[0].time_base)
            if abs(seconds - planned_seconds) > DURATION_TOLERANCE_SECONDS:
                raise failed(f"its {name} is {seconds:.2f} s long, and the plan says {planned_seconds:.2f} s")
        return (container.duration or 0) / av.time_base


async def is_black(folder: Path, program: Path) -> bool:
    """Whether every frame of the video in `folder` is black; decodes all of it."""
    frames = (
        ffmpeg.input(VIDEO)["v:0"]
        .filter("blackframe", amount=0, threshold=BLACK_LUMA)
        .filter("metadata", "print", key="lavfi.blackframe.pblack", file="-")
    )
    printed = await run(ffmpeg.output(frames, "-", f="null", fps_mode="passthrough"), folder, program)
    return all(percent >= 100 * BLACK_PART for _, percent in _values(printed))


async def _loudness(folder: Path, program: Path) -> tuple[float, float]:
    """The integrated loudness in LUFS, and the true peak in dBTP, by EBU R 128."""
    sound = (
        ffmpeg.input(VIDEO)["a:0"]
        .filter("ebur128", peak="true", metadata=1, framelog="quiet")
        .filter("ametadata", "print", file="-")
    )
    # It is printed for every 0.1 s, each time for all that was heard so far.
    heard = dict(_values(await run(ffmpeg.output(sound, "-", f="null"), folder, program)))
    peak = heard.get("lavfi.r128.true_peak", 0.0)
    return heard.get("lavfi.r128.I", -math.inf), 20 * math.log10(peak) if peak > 0 else -math.inf


def _values(printed: bytes) -> Iterator[tuple[str, float]]:
    for line in printed.decode().splitlines():
        name, _, value = line.partition("=")
        if name.startswith("lavfi."):
            yield name, float(value)


def failed(why: str) -> FailedPrecondition:
    """The error for a video that is not as it should be."""
    return FailedPrecondition(f"the finished video failed its check: {why}", reason="QUALITY_CHECK_FAILED")

"""Check: open a finished video, measure it, and refuse one that nobody should be shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import ffmpeg
from av.stream import Stream

from moneyprinter.errors import FailedPrecondition
from services.media.loudness import meter, read_report
from services.rendering.finish import PICTURE, Form, encode, run
from services.rendering.pictures import BLACK_LUMA, BLACK_PART
from services.runtime.progress import OnProgress, ignore_progress

DURATION_TOLERANCE_SECONDS = 0.1

# Quieter than any narration; digital silence is measured as -70.
SILENT_LUFS = -60.0
# The true peak that is reported for digital silence.
SILENCE_DBTP = -120.0

_REPORT = "loudness.txt"


@dataclass(frozen=True)
class Measures:
    """What was measured in a finished video."""

    seconds: float
    loudness_lufs: float
    true_peak_dbtp: float


async def measure(folder: Path, program: Path, form: Form, on_progress: OnProgress = ignore_progress) -> Measures:
    """Measure the videos in `folder`. Raises FailedPrecondition, with the figures, when one is not as it should be."""
    seconds, *_ = [await asyncio.to_thread(_check_streams, folder / name, form.seconds) for name in form.videos]
    loudness, peak = await _loudness(folder, program, form, on_progress)
    if not loudness > SILENT_LUFS and not form.may_be_silent:
        raise failed(f"it is silent: its loudness is {loudness:.1f} LUFS")
    return Measures(seconds, loudness, peak)


def _check_streams(path: Path, planned_seconds: float) -> float:
    """The length of a file, in which picture and sound are as long as planned."""
    with av.open(str(path)) as container:
        for name, streams in (("picture", container.streams.video), ("sound", container.streams.audio)):
            seconds = _seconds(streams[0]) if streams else None
            if seconds is None:
                raise failed(f"it has no {name}")
            if abs(seconds - planned_seconds) > DURATION_TOLERANCE_SECONDS:
                raise failed(f"its {name} is {seconds:.2f} s long, and the plan says {planned_seconds:.2f} s")
        return (container.duration or 0) / av.time_base


def _seconds(stream: Stream) -> float | None:
    """How long a stream is: WebM has it among its tags."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (KeyError, ValueError):
        return None


async def is_black(folder: Path, program: Path) -> bool:
    """Whether every frame of the picture in `folder` is black; decodes all of it."""
    frames = (
        ffmpeg.input(PICTURE)["v:0"]
        .filter("blackframe", amount=0, threshold=BLACK_LUMA)
        .filter("metadata", "print", key="lavfi.blackframe.pblack", file="-")
    )
    printed = await run(ffmpeg.output(frames, "-", f="null", fps_mode="passthrough"), folder, program)
    return all(percent >= 100 * BLACK_PART for _, percent in _values(printed))


async def _loudness(folder: Path, program: Path, form: Form, on_progress: OnProgress) -> tuple[float, float]:
    """The integrated loudness in LUFS, and the true peak in dBTP, by EBU R 128."""
    sound = meter(ffmpeg.input(form.video)["a:0"], _REPORT)
    await encode(ffmpeg.output(sound, "-", f="null"), folder, program, form.seconds, on_progress)
    measured = read_report(folder / _REPORT)
    # JSON, in which results are recorded, has no infinity.
    return measured.integrated_lufs, max(measured.true_peak_dbtp, SILENCE_DBTP)


def _values(printed: bytes) -> Iterator[tuple[str, float]]:
    for line in printed.decode(errors="replace").splitlines():
        name, _, value = line.partition("=")
        if name.startswith("lavfi."):
            yield name, float(value)


def failed(why: str) -> FailedPrecondition:
    """The error for a video that is not as it should be."""
    return FailedPrecondition(f"the finished video failed its check: {why}", reason="QUALITY_CHECK_FAILED")

"""Check: measure a finished video, and refuse it when it is black, silent, incomplete or too short."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import ffmpeg
from av.stream import Stream

from moneyprinter.errors import FailedPrecondition
from services.media.ffmpeg import capture_ffmpeg, report_failures, run_ffmpeg
from services.media.loudness import meter, read_report
from services.rendering.finish import CANNOT_FINISH, VIDEO_TRACK, OutputSpec
from services.rendering.previews import BLACK_LUMA, BLACK_PART
from services.runtime.progress import OnProgress, ignore_progress

DURATION_TOLERANCE_SECONDS = 0.1

# Quieter than any narration; the loudness of digital silence is -70.
SILENT_LUFS = -60.0
# The true peak that is reported for digital silence.
SILENCE_DBTP = -120.0

_REPORT = "loudness.txt"


@dataclass(frozen=True)
class Measurements:
    """The measurements of a finished video."""

    seconds: float
    loudness_lufs: float
    true_peak_dbtp: float


async def check_video(
    folder: Path, program: Path, spec: OutputSpec, on_progress: OnProgress = ignore_progress
) -> Measurements:
    """Check the videos in `folder`. Returns the measurements of the first.

    Raises `FailedPrecondition` with the reason QUALITY_CHECK_FAILED, and with the figures, when a check fails.
    """
    seconds, *_ = [await asyncio.to_thread(_check_streams, folder / name, spec.seconds) for name in spec.videos]
    loudness, peak = await _measure_loudness(folder, program, spec, on_progress)
    if not loudness > SILENT_LUFS and not spec.may_be_silent:
        raise check_failed(f"it is silent: its loudness is {loudness:.1f} LUFS")
    return Measurements(seconds, loudness, peak)


def _check_streams(path: Path, planned_seconds: float) -> float:
    """Check that both tracks of a file are as long as planned. Returns the length of the file in seconds."""
    with av.open(str(path)) as container:
        for name, streams in (("picture", container.streams.video), ("sound", container.streams.audio)):
            seconds = _seconds(streams[0]) if streams else None
            if seconds is None:
                raise check_failed(f"it has no {name}")
            if abs(seconds - planned_seconds) > DURATION_TOLERANCE_SECONDS:
                raise check_failed(f"its {name} is {seconds:.2f} s long, and the plan says {planned_seconds:.2f} s")
        return (container.duration or 0) / av.time_base


def _seconds(stream: Stream) -> float | None:
    """The length of a track in seconds, or None. WebM has it among the tags."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (KeyError, ValueError):
        return None


async def is_black(folder: Path, program: Path) -> bool:
    """Whether every frame of the video track in `folder` is black. Decodes all frames.

    Raises `FailedPrecondition` with the reason RENDER_FAILED when ffmpeg fails.
    """
    frames = (
        ffmpeg.input(VIDEO_TRACK)["v:0"]
        .filter("blackframe", amount=0, threshold=BLACK_LUMA)
        .filter("metadata", "print", key="lavfi.blackframe.pblack", file="-")
    )
    command = ffmpeg.output(frames, "-", f="null", fps_mode="passthrough")
    with report_failures(CANNOT_FINISH, FailedPrecondition, reason="RENDER_FAILED"):
        printed = await capture_ffmpeg(program, command, folder=folder)
    return all(percent >= 100 * BLACK_PART for _, percent in _parse_metadata(printed))


async def _measure_loudness(
    folder: Path, program: Path, spec: OutputSpec, on_progress: OnProgress
) -> tuple[float, float]:
    """The integrated loudness in LUFS, and the true peak in dBTP, by EBU R 128."""
    sound = meter(ffmpeg.input(spec.video)["a:0"], _REPORT)
    command = ffmpeg.output(sound, "-", f="null")
    with report_failures(CANNOT_FINISH, FailedPrecondition, reason="RENDER_FAILED"):
        await run_ffmpeg(program, command, seconds=spec.seconds, folder=folder, on_progress=on_progress)
    measured = read_report(folder / _REPORT)
    # JSON, in which results are recorded, has no infinity.
    return measured.integrated_lufs, max(measured.true_peak_dbtp, SILENCE_DBTP)


def _parse_metadata(printed: bytes) -> Iterator[tuple[str, float]]:
    for line in printed.decode(errors="replace").splitlines():
        name, _, value = line.partition("=")
        if name.startswith("lavfi."):
            yield name, float(value)


def check_failed(why: str) -> FailedPrecondition:
    """Returns the error for a finished video that fails its check."""
    return FailedPrecondition(f"the finished video failed its check: {why}", reason="QUALITY_CHECK_FAILED")

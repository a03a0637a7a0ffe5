"""Loudness: measure a sound by EBU R 128."""

from __future__ import annotations

from pathlib import Path

import ffmpeg

from moneyprinter.errors import Internal
from services.media.ffmpeg import report_failures, run_ffmpeg
from services.media.loudness import Loudness, meter, read_report
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress

SILENT_LUFS = -69.0
"""Below, a sound is silent, or too short to be measured."""

LIMITS = children.Limits(cpu_seconds=1200, file_bytes=8 << 30, open_files=64, wall_seconds=1200)


async def measure(program: Path, sound: str, folder: Path, niceness: int = 0) -> Loudness:
    """Measure the WAV file `sound` in `folder`. Raises Internal when ffmpeg cannot read it."""
    report = folder / f"{sound}.loudness"
    measured = meter(ffmpeg.input(sound, f="wav"), report.name).output("-", f="null")
    await run(program, measured, seconds=1.0, folder=folder, niceness=niceness)
    return read_report(report)


async def run(
    program: Path,
    command: ffmpeg.Stream | list[str],
    *,
    seconds: float,
    folder: Path,
    on_progress: OnProgress = ignore_progress,
    niceness: int = 0,
) -> None:
    """Run ffmpeg on a sound, as `run_ffmpeg` does, within `LIMITS`. Raises `Internal` when ffmpeg fails."""
    with report_failures("the sound could not be made", Internal, reason="RENDER_FAILED"):
        await run_ffmpeg(
            program,
            command,
            seconds=seconds,
            folder=folder,
            on_progress=on_progress,
            limits=LIMITS,
            niceness=niceness,
        )

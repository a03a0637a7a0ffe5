"""Loudness: measure a sound by EBU R 128, and process sounds with ffmpeg."""

from __future__ import annotations

from pathlib import Path

import ffmpeg

from moneyprinter.errors import Internal
from services.media.ffmpeg import report_failures, run_ffmpeg
from services.media.loudness import Loudness, meter, read_report
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress

SILENT_LUFS = -69.0
"""A sound with a lower loudness is silent, or too short to be measured."""

LIMITS = children.Limits(cpu_seconds=1200, file_bytes=8 << 30, open_files=64, wall_seconds=1200)


async def measure(program: Path, sound: str, folder: Path, niceness: int = 0) -> Loudness:
    """Measure the loudness of a WAV file.

    Args:
        program: The ffmpeg program.
        sound: The name of the file in `folder`.
        folder: The folder of the file and of the report.
        niceness: The niceness of the process.

    Raises `Internal` (RENDER_FAILED) when ffmpeg cannot read the file.
    """
    report = folder / f"{sound}.loudness"
    metered = meter(ffmpeg.input(sound, f="wav"), report.name).output("-", f="null")
    await process_sound(program, metered, seconds=1.0, folder=folder, niceness=niceness)
    return read_report(report)


async def process_sound(
    program: Path,
    command: ffmpeg.Stream | list[str],
    *,
    seconds: float,
    folder: Path,
    on_progress: OnProgress = ignore_progress,
    niceness: int = 0,
) -> None:
    """Run ffmpeg on a sound, as `run_ffmpeg` does, within `LIMITS`.

    Args:
        program: The ffmpeg program.
        command: A graph of ffmpeg-python, or the arguments.
        seconds: The length of the output, which is the measure of progress.
        folder: The working directory.
        on_progress: Receives the progress, from 0 to 1.
        niceness: The niceness of the process.

    Raises `Internal` (RENDER_FAILED) when ffmpeg fails.
    """
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

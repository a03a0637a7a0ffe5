"""Loudness: measure a sound by EBU R 128."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from moneyprinter.errors import Internal
from services.runtime import children

SILENT_LUFS = -69.0
"""Below, a sound is silent, or too short to be measured."""

LIMITS = children.Limits(cpu_seconds=1200, file_bytes=8 << 30, open_files=64, wall_seconds=1200)


@dataclass(frozen=True)
class Loudness:
    """How loud a sound is."""

    integrated_lufs: float
    range_lu: float
    true_peak_dbtp: float


async def measure(program: Path, sound: str, folder: Path, niceness: int = 0) -> Loudness:
    """Measure the WAV file `sound` in `folder`. Raises Internal when ffmpeg cannot read it."""
    report = folder / f"{sound}.loudness"
    measured = (
        ffmpeg.input(sound, f="wav")
        .filter("ebur128", peak="true", metadata=1, framelog="quiet")
        .filter("ametadata", mode="print", file=report.name)
        .output("-", f="null")
    )
    async with aclosing(run(program, measured, seconds=1.0, folder=folder, niceness=niceness)) as fractions:
        async for _ in fractions:
            pass
    values = _last_values(report)
    peak = values.get("true_peak", 0.0)
    return Loudness(values.get("I", -70.0), values.get("LRA", 0.0), 20 * math.log10(peak) if peak > 0 else -math.inf)


async def run(
    program: Path, stream: ffmpeg.Stream | list[str], *, seconds: float, folder: Path, niceness: int = 0
) -> AsyncGenerator[float, None]:
    """Run ffmpeg on what ffmpeg-python describes, or with arguments; yield the part of `seconds` that is done.

    Raises Internal.
    """
    arguments = stream if isinstance(stream, list) else stream.get_args()
    running = children.ffmpeg(program, arguments, seconds=seconds, folder=folder, limits=LIMITS, niceness=niceness)
    try:
        async with aclosing(running) as fractions:
            async for fraction in fractions:
                yield fraction
    except children.ChildFailed as failure:
        raise children.to_error(failure, "the sound could not be made", Internal, reason="RENDER_FAILED") from failure


def _last_values(report: Path) -> dict[str, float]:
    """What the last frame says, as `lavfi.r128.I=-20.083`; peaks are the highest so far, as factors."""
    with report.open("rb") as file:
        file.seek(max(0, os.path.getsize(report) - 2000))
        lines = file.read().decode(errors="replace").splitlines()
    pairs = (line.removeprefix("lavfi.r128.").split("=", 1) for line in lines if line.startswith("lavfi.r128."))
    return {name: float(value) for name, value in pairs if value not in ("nan", "-nan")}

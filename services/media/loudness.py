"""Loudness: what ffmpeg's meter for EBU R 128 reports of a sound."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

SILENCE_LUFS = -70.0
"""The integrated loudness of digital silence, by the meter's gate."""

# The meter prints for every 0.1 s, each time for the sound so far; the last report is shorter than this.
_LAST_REPORT_BYTES = 4000
_PREFIX = "lavfi.r128."


@dataclass(frozen=True)
class Loudness:
    """The loudness of a sound (EBU R 128)."""

    integrated_lufs: float
    """At least `SILENCE_LUFS`."""
    range_lu: float
    true_peak_dbtp: float
    """Minus infinity for digital silence."""


def meter(sound: ffmpeg.Stream, report: str) -> ffmpeg.Stream:
    """Returns the sound through a meter that writes to the file `report`, in the folder that ffmpeg runs in."""
    return sound.filter("ebur128", peak="true", metadata=1, framelog="quiet").filter(
        "ametadata", mode="print", file=report
    )


def read_report(path: Path) -> Loudness:
    """Reads a file that a meter wrote."""
    with path.open("rb") as file:
        file.seek(max(0, os.path.getsize(path) - _LAST_REPORT_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    # Lines such as `lavfi.r128.I=-20.083`. Peaks are factors.
    pairs = (line.removeprefix(_PREFIX).split("=", 1) for line in lines if line.startswith(_PREFIX))
    values = {name: float(value) for name, value in pairs if value not in ("nan", "-nan")}
    peak = values.get("true_peak", 0.0)
    return Loudness(
        max(values.get("I", SILENCE_LUFS), SILENCE_LUFS),
        values.get("LRA", 0.0),
        20 * math.log10(peak) if peak > 0 else -math.inf,
    )

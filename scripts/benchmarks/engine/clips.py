"""Clips: synthetic footage of the kinds that users upload."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.media.ffmpeg import QUIET
from services.validation.probe import TimeRange, probe
from tests.sources import LIMITS

# The name, the picture and the frame rate of each clip; all are H.264 as cameras and stock sites write it.
KINDS = {
    "motion-4k": ("testsrc2=s=3840x2160:r=30,scroll=h=0.004:v=0.002,noise=alls=4:allf=t", 30),
    "detail-1080p": ("mandelbrot=s=1920x1080:r=30:start_scale=0.4:end_scale=0.01:end_pts=500", 30),
    "vertical-1080x1920": ("testsrc2=s=1080x1920:r=30,scroll=v=0.005,noise=alls=6:allf=t", 30),
    "noise-1080p": ("testsrc2=s=1920x1080:r=30,noise=alls=14:allf=t+u", 30),
    "motion-720p25": ("testsrc2=s=1280x720:r=25,scroll=h=0.01", 25),
    "variable-60": ("testsrc2=s=1920x1080:r=60,scroll=h=0.003,select='not(eq(mod(n,7),3)+eq(mod(n,11),5))'", 60),
}

# Margins around the used range, so that it begins between key frames and no way reaches the end of a clip.
LEAD_SECONDS, REST_SECONDS = 1.2, 0.4


@dataclass(frozen=True)
class Clip:
    """A clip on disk, and its used range in seconds."""

    path: str
    sha256: str
    size_bytes: int
    start_seconds: float
    end_seconds: float
    picture: dict[str, Any]
    """The result of the validation service."""
    key_seconds: list[float]
    """The times of the key frames."""


async def make(folder: Path, program: Path, seconds: float) -> list[Clip]:
    """Make one clip of each kind, each a little longer than `seconds`, of which `seconds` are used."""
    # Concurrently: a synthetic source has one thread, and the encoder waits for it.
    cores = asyncio.Semaphore(len(os.sched_getaffinity(0)))

    async def one(name: str) -> Clip:
        async with cores:
            return await _make(folder / f"{name}.mp4", program, *KINDS[name], seconds)

    return await asyncio.gather(*map(one, KINDS))


async def _make(path: Path, program: Path, picture: str, rate: int, seconds: float) -> Clip:
    end = LEAD_SECONDS + seconds
    command = (
        *(program, *QUIET, "-f", "lavfi", "-i", f"{picture},format=yuv420p"),
        *("-t", f"{end + REST_SECONDS:.3f}", "-fps_mode", "vfr"),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-g", str(5 * rate), "-an"),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv", path),
    )
    await asyncio.to_thread(subprocess.run, list(map(str, command)), check=True)
    data, found = await asyncio.to_thread(path.read_bytes), await probe(path, TimeRange(), LIMITS)
    return Clip(
        path=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        start_seconds=LEAD_SECONDS,
        end_seconds=end,
        picture=dict(found.source),
        key_seconds=list(found.key_seconds),
    )

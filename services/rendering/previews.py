"""Previews: choose the poster and the thumbnails of a video, in a child process that decodes only some frames."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from moneyprinter.errors import FailedPrecondition
from services.media.ffmpeg import report_failures
from services.rendering.finish import CANNOT_FINISH, POSTER, THUMBNAILS, VIDEO_TRACK
from services.runtime import children

# A frame is black when this part of its pixels has less than this luma; black is 16, and white 235.
BLACK_PART, BLACK_LUMA = 0.99, 24

_CHILD = Path(__file__).with_name("previews_child.py")
_LIMITS = children.Limits(memory_bytes=3 << 30, cpu_seconds=120, file_bytes=1 << 28, open_files=64, wall_seconds=180)


@dataclass(frozen=True)
class PreviewReport:
    """The facts that the choice of previews found."""

    black: bool
    """Whether all examined frames are black."""
    poster_seconds: float
    """The time of the poster's frame in the video."""


async def write_previews(folder: Path) -> PreviewReport:
    """Write the poster and the thumbnails of the video track in `folder`.

    Raises `FailedPrecondition` with the reason RENDER_FAILED when the child fails.
    """
    command = (sys.executable, "-I", _CHILD, VIDEO_TRACK, POSTER, THUMBNAILS, str(BLACK_LUMA))
    what = f"{CANNOT_FINISH}: its poster cannot be taken"
    with report_failures(what, FailedPrecondition, reason="RENDER_FAILED"):
        printed = await children.run(command, limits=_LIMITS, folder=folder)
    found = json.loads(printed)
    return PreviewReport(all(part >= BLACK_PART for part in found["black"]), float(found["poster_seconds"]))

"""Pictures: choose a video's poster and thumbnails, in a child process that decodes only some of its frames."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from moneyprinter.errors import FailedPrecondition
from services.rendering.finish import PICTURE, POSTER, THUMBNAILS
from services.runtime import children

# A picture is black when that part of its pixels is darker than that; black itself is 16, white 235.
BLACK_PART, BLACK_LUMA = 0.99, 24

_CHILD = Path(__file__).with_name("pictures_child.py")
_LIMITS = children.Limits(memory_bytes=3 << 30, cpu_seconds=120, file_bytes=1 << 28, open_files=64, wall_seconds=180)


@dataclass(frozen=True)
class Seen:
    """What was seen in a video."""

    black: bool
    """Whether all the pictures that were looked at are black."""
    poster_seconds: float
    """When the picture of the poster is shown."""


async def take(folder: Path) -> Seen:
    """Write the poster and the thumbnails of the picture in `folder`. Raises FailedPrecondition."""
    command = (sys.executable, "-I", _CHILD, PICTURE, POSTER, THUMBNAILS, str(BLACK_LUMA))
    try:
        printed = await children.run(command, limits=_LIMITS, folder=folder)
    except children.ChildFailed as failure:
        what = "the video cannot be finished: its poster cannot be taken"
        raise children.to_error(failure, what, FailedPrecondition, reason="RENDER_FAILED") from failure
    found = json.loads(printed)
    return Seen(all(part >= BLACK_PART for part in found["black"]), float(found["poster_seconds"]))

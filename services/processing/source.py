"""Source: what must be known of a clip or picture before it is drawn, found out by a child process."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from moneyprinter.errors import FailedPrecondition
from services.runtime import children

# Nothing that could make ffmpeg open another file or an address: no playlists, no scripts.
FORMATS = "mov,matroska,mpegts,mpeg,avi,flv,asf,ogg"
PROTOCOLS = "file,crypto,data"

# A picture is decoded once, a video frame by frame: so it may be as large as phones take them.
MAX_STILL_PIXELS = 8192 * 6144

_CHILD = Path(__file__).with_name("source_child.py")
_CHILD_LIMITS = children.Limits(
    memory_bytes=2 << 30, cpu_seconds=30, file_bytes=1 << 20, open_files=64, wall_seconds=60
)


@dataclass(frozen=True)
class Source:
    """What must be known of a clip or picture before it is drawn."""

    width: int
    height: int
    has_matrix: bool
    """Whether it says how its colours are coded."""
    has_primaries: bool = True
    """Whether it says which red, green and blue it means."""
    hdr_transfer: str = ""
    """How the light of HDR is coded, as ffmpeg names it (`smpte2084`: PQ, `arib-std-b67`: HLG); empty: no HDR."""
    wide_gamut: bool = False
    """Whether its colours are those of BT.2020."""
    interlaced: bool = False
    has_alpha: bool = False
    decoder: str = ""
    """The decoder that sees its transparent parts, when it is not ffmpeg's first choice."""
    format: str = ""
    """For pictures and animations, the one format of ffmpeg that they are opened as; empty: found by ffmpeg."""
    still: bool = False
    """Whether its format holds a single picture."""


async def look(file: Path, max_pixels: int) -> Source:
    """Open a file, and say what must be known of it. Raises FailedPrecondition with the reason RENDER_FAILED.

    `max_pixels` is for videos.
    """
    pixels = (str(max_pixels), str(max(max_pixels, MAX_STILL_PIXELS)))
    command = (sys.executable, "-I", _CHILD, file.name, FORMATS, PROTOCOLS, *pixels)
    try:
        return Source(**json.loads(await children.run(command, limits=_CHILD_LIMITS, folder=file.parent)))
    except (children.ChildFailed, TimeoutError) as failure:
        words = failure.last_words(file.parent) if isinstance(failure, children.ChildFailed) else "it takes too long"
        raise failed(f"a source cannot be opened: {words}") from failure


def failed(why: str) -> FailedPrecondition:
    """The error for a segment that cannot be rendered."""
    return FailedPrecondition(f"the segment cannot be rendered: {why}", reason="RENDER_FAILED")

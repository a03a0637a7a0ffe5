"""Finish: put picture and sound into one file that plays while it loads.

The picture is copied, not encoded again. The sound begins with it and is exactly as long as the plan
says: the delay of the AAC encoder is told to players by the file's edit list. The same parts give the
same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ffmpeg

from moneyprinter.errors import FailedPrecondition
from services.runtime import children

PICTURE, SOUND = "picture", "sound"
VIDEO, POSTER, THUMBNAILS = "video.mp4", "poster.jpg", "thumbnails.jpg"

# Only what our own services hand over.
_PICTURES = {"format_whitelist": "mov", "protocol_whitelist": "file"}
_SOUNDS = {"format_whitelist": "mov,wav,w64,flac,ogg,mp3,matroska", "protocol_whitelist": "file"}


async def mux(folder: Path, program: Path, seconds: float, title: str) -> None:
    """Make the video from the picture and the sound in `folder`. Raises FailedPrecondition."""
    sound = (
        ffmpeg.input(SOUND, **_SOUNDS)["a:0"]
        .filter("aresample", 48000)
        .filter("aformat", channel_layouts="stereo")
        .filter("apad", whole_dur=seconds)
        .filter("atrim", end=seconds)
    )
    options = {
        "c:v": "copy",
        "c:a": "aac",
        "b:a": "192k",
        "movflags": "+faststart",
        "map_metadata": -1,
        "metadata": f"title={plain(title)}",
        "fflags": "+bitexact",
        "flags:a": "+bitexact",
    }
    await run(ffmpeg.output(ffmpeg.input(PICTURE, **_PICTURES)["v:0"], sound, VIDEO, **options), folder, program)


async def run(command: Any, folder: Path, program: Path) -> bytes:
    """Run ffmpeg in `folder`, and return what it printed. Raises FailedPrecondition."""
    arguments = (str(argument) for argument in command.get_args())
    try:
        return await children.run(
            (program, "-hide_banner", "-nostdin", "-y", "-loglevel", "error", *arguments), folder=folder
        )
    except children.ChildFailed as failure:
        words = f"the video cannot be finished: {failure.last_words(folder)}"
        raise FailedPrecondition(words, reason="RENDER_FAILED") from failure


def plain(title: str) -> str:
    """A title on one line, without characters that control anything."""
    return " ".join("".join(c if c.isprintable() else " " for c in title).split())

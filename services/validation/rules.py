"""Rules: what a clip must be to be taken, and the refusal of one that is not.

Part of the process that reads clips; imports nothing of the platform.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import av
import av.container
import av.error
from av.video.stream import VideoStream

END_TOLERANCE_SECONDS = 0.05
# A picture must come from this many packets, or the file is damaged.
MAX_PACKETS = 1000
PROTOCOLS = "file"
# Black itself is 16, and white 235.
_BLACK_LUMA = 24


class Refused(Exception):
    """The clip cannot be used: reason, message."""


@dataclass(frozen=True)
class Wanted:
    """What is checked of a clip."""

    max_pixels: int
    max_still_pixels: int
    max_duration_seconds: float
    start_seconds: float
    end_seconds: float | None


def check_pixels(width: int, height: int, wanted: Wanted) -> None:
    """Raise Refused unless a picture of that size may be decoded."""
    if width < 1 or height < 1:
        raise Refused("CLIP_NOT_PLAYABLE", "the file is damaged: the size of its picture cannot be read")
    if width * height > wanted.max_pixels:
        raise Refused(
            "CLIP_TOO_LARGE",
            f"the picture has {width}x{height} pixels; at most {wanted.max_pixels} "
            f"({wanted.max_pixels / 1e6:.1f} million) are taken",
        )


def check_duration(seconds: float, wanted: Wanted) -> None:
    """Raise Refused when a clip is too long."""
    if seconds > wanted.max_duration_seconds:
        raise Refused(
            "CLIP_TOO_LARGE", f"the clip is {seconds:.0f} s long; at most {wanted.max_duration_seconds:.0f} s are taken"
        )


def check_range(length: float, wanted: Wanted) -> float:
    """The end of the wanted part in seconds. Raises Refused when it is not within the clip."""
    if wanted.start_seconds >= length:
        raise Refused(
            "CLIP_RANGE_INVALID",
            f"the wanted part starts at {wanted.start_seconds:.2f} s, and the clip is only {length:.2f} s long",
        )
    end = length if wanted.end_seconds is None else wanted.end_seconds
    if end > length + END_TOLERANCE_SECONDS:
        raise Refused(
            "CLIP_RANGE_INVALID",
            f"the wanted part ends at {end:.2f} s, and the clip is only {length:.2f} s long",
        )
    return min(end, length)


def check_no_part(wanted: Wanted) -> None:
    """Raise Refused when a part of a still picture is wanted."""
    if wanted.start_seconds > 0 or wanted.end_seconds is not None:
        raise Refused("CLIP_RANGE_INVALID", "a picture has no start and end time; leave them out")


def decode(
    container: av.container.InputContainer, stream: VideoStream, wanted: Wanted, count: int
) -> list[av.VideoFrame]:
    """The next pictures that can be decoded, up to `count`."""
    context = stream.codec_context
    if not context.is_open:
        # What the header says of the size need not be what the pictures say.
        context.options = {"max_pixels": str(wanted.max_pixels)}
        context.thread_count = 1
    frames: list[av.VideoFrame] = []
    for read, packet in enumerate(container.demux(stream)):
        with suppress(av.error.InvalidDataError):
            frames += packet.decode()
        if len(frames) >= count or read >= MAX_PACKETS:
            break
    return frames[:count]


def is_dark(frame: av.VideoFrame) -> bool:
    """Whether a picture is black, but for one part in a hundred; what is finer than 64x36 pixels is not looked at."""
    try:
        plane = frame.reformat(64, 36, format="yuv420p", interpolation="AREA").planes[0]
    except (av.error.FFmpegError, ValueError):
        # A format that cannot be converted here.
        return False
    data, line = bytes(plane), plane.line_size
    luma = b"".join(data[row * line : row * line + 64] for row in range(36))
    return sum(value < _BLACK_LUMA for value in luma) >= 0.99 * len(luma)

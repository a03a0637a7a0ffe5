"""Checks: what a clip must fulfil, and the error of a clip that does not.

Runs in the probe child; imports nothing of the platform.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import av
import av.container
import av.error
from av.video.stream import VideoStream

END_TOLERANCE_SECONDS = 0.05
# A file of which this many packets yield no picture is damaged.
MAX_PACKETS = 1000
PROTOCOLS = "file"
# Black is 16, white is 235.
_MAX_BLACK_LUMA = 24


class ClipRefused(Exception):
    """The clip cannot be used. The arguments are the reason and the message."""


@dataclass(frozen=True)
class ProbeRequest:
    """The limits of a clip, and the part of it that is requested."""

    max_pixels: int
    max_still_pixels: int
    max_duration_seconds: float
    start_seconds: float
    end_seconds: float | None


def check_pixels(width: int, height: int, request: ProbeRequest) -> None:
    """Raise `ClipRefused` when a picture of this size must not be decoded."""
    if width < 1 or height < 1:
        raise ClipRefused("CLIP_NOT_PLAYABLE", "the file is damaged: the size of its picture cannot be read")
    if width * height > request.max_pixels:
        raise ClipRefused(
            "CLIP_TOO_LARGE",
            f"the picture has {width}x{height} pixels; at most {request.max_pixels} "
            f"({request.max_pixels / 1e6:.1f} million) are allowed",
        )


def check_duration(seconds: float, request: ProbeRequest) -> None:
    """Raise `ClipRefused` when a clip is too long."""
    if seconds > request.max_duration_seconds:
        raise ClipRefused(
            "CLIP_TOO_LARGE",
            f"the clip is {seconds:.0f} s long; at most {request.max_duration_seconds:.0f} s are allowed",
        )


def check_range(length: float, request: ProbeRequest) -> float:
    """The end of the requested part in seconds. Raises `ClipRefused` when the part is not within the clip."""
    if request.start_seconds >= length:
        raise ClipRefused(
            "CLIP_RANGE_INVALID",
            f"the requested part starts at {request.start_seconds:.2f} s, and the clip is only {length:.2f} s long",
        )
    end = length if request.end_seconds is None else request.end_seconds
    if end > length + END_TOLERANCE_SECONDS:
        raise ClipRefused(
            "CLIP_RANGE_INVALID",
            f"the requested part ends at {end:.2f} s, and the clip is only {length:.2f} s long",
        )
    return min(end, length)


def check_no_part(request: ProbeRequest) -> None:
    """Raise `ClipRefused` when the request is for a part of a still picture."""
    if request.start_seconds > 0 or request.end_seconds is not None:
        raise ClipRefused("CLIP_RANGE_INVALID", "a picture has no start and end time; leave them out")


def decode(
    container: av.container.InputContainer, stream: VideoStream, request: ProbeRequest, count: int
) -> list[av.VideoFrame]:
    """Decode the next pictures, up to `count`; packets that cannot be decoded are skipped."""
    context = stream.codec_context
    if not context.is_open:
        # The header may declare another size than the pictures have.
        context.options = {"max_pixels": str(request.max_pixels)}
        context.thread_count = 1
    frames: list[av.VideoFrame] = []
    for read, packet in enumerate(container.demux(stream)):
        with suppress(av.error.InvalidDataError):
            frames += packet.decode()
        if len(frames) >= count or read >= MAX_PACKETS:
            break
    return frames[:count]


def is_dark(frame: av.VideoFrame) -> bool:
    """Whether at least 99 % of a picture is black, at a resolution of 64x36 pixels."""
    try:
        plane = frame.reformat(64, 36, format="yuv420p", interpolation="AREA").planes[0]
    except (av.error.FFmpegError, ValueError):
        # The pixel format cannot be converted.
        return False
    data, line = bytes(plane), plane.line_size
    luma = b"".join(data[row * line : row * line + 64] for row in range(36))
    return sum(value < _MAX_BLACK_LUMA for value in luma) >= 0.99 * len(luma)

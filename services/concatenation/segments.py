"""Segments: the properties of a segment, and the check that segments can be joined by stream copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error

from moneyprinter.errors import FailedPrecondition
from services.media.formats import SEGMENT_FORMATS, own_file

OPTIONS = own_file(SEGMENT_FORMATS)
# Without it, libav decodes the first frame when it opens a file, which takes longer than the rest of the work.
UNDECODED = {**OPTIONS, "skip_frame": "all"}


@dataclass(frozen=True)
class Segment:
    """The properties of a segment."""

    codec: str
    profile: str
    width: int
    height: int
    pixel_format: str
    frame_rate: Fraction
    """In frames a second."""
    time_base: Fraction
    """The seconds in a tick."""
    parameters: bytes
    """What a decoder needs beforehand, for H.264 its SPS and PPS. They differ between encoders."""
    frame_count: int
    delay: int
    """How many frames a decoder holds back to reorder them."""


PixelFormats = dict[tuple[str, bytes], str]
"""The pixel format of each codec with its parameters."""


def read_segment(path: Path, number: int, pixel_formats: PixelFormats) -> Segment:
    """Read the properties of a segment from its file.

    `number` counts from 1, for messages. `pixel_formats` caches pixel formats, which are slow to read. Raises
    `FailedPrecondition` when the file cannot be opened.
    """
    try:
        with av.open(str(path), options=UNDECODED) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or not stream.average_rate or stream.time_base is None:
                raise FailedPrecondition(f"segment {number} has no picture", reason="RENDER_FAILED")
            context = stream.codec_context
            packets = [(packet.pts or 0, packet.dts or 0) for packet in container.demux(stream) if packet.size]
            if not packets:
                raise FailedPrecondition(f"segment {number} has no picture", reason="RENDER_FAILED")
            pts, dts = packets[0]
            parameters = context.extradata or b""
            key = context.name, parameters
            # Without parameters a codec may have any pixel format.
            pixel_format = pixel_formats.get(key) if parameters else None
            pixel_format = pixel_formats[key] = pixel_format or _read_pixel_format(path)
            return Segment(
                codec=context.name,
                profile=context.profile or "unknown",
                width=context.width,
                height=context.height,
                pixel_format=pixel_format,
                frame_rate=stream.average_rate,
                time_base=stream.time_base,
                parameters=parameters,
                frame_count=len(packets),
                delay=round((pts - dts) * stream.time_base * stream.average_rate),
            )
    except av.error.FFmpegError as failure:
        message = f"segment {number} cannot be opened: {failure.strerror}"
        raise FailedPrecondition(message, reason="RENDER_FAILED") from None


def _read_pixel_format(path: Path) -> str:
    with av.open(str(path), options=OPTIONS) as container:
        return container.streams.video[0].codec_context.pix_fmt or "unknown"


def check_compatible(segments: Sequence[Segment]) -> None:
    """Check that segments can be joined.

    Raises `FailedPrecondition` with the reason SEGMENTS_MISMATCHED, and with the first difference.
    """
    for number, segment in enumerate(segments, 1):
        if difference := _describe_difference(segment, segments[0]):
            raise FailedPrecondition(f"segment {number} {difference}", reason="SEGMENTS_MISMATCHED")


def _describe_difference(segment: Segment, first: Segment) -> str:
    pairs = (
        ("is {}", f"{segment.width}x{segment.height}", f"{first.width}x{first.height}"),
        ("is {}", segment.codec, first.codec),
        ("has {} frames a second", str(segment.frame_rate), str(first.frame_rate)),
        ("has pixels of the format {}", segment.pixel_format, first.pixel_format),
        ("is of the profile {}", segment.profile, first.profile),
        ("has a time base of {} s", str(segment.time_base), str(first.time_base)),
    )
    for template, value, first_value in pairs:
        if value != first_value:
            return f"{template.format(value)}, the first {template.format(first_value)}"
    return ""

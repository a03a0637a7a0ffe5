"""Segments: what a segment is made of, and whether segments can be joined by stream copy."""

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
# To open a file, libav decodes its first picture, which takes longer than all the rest; not so with this.
UNDECODED = {**OPTIONS, "skip_frame": "all"}


@dataclass(frozen=True)
class Segment:
    """What must be alike in all segments, and how long one is."""

    codec: str
    profile: str
    width: int
    height: int
    pixels: str
    rate: Fraction
    """Frames a second."""
    time_base: Fraction
    """Seconds in a tick."""
    parameters: bytes
    """What a decoder must know beforehand; for H.264 its SPS and PPS. Each encoder has its own."""
    frames: int
    delay: int
    """How many frames a decoder holds back, to put them in order."""


Formats = dict[tuple[str, bytes], str]
"""The format of the pixels that goes with a codec and its parameters."""


def inspect(path: Path, place: int, formats: Formats) -> Segment:
    """Open the segment that is the `place`-th, from 1. Raises FailedPrecondition when it cannot be opened.

    `formats` are those that are known; a new one is added.
    """
    try:
        with av.open(str(path), options=UNDECODED) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or not stream.average_rate or stream.time_base is None:
                raise FailedPrecondition(f"segment {place} has no picture", reason="RENDER_FAILED")
            context = stream.codec_context
            packets = [(packet.pts or 0, packet.dts or 0) for packet in container.demux(stream) if packet.size]
            if not packets:
                raise FailedPrecondition(f"segment {place} has no picture", reason="RENDER_FAILED")
            pts, dts = packets[0]
            parameters = context.extradata or b""
            kind = context.name, parameters
            # Without parameters a codec may have any format.
            pixels = formats.get(kind) if parameters else None
            pixels = formats[kind] = pixels or _pixels(path)
            return Segment(
                codec=context.name,
                profile=context.profile or "unknown",
                width=context.width,
                height=context.height,
                pixels=pixels,
                rate=stream.average_rate,
                time_base=stream.time_base,
                parameters=parameters,
                frames=len(packets),
                delay=round((pts - dts) * stream.time_base * stream.average_rate),
            )
    except av.error.FFmpegError as failure:
        words = f"segment {place} cannot be opened: {failure.strerror}"
        raise FailedPrecondition(words, reason="RENDER_FAILED") from None


def _pixels(path: Path) -> str:
    with av.open(str(path), options=OPTIONS) as container:
        return container.streams.video[0].codec_context.pix_fmt or "unknown"


def check_alike(segments: Sequence[Segment]) -> None:
    """Raise FailedPrecondition, which says what differs, unless all segments can be joined."""
    for place, segment in enumerate(segments, 1):
        if differs := _difference(segment, segments[0]):
            raise FailedPrecondition(f"segment {place} {differs}", reason="SEGMENTS_MISMATCHED")


def _difference(one: Segment, first: Segment) -> str:
    pairs = (
        ("is {}", f"{one.width}x{one.height}", f"{first.width}x{first.height}"),
        ("is {}", one.codec, first.codec),
        ("has {} frames a second", str(one.rate), str(first.rate)),
        ("has pixels of the format {}", one.pixels, first.pixels),
        ("is of the profile {}", one.profile, first.profile),
        ("has a time base of {} s", str(one.time_base), str(first.time_base)),
    )
    for words, its, firsts in pairs:
        if its != firsts:
            return f"{words.format(its)}, the first {words.format(firsts)}"
    return ""

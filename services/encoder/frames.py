"""Frames: the format of the frames of a stream, and of its encode."""

from __future__ import annotations

from dataclasses import dataclass

from moneyprinter.errors import InvalidArgument, Violation
from services.media.encoding import Codec, Quality


@dataclass(frozen=True)
class Format:
    """The format of the frames of a stream (planar YUV 4:2:0, 8 bits), and of its encode."""

    width: int
    """In pixels; even."""
    height: int
    """In pixels; even."""
    frames_per_second: int
    quality: Quality
    codec: Codec = Codec.H264
    backend: str = ""
    """The requested backend; empty: the best one for the codec."""

    @property
    def frame_bytes(self) -> int:
        """The size of a frame."""
        return self.width * self.height * 3 // 2


def check_format(format: Format, max_pixels_per_second: int) -> None:
    """Check that a format can be encoded.

    Raises `InvalidArgument` with the reason REQUEST_INVALID for odd sizes, and for more than `max_pixels_per_second`
    (width times height times frames a second).
    """
    violations = [
        Violation(f"format.canvas.{name}", "must be even")
        for name, pixels in (("width", format.width), ("height", format.height))
        if pixels % 2
    ]
    if format.width * format.height * format.frames_per_second > max_pixels_per_second:
        violations.append(Violation("format.canvas", f"has more than {max_pixels_per_second} pixels a second"))
    if violations:
        message = "; ".join(f"{violation.field} {violation.description}" for violation in violations)
        raise InvalidArgument(message, reason="REQUEST_INVALID", violations=violations)

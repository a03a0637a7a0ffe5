"""Frames: what comes in, and how it is to be coded."""

from __future__ import annotations

from dataclasses import dataclass

from moneyprinter.errors import InvalidArgument, Violation
from services.media.encoding import Codec, Quality


@dataclass(frozen=True)
class Format:
    """What the frames are and how they are encoded."""

    width: int
    """Pixels, even."""
    height: int
    """Pixels, even."""
    frames_per_second: int
    quality: Quality
    codec: Codec = Codec.H264
    backend: str = ""
    """The backend that is asked for; empty: the best one for the codec."""

    @property
    def frame_bytes(self) -> int:
        """The size of a frame: planar YUV 4:2:0, 8 bit."""
        return self.width * self.height * 3 // 2


def check(format: Format, max_pixels_per_second: int) -> None:
    """Raise InvalidArgument with the reason REQUEST_INVALID for a format that nobody encodes here."""
    violations = [
        Violation(f"format.canvas.{name}", "must be even")
        for name, pixels in (("width", format.width), ("height", format.height))
        if pixels % 2
    ]
    if format.width * format.height * format.frames_per_second > max_pixels_per_second:
        violations.append(Violation("format.canvas", f"has more than {max_pixels_per_second} pixels a second"))
    if violations:
        words = "; ".join(f"{violation.field} {violation.description}" for violation in violations)
        raise InvalidArgument(words, reason="REQUEST_INVALID", violations=violations)

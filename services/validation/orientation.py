"""Orientation: how a picture must be mirrored and rotated for display, by its container or its EXIF.

Runs in the probe child; imports nothing of the platform.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import av
from av.sidedata.sidedata import Type

# PyAV fails on types of side data that are newer than itself, such as EXIF; this module reads none of them.
Type._missing_ = classmethod(lambda cls, value: cls.SPHERICAL)  # type: ignore[assignment, method-assign]


@dataclass(frozen=True)
class Orientation:
    """The mirroring and then the rotation of a picture before it is displayed."""

    rotation: int = 0
    """In degrees clockwise: 0, 90, 180 or 270."""
    mirrored: bool = False
    """Whether left and right are exchanged before the rotation."""

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height are exchanged."""
        return self.rotation % 180 != 0

    def to_displayed(self, x: float, y: float) -> tuple[float, float]:
        """Convert a point of the coded picture to the displayed one; fractions of width and height (0 to 1)."""
        x = 1 - x if self.mirrored else x
        return {90: (1 - y, x), 180: (1 - x, 1 - y), 270: (y, 1 - x)}.get(self.rotation, (x, y))


def read(frame: av.VideoFrame) -> Orientation:
    """The orientation of a decoded frame. Other angles are rounded to a quarter turn, as players do."""
    data = bytes(frame.side_data.get("DISPLAYMATRIX", b""))  # type: ignore[call-overload]
    if len(data) < 20:
        return Orientation()
    # (x, y) becomes (a x + c y, b x + d y), with y downwards.
    a, b, _, c, d = struct.unpack("<5i", data[:20])
    mirrored = a * d - b * c < 0
    degrees = math.degrees(math.atan2(-b, -a) if mirrored else math.atan2(b, a))
    return Orientation(round(degrees / 90) * 90 % 360, mirrored)

"""Orientation: how a picture must be turned to be shown, as its container or its EXIF says.

Part of the process that reads clips; imports nothing of the platform.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import av
from av.sidedata.sidedata import Type

# PyAV fails on kinds of side data that are newer than it is, such as EXIF as a whole; none of these is read here.
Type._missing_ = classmethod(lambda cls, value: cls.SPHERICAL)  # type: ignore[assignment, method-assign]


@dataclass(frozen=True)
class Orientation:
    """What is done to a picture before it is shown: it is mirrored, then turned."""

    rotation: int = 0
    """In degrees clockwise: 0, 90, 180 or 270."""
    mirrored: bool = False
    """Whether its left and right are exchanged, before it is turned."""

    @property
    def lies(self) -> bool:
        """Whether width and height are exchanged."""
        return self.rotation % 180 != 0

    def seen(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the coded picture is in the one that is shown; parts of its width and height."""
        x = 1 - x if self.mirrored else x
        return {90: (1 - y, x), 180: (1 - x, 1 - y), 270: (y, 1 - x)}.get(self.rotation, (x, y))


def read(frame: av.VideoFrame) -> Orientation:
    """The orientation of a decoded frame; angles between are rounded to a quarter turn, as players do."""
    data = bytes(frame.side_data.get("DISPLAYMATRIX", b""))  # type: ignore[call-overload]
    if len(data) < 20:
        return Orientation()
    # (x, y) becomes (a x + c y, b x + d y), with y downwards.
    a, b, _, c, d = struct.unpack("<5i", data[:20])
    mirrored = a * d - b * c < 0
    degrees = math.degrees(math.atan2(-b, -a) if mirrored else math.atan2(b, a))
    return Orientation(round(degrees / 90) * 90 % 360, mirrored)

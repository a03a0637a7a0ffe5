"""Lengths: how long a clip is. One definition for all containers: how long a player shows it.

A clip begins where the first of its picture and its sound does, and ends where the last of them does. Its first
picture is taken for shown from the beginning, and its last one stands while the sound goes on. What an edit list
leaves out is not counted. Lengths are read from the packets, never from what a header promises.

Part of the process that reads clips; imports nothing of the platform.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.container
import av.error
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

# A picture that stands alone for so long at most is a still picture, whatever file it is in.
_GLANCE_SECONDS = 0.5


@dataclass(frozen=True)
class Length:
    """How long a clip is, in seconds from its beginning."""

    seconds: float
    """When it ends."""
    picture_end: float
    """When its last picture would end if the sound did not go on."""
    last_packet: float
    """When the last packet ends, shown or not."""
    single: bool
    """Whether it is a single picture, with no sound that goes on."""


def measure(
    container: av.container.InputContainer,
    picture: VideoStream,
    sound: AudioStream | None,
    *,
    origin: float,
    first: float,
    promised: float,
    rate: Fraction,
) -> Length:
    """Read how long a clip is.

    `origin` is when it begins in the file's own time, `first` when its first picture is shown; the last packets are
    looked for near `promised` seconds from the beginning, and all are read when they are not there. A picture without
    a length of its own is shown for one of `rate`.
    """
    for start in (promised + origin, min(0.0, origin)):
        earliest, latest = math.inf, -math.inf
        picture_end = sound_end = last = -1.0
        seek(container, picture, start)
        for packet in _packets(container):
            time = packet.pts if packet.pts is not None else packet.dts
            if time is None or not packet.time_base:
                continue
            begin = float(time * packet.time_base) - origin
            end = begin + float((packet.duration or 0) * packet.time_base)
            last = max(last, end)
            if packet.is_discard:
                continue
            if packet.stream_index == picture.index:
                earliest, latest = min(earliest, begin), max(latest, begin)
                picture_end = max(picture_end, end if end > begin else begin + 1 / float(rate))
            elif sound is not None and packet.stream_index == sound.index:
                sound_end = max(sound_end, end)
        if latest >= earliest:
            break
    length = max(picture_end, sound_end)
    # Read from near its end, a clip may show its last key frame only, which then is not its first picture.
    single = earliest == latest and abs(earliest - (first - origin)) < 1e-3 and length <= _GLANCE_SECONDS
    return Length(length, picture_end, max(last, length), single)


def measure_animation(container: av.container.InputContainer, picture: VideoStream) -> float:
    """How long an animation is shown once, in seconds: its container has just been opened, and knows no seeking."""
    end = 0.0
    for packet in container.demux(picture):
        if packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end


def seek(container: av.container.InputContainer, picture: VideoStream, seconds: float) -> None:
    """Go to the last key frame before a moment of the file's own time, where the file leads there."""
    try:
        container.seek(int(seconds / (picture.time_base or Fraction(1, 1000))), stream=picture)
    except av.error.FFmpegError:
        # No index, or a broken one: reading goes on from where it is.
        return


def _packets(container: av.container.InputContainer) -> Iterator[av.Packet[Any]]:
    try:
        yield from container.demux()
    except av.error.FFmpegError:
        return

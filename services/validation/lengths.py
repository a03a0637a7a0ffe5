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

# Places where decoding can begin are told no more finely than this.
KEY_SECONDS = 0.5
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
    picture_start: float
    """When its first picture is shown."""
    sound_start: float
    """When its sound begins; 0 when it has none."""
    keys: tuple[float, ...] = ()
    """Where decoding can begin, as far as it was read, none closer than half a second to the one before."""
    key_gap: float = 0.0
    """The longest time from one of its key frames to the next, or to its last picture."""


def measure(
    container: av.container.InputContainer,
    picture: VideoStream,
    sound: AudioStream | None,
    *,
    origin: float,
    first: float,
    promised: float,
    rate: Fraction,
    whole: bool = False,
) -> Length:
    """Read how long a clip is.

    `origin` is when it begins in the file's own time, `first` when its first picture is shown; the last packets are
    looked for near `promised` seconds from the beginning, and all are read when they are not there, or for `whole`. A
    picture without a length of its own is shown for one of `rate`.
    """
    keys: list[float] = []
    key_gap = 0.0
    for start in [min(0.0, origin)] if whole else [promised + origin, min(0.0, origin)]:
        earliest, latest = math.inf, -math.inf
        picture_end = sound_end = last = -1.0
        key = 0.0
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
                if packet.is_keyframe:
                    key_gap = max(key_gap, begin - key)
                    key = begin
                    if not keys or begin - keys[-1] >= KEY_SECONDS:
                        keys.append(begin)
                picture_end = max(picture_end, end if end > begin else begin + 1 / float(rate))
            elif sound is not None and packet.stream_index == sound.index:
                sound_end = max(sound_end, end)
        if latest >= earliest:
            break
    length = max(picture_end, sound_end)
    # Read from near its end, a clip may show its last key frame only, which then is not its first picture.
    single = earliest == latest and abs(earliest - (first - origin)) < 1e-3 and length <= _GLANCE_SECONDS
    begins = sound.start_time if sound is not None else None
    sound_start = float(begins * sound.time_base) - origin if begins and sound and sound.time_base else 0.0
    key_gap = max(key_gap, picture_end - key)
    begun = max(0.0, first - origin)
    return Length(length, picture_end, max(last, length), single, begun, max(0.0, sound_start), tuple(keys), key_gap)


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

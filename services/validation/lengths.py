"""Lengths: the length of a clip, for all containers: how long a player shows it.

A clip begins with the first packet of its picture or sound and ends with the last one. Its first picture counts as
shown from the beginning, and its last one stands while the sound continues. Packets that an edit list discards do not
count. Lengths are read from the packets, never from a header.

Runs in the probe child; imports nothing of the platform.
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

# The least distance between two key frames that are reported.
KEY_SECONDS = 0.5
# Times that go back by more begin anew, as in recordings that were joined byte by byte.
_RESTART_SECONDS = 0.5
# The longest duration of a file with one picture that counts as a still picture.
_MAX_STILL_SECONDS = 0.5


@dataclass(frozen=True)
class Length:
    """The length of a clip; times are in seconds from its beginning."""

    seconds: float
    """The end of the clip."""
    picture_end: float
    """The end of the last picture if it did not stand while the sound continues."""
    last_packet: float
    """The end of the last packet, shown or not."""
    single: bool
    """Whether the clip is a single picture, without sound that outlasts it."""
    picture_start: float
    """The beginning of the first picture."""
    sound_start: float
    """The beginning of the sound; 0 when there is none."""
    keys: tuple[float, ...] = ()
    """The key frames among the packets that were read, at least half a second apart."""
    key_gap: float = 0.0
    """The longest time from a key frame to the next one, or to the last picture."""
    restart: float | None = None
    """The end of the picture before its times begin anew; None when they do not, or not all packets were read."""


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
    """Measure a clip by its last packets.

    Args:
        container: The open file.
        picture: The picture track.
        sound: The sound track; None when there is none.
        origin: The beginning of the clip in the time of the file, in seconds.
        first: The time of the first picture in the time of the file, in seconds.
        promised: The length by the header, in seconds. The last packets are read near it; if there are none, all
            packets are read.
        rate: Frames per second; the duration of a picture that has none.
        whole: Whether to read all packets.
    """
    keys: list[float] = []
    key_gap = 0.0
    for start in [min(0.0, origin)] if whole else [promised + origin, min(0.0, origin)]:
        earliest, latest = math.inf, -math.inf
        picture_end = sound_end = last = -1.0
        key = 0.0
        decoded, restart = -math.inf, None
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
                order = float((packet.dts if packet.dts is not None else time) * packet.time_base)
                if whole and restart is None and order < decoded - _RESTART_SECONDS:
                    restart = picture_end
                decoded = order
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
    # Read from near the end, a clip may have one key frame left, which is not its first picture.
    single = earliest == latest and abs(earliest - (first - origin)) < 1e-3 and length <= _MAX_STILL_SECONDS
    sound_begin = sound.start_time if sound is not None else None
    sound_start = float(sound_begin * sound.time_base) - origin if sound_begin and sound and sound.time_base else 0.0
    key_gap = max(key_gap, picture_end - key)
    picture_start = max(0.0, first - origin)
    return Length(
        *(length, picture_end, max(last, length), single, picture_start, max(0.0, sound_start), tuple(keys), key_gap),
        restart=restart,
    )


def measure_animation(container: av.container.InputContainer, picture: VideoStream) -> float:
    """The duration of one round of an animation, in seconds.

    The container must have just been opened: its format does not support seeking.
    """
    end = 0.0
    for packet in container.demux(picture):
        if packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end


def seek(container: av.container.InputContainer, picture: VideoStream, seconds: float) -> None:
    """Seek to the last key frame before a time of the file, in seconds, if the file supports it."""
    try:
        container.seek(int(seconds / (picture.time_base or Fraction(1, 1000))), stream=picture)
    except av.error.FFmpegError:
        # Without an index, or with a broken one, reading continues at the current position.
        return


def _packets(container: av.container.InputContainer) -> Iterator[av.Packet[Any]]:
    try:
        yield from container.demux()
    except av.error.FFmpegError:
        return

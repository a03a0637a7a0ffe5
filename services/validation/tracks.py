"""Tracks: which picture and which sound of a file a player shows and plays.

Part of the process that reads clips; imports nothing of the platform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import av.container
from av.audio.stream import AudioStream
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

S = TypeVar("S", bound=Stream)

# Covers and the pictures of chapters are no video.
_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
# Sound for some listeners only, or about the film instead of from it.
_ASIDES = Disposition.comment | Disposition.karaoke | Disposition.hearing_impaired | Disposition.visual_impaired


def picture_track(container: av.container.InputContainer) -> VideoStream | None:
    """The track whose pictures a player shows: the default one, else the first that is no attached picture."""
    tracks = [track for track in container.streams.video if not track.disposition & _PICTURES]
    return _first(tracks, lambda track: [not track.disposition & Disposition.default])


def sound_track(container: av.container.InputContainer, picture: VideoStream | None = None) -> AudioStream | None:
    """The track whose sound a player plays, among those that can be decoded: None when there is none.

    Sound for everybody goes before commentaries and descriptions, then the default track, then the original
    language, then the language of the picture, then the first track.
    """
    tracks = [track for track in container.streams.audio if track.codec_context is not None]
    shown = picture.language if picture is not None else None
    return _first(
        tracks,
        lambda track: [
            bool(track.disposition & _ASIDES),
            not track.disposition & Disposition.default,
            not track.disposition & Disposition.original,
            not shown or shown == "und" or track.language != shown,
        ],
    )


def place(track: Stream, tracks: Sequence[Stream]) -> int:
    """Where a track is among those of its kind, from 0, as ffmpeg's `v:1` counts."""
    return [each.index for each in tracks].index(track.index)


def _first(tracks: Sequence[S], order: Callable[[S], list[bool]]) -> S | None:
    """The first of the tracks that come first in an order."""
    return min(tracks, key=order, default=None)

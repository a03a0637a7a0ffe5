"""Tracks: the picture track and the sound track of a file that a player chooses.

Runs in the probe child; imports nothing of the platform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import av.container
from av.audio.stream import AudioStream
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

S = TypeVar("S", bound=Stream)

# Cover pictures and chapter thumbnails.
_ATTACHED_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
# Sound for some listeners only, or about the film.
_SPECIAL_SOUND = Disposition.comment | Disposition.karaoke | Disposition.hearing_impaired | Disposition.visual_impaired


def picture_track(container: av.container.InputContainer) -> VideoStream | None:
    """The picture track that a player shows: the default one, else the first; attached pictures do not count."""
    tracks = [track for track in container.streams.video if not track.disposition & _ATTACHED_PICTURES]
    return _first(tracks, lambda track: [not track.disposition & Disposition.default])


def sound_track(container: av.container.InputContainer, picture: VideoStream | None = None) -> AudioStream | None:
    """The sound track that a player plays, among those that can be decoded; None when there is none.

    Main sound precedes commentaries and descriptions. Among equals, the default track precedes others, then the
    original language, then the language of the picture, then the first track.
    """
    tracks = [track for track in container.streams.audio if track.codec_context is not None]
    language = picture.language if picture is not None else None
    return _first(
        tracks,
        lambda track: [
            bool(track.disposition & _SPECIAL_SOUND),
            not track.disposition & Disposition.default,
            not track.disposition & Disposition.original,
            not language or language == "und" or track.language != language,
        ],
    )


def index_of(track: Stream, tracks: Sequence[Stream]) -> int:
    """The number of a track among those of its kind, from 0, as in ffmpeg's `v:1`."""
    return [each.index for each in tracks].index(track.index)


def _first(tracks: Sequence[S], rank: Callable[[S], list[bool]]) -> S | None:
    """The first of the tracks with the lowest rank; None when there are no tracks."""
    return min(tracks, key=rank, default=None)

"""Requests: what was asked for, checked beyond the rules of the contract, with defaults filled in."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from moneyprinter.errors import InvalidArgument, NotFound, Violation
from services.orchestrator.jobs.model import (
    NO_VOICE,
    Asset,
    CaptionStyle,
    ClipRequest,
    ClipStyle,
    OverlayRequest,
    Rendition,
    VideoRequest,
)

FRAMES_PER_SECOND = 30
TRANSITION_SECONDS = 0.5
MAX_SHOT_SECONDS = 10.0
OVERLAY_WIDTH = 0.15
# A job is read at each look at it.
MAX_TEXT = 100_000
COLOUR_SECONDS = 3.0

_SMALLER_SIDES = {"480p": 480, "720p": 720, "1080p": 1080, "1440p": 1440, "2160p": 2160}
_ASPECTS = {"16:9": (16, 9), "9:16": (9, 16), "1:1": (1, 1), "4:5": (4, 5), "21:9": (21, 9)}

# Where an overlay's middle is wanted; it is moved so far into the picture that its edges keep the margin.
_PLACES = {
    "top_left": (0.0, 0.0),
    "top_right": (1.0, 0.0),
    "bottom_left": (0.0, 1.0),
    "bottom_right": (1.0, 1.0),
    "middle": (0.5, 0.5),
}
# Between an overlay and the edges of the video, as a part of its smaller side.
OVERLAY_MARGIN = 0.03

# What videos without clips show.
_BACKGROUNDS = (
    ("#1f3a5f", "#4f9da6"),
    ("#3b1f5f", "#a64f8b"),
    ("#1f5f45", "#9da64f"),
    ("#5f2a1f", "#d49a4a"),
    ("#26324a", "#6f7fb0"),
    ("#14404a", "#58b09a"),
)

# How long a second of video takes to make, in seconds on two cores at 1080p and 30 frames a second; measured by
# scripts/bench.
_SECONDS_PER_SECOND = {"draft": 0.6, "standard": 1.2, "high": 3.5, "near_lossless": 6.0}
# And what it takes whatever its size: to speak, mix and master it, to decode its clips, to join, mux and check it.
_SECONDS_OF_ANY_SIZE = 0.45
_CHARACTERS_PER_SECOND = 15.0
# How long a clip is taken for whose length is not known yet.
_CLIP_SECONDS = 10.0


@dataclass(frozen=True)
class ClipWish:
    """A clip as the caller wrote it."""

    url: str
    asset_id: str
    start_time: str
    end_time: str
    fit: str
    focus: tuple[float, float] | None
    speed: float
    motion: str
    duration: float
    sound_volume: float
    script: str
    colour: str
    title: str
    transition: str


@dataclass(frozen=True)
class OverlayWish:
    """An overlay as the caller wrote it."""

    asset_id: str
    position: str
    width: float
    opacity: float
    start_time: str
    end_time: str


@dataclass(frozen=True)
class VideoWish:
    """A request as the caller wrote it; what is empty gets its default."""

    title: str
    clips: tuple[ClipWish, ...]
    script: str | None
    voice: str
    background_music: str
    resolution: str
    aspect_ratio: str
    quality: str
    frame_rate: int
    transition: str
    transition_duration: float
    captions: CaptionStyle
    overlays: tuple[OverlayWish, ...]
    width: int
    height: int
    codec: str
    renditions: tuple[str, ...]
    gif: bool
    loudness: float
    webhook_url: str = ""
    duration: float = 0.0
    script_format: str = ""
    max_shot_seconds: float = 0.0
    poster_time: str = ""


def canvas_size(resolution: str, aspect_ratio: str) -> tuple[int, int]:
    """Width and height in pixels, both even, of a resolution (`1080p`) and an aspect ratio (`9:16`)."""
    side = _SMALLER_SIDES[resolution or "1080p"]
    across, down = _ASPECTS[aspect_ratio or "16:9"]
    longer = side * max(across, down) / min(across, down)
    larger = 2 * round(longer / 2)
    return (larger, side) if across >= down else (side, larger)


def renditions(names: Sequence[str], width: int, height: int) -> tuple[Rendition, ...]:
    """Smaller sizes of a video, named by their smaller side (`480p`), the largest first."""
    found = []
    for name in sorted(names, key=lambda name: -int(name[:-1])):
        side = int(name[:-1])
        if side >= min(width, height):
            raise _invalid(
                "settings.renditions", f"{name} is not smaller than the video, {width}x{height}", "REQUEST_INVALID"
            )
        scale = side / min(width, height)
        found.append(Rendition(name, 2 * round(width * scale / 2), 2 * round(height * scale / 2)))
    return tuple(found)


def clip_request(index: int, wish: ClipWish, assets: Mapping[str, Asset], transition: str) -> ClipRequest:
    """A clip as it is asked for; `assets` are those of the caller by their ids, `transition` is that of the whole."""
    where = f"clips[{index}]"
    if wish.url and not wish.url.lower().startswith("https://"):
        raise _invalid(f"{where}.url", "must begin with https://", "CLIP_ADDRESS_REFUSED")
    if wish.asset_id:
        _insist(wish.asset_id, f"{where}.asset_id", assets)
    start, end = _part(where, wish.start_time, wish.end_time, "CLIP_RANGE_INVALID")
    return ClipRequest(
        url=wish.url or None,
        asset=assets[wish.asset_id].object if wish.asset_id else None,
        start_seconds=start,
        end_seconds=end,
        look=ClipStyle(
            fit=wish.fit or "cover",
            focus=wish.focus,
            speed=wish.speed or 1.0,
            motion="" if wish.motion == "none" else wish.motion or "zoom_in",
            sound_volume=wish.sound_volume,
            transition=(wish.transition or transition).replace("none", ""),
            title=wish.title,
        ),
        still_seconds=wish.duration or (COLOUR_SECONDS if wish.colour else 0.0),
        colour=wish.colour,
        script=wish.script,
        name=assets[wish.asset_id].filename if wish.asset_id else _file_name(wish.url),
    )


def _file_name(url: str) -> str:
    """The last part of an address's path, or its host."""
    where = urlsplit(url)
    return unquote(where.path.rpartition("/")[2]) or where.hostname or ""


def overlay_request(index: int, wish: OverlayWish, assets: Mapping[str, Asset]) -> OverlayRequest:
    """An overlay as it is asked for; `assets` are those of the caller by their ids."""
    where = f"overlays[{index}]"
    _insist(wish.asset_id, f"{where}.asset_id", assets)
    start, end = _part(where, wish.start_time, wish.end_time, "REQUEST_INVALID")
    return OverlayRequest(
        image=assets[wish.asset_id].object,
        centre=_PLACES[wish.position or "top_right"],
        width=wish.width or OVERLAY_WIDTH,
        opacity=wish.opacity or 1.0,
        start_seconds=start,
        end_seconds=end,
        name=assets[wish.asset_id].filename,
    )


def scenes(clips: Sequence[ClipRequest], text: str | None) -> None:
    """Raise InvalidArgument unless every clip has a text of its own, or none has."""
    spoken = [bool(clip.script) for clip in clips]
    if not any(spoken):
        return
    if not all(spoken):
        index = spoken.index(False)
        complaint = "is missing: either every clip has a text of its own, or none has"
        raise _invalid(f"clips[{index}].script", complaint, "REQUEST_INVALID")
    if text is not None:
        raise _invalid("audio.script", "leave it out when the clips have texts of their own", "REQUEST_INVALID")
    together = sum(len(clip.script) for clip in clips)
    if together > MAX_TEXT:
        complaint = f"their texts have {together} characters together; at most {MAX_TEXT} are taken"
        raise _invalid("clips", complaint, "REQUEST_INVALID")
    for index, clip in enumerate(clips):
        if not _speakable(clip.script):
            raise _invalid(f"clips[{index}].script", "holds nothing that can be spoken", "SCRIPT_EMPTY")


def _insist(asset_id: str, field: str, assets: Mapping[str, Asset]) -> None:
    if asset_id not in assets:
        raise NotFound(f"{field}: there is no asset {asset_id}; upload it first", reason="ASSET_NOT_FOUND")


def _part(where: str, start_time: str, end_time: str, reason: str) -> tuple[float | None, float | None]:
    start, end = parse_time(start_time), parse_time(end_time)
    if end is not None and end <= (start or 0.0):
        raise _invalid(f"{where}.end_time", f"must be after start_time ({start_time or '00:00:00'})", reason)
    return start, end


def voice(wish: VideoWish) -> str:
    """The voice that was asked for, empty for a default one; NO_VOICE when nothing is spoken.

    Raises InvalidArgument when the fields of the request contradict each other.
    """
    silent = wish.voice == NO_VOICE or wish.script == ""
    written = wish.script or next((clip.script for clip in wish.clips if clip.script), "")
    if silent and written:
        complaint = "`none` leaves nobody to speak the script; leave the script out, or choose another voice"
        raise _invalid("audio.voice" if wish.voice == NO_VOICE else "audio.script", complaint, "REQUEST_INVALID")
    if wish.duration and not silent:
        complaint = "is for videos without narration (`audio.voice`: `none`); a narration is as long as it takes"
        raise _invalid("settings.duration", complaint, "REQUEST_INVALID")
    if silent and not wish.clips and not wish.duration:
        complaint = "is missing: without narration and clips, it says how long the video is"
        raise _invalid("settings.duration", complaint, "REQUEST_INVALID")
    return NO_VOICE if silent else wish.voice


def background(title: str) -> ClipRequest:
    """What a video without clips shows: two colours that are chosen by its title, and move slowly."""
    first, second = _BACKGROUNDS[zlib.crc32(title.encode()) % len(_BACKGROUNDS)]
    return ClipRequest(None, None, None, None, colour=first, second_colour=second)


def script(text: str | None) -> str | None:
    """The script as it is asked for; None when one is to be written, empty when nothing is spoken."""
    if text and not _speakable(text):
        raise _invalid(
            "audio.script", "holds nothing that can be spoken; leave it out to have one written", "SCRIPT_EMPTY"
        )
    return text


def _speakable(text: str) -> bool:
    """Whether a text holds a letter or a digit, plain or decorated; circled letters are symbols to Unicode."""
    return any(
        character.isalnum() or re.search(r" LATIN (?:CAPITAL|SMALL) LETTER ", unicodedata.name(character, ""))
        for character in text
    )


def parse_time(text: str) -> float | None:
    """Seconds of `HH:MM:SS.mmm`; None of an empty text."""
    if not text:
        return None
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def expected_length(request: VideoRequest) -> float:
    """About how long a video will be, in seconds."""
    if request.narrated:
        text = request.script or " ".join(clip.script for clip in request.clips) or request.title * 4
        return max(4.0, len(text) / _CHARACTERS_PER_SECOND)
    return request.seconds or sum(
        clip.still_seconds or (clip.end_seconds or _CLIP_SECONDS) - (clip.start_seconds or 0.0)
        for clip in request.clips
    )


def expected_seconds(request: VideoRequest) -> float:
    """About how long a job takes when nothing else runs, in seconds on two cores."""
    sizes = [(request.width, request.height), *((size.width, size.height) for size in request.renditions)]
    pixels = sum(width * height for width, height in sizes) / (1920 * 1080)
    encoded = _SECONDS_PER_SECOND[request.quality] * pixels * request.frames_per_second / FRAMES_PER_SECOND
    return 4.0 + expected_length(request) * (_SECONDS_OF_ANY_SIZE + encoded)


def _invalid(field: str, description: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f"{field}: {description}", reason=reason, violations=[Violation(field, description)])

"""Requests: check the input of a video beyond the rules of the contract, and fill in its defaults."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from moneyprinter.errors import NotFound
from services.orchestrator.jobs.model import (
    NO_VOICE,
    Asset,
    ClipRequest,
    ClipStyle,
    OverlayRequest,
    VideoRequest,
)
from services.orchestrator.jobs.options import NATURAL_SPEECH, LanguageVersion, Rendition, SpeechOptions
from services.orchestrator.jobs.scenes import ANY_WRITING, FOOTAGE, SceneRequest, WritingOptions
from services.orchestrator.videos.own_sounds import NO_SOUNDS, OwnSoundsInput
from services.orchestrator.videos.violations import invalid_field

FRAMES_PER_SECOND = 30
TRANSITION_SECONDS = 0.5
MAX_SHOT_SECONDS = 10.0
OVERLAY_WIDTH = 0.15
# Every status request reads the whole job.
MAX_TEXT = 100_000
COLOUR_SECONDS = 3.0

# The centre of an overlay; the renderer moves the overlay into the picture until its edges keep the margin.
_PLACES = {
    "top_left": (0.0, 0.0),
    "top_right": (1.0, 0.0),
    "bottom_left": (0.0, 1.0),
    "bottom_right": (1.0, 1.0),
    "middle": (0.5, 0.5),
}
# The room between an overlay and the edges of the video, as a part of the smaller side.
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

# The time to render a second of video, in seconds on two cores at 1080p and 30 frames a second; measured with
# scripts/bench.
_SECONDS_PER_SECOND = {"draft": 0.6, "standard": 1.2, "high": 3.5, "near_lossless": 6.0}
# The time for the work that does not depend on the size: speech, mix, mastering, decoding, joining, muxing, checks.
_SECONDS_OF_ANY_SIZE = 0.45
_CHARACTERS_PER_SECOND = 15.0
_SECONDS_PER_WORD = 0.4
# The assumed length of a clip before its validation.
_CLIP_SECONDS = 10.0


@dataclass(frozen=True)
class ClipInput:
    """A clip as the client sent it; an empty field gets its default."""

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
class OverlayInput:
    """An overlay as the client sent it; an empty field gets its default."""

    asset_id: str
    position: str
    width: float
    opacity: float
    start_time: str
    end_time: str


@dataclass(frozen=True)
class TranslationInput:
    """The texts of a video in another language, as the client sent them; an empty field is translated."""

    language: str
    title: str
    scripts: tuple[str, ...]
    voice: str


@dataclass(frozen=True)
class VideoInput:
    """A video as the client sent it; an empty field gets its default."""

    title: str
    clips: tuple[ClipInput, ...]
    script: str | None
    voice: str
    background_music: str
    resolution: str
    aspect_ratio: str
    quality: str
    frame_rate: int
    transition: str
    transition_duration: float
    captions: Mapping[str, Any]
    """The fields of `video.v1.Captions` that are set, as JSON."""
    overlays: tuple[OverlayInput, ...]
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
    speech_options: SpeechOptions = NATURAL_SPEECH
    sounds: OwnSoundsInput = NO_SOUNDS
    review: str = ""
    footage: str = ""
    scenes: tuple[SceneRequest, ...] = ()
    writing: WritingOptions = ANY_WRITING
    languages: tuple[str, ...] = ()
    translations: tuple[TranslationInput, ...] = ()
    version: LanguageVersion | None = None


def canvas_size(resolution: str, aspect_ratio: str) -> tuple[int, int]:
    """Returns width and height in pixels, both even, of a resolution (`1080p`) and an aspect ratio (`9:16`)."""
    side = int((resolution or "1080p").removesuffix("p"))
    across, down = map(int, (aspect_ratio or "16:9").split(":"))
    longer = side * max(across, down) / min(across, down)
    larger = 2 * round(longer / 2)
    return (larger, side) if across >= down else (side, larger)


def renditions(names: Sequence[str], width: int, height: int) -> tuple[Rendition, ...]:
    """Returns smaller sizes of a video, named by their smaller side (`480p`), the largest first.

    Raises `InvalidArgument` for a size that is not smaller than the video, `width` by `height` pixels.
    """
    found = []
    for name in sorted(names, key=lambda name: -int(name[:-1])):
        side = int(name[:-1])
        if side >= min(width, height):
            raise invalid_field("settings.renditions", f"{name} is not smaller than the video, {width}x{height}")
        scale = side / min(width, height)
        found.append(Rendition(name, 2 * round(width * scale / 2), 2 * round(height * scale / 2)))
    return tuple(found)


def clip_request(index: int, clip: ClipInput, assets: Mapping[str, Asset], transition: str) -> ClipRequest:
    """Check the clip with an index and fill in its defaults; `transition` is that of the whole video.

    `assets` are those of the caller by their ids. Raises `InvalidArgument` for a bad address or time range, `NotFound`
    for an asset that the caller does not have.
    """
    where = f"clips[{index}]"
    if clip.url and not clip.url.lower().startswith("https://"):
        raise invalid_field(f"{where}.url", "must begin with https://", "CLIP_ADDRESS_REFUSED")
    if clip.asset_id:
        _require_asset(clip.asset_id, f"{where}.asset_id", assets)
    start, end = _parse_range(where, clip.start_time, clip.end_time, "CLIP_RANGE_INVALID")
    return ClipRequest(
        url=clip.url or None,
        asset=assets[clip.asset_id].object if clip.asset_id else None,
        start_seconds=start,
        end_seconds=end,
        style=ClipStyle(
            fit=clip.fit or "cover",
            focus=clip.focus,
            speed=clip.speed or 1.0,
            motion="" if clip.motion == "none" else clip.motion or "zoom_in",
            sound_volume=clip.sound_volume,
            transition=(clip.transition or transition).replace("none", ""),
            title=clip.title,
        ),
        still_seconds=clip.duration or (COLOUR_SECONDS if clip.colour else 0.0),
        colour=clip.colour,
        script=clip.script,
        name=assets[clip.asset_id].filename if clip.asset_id else _file_name(clip.url),
    )


def _file_name(url: str) -> str:
    """Returns the last part of an address's path, or its host."""
    where = urlsplit(url)
    return unquote(where.path.rpartition("/")[2]) or where.hostname or ""


def overlay_request(index: int, overlay: OverlayInput, assets: Mapping[str, Asset]) -> OverlayRequest:
    """Check the overlay with an index and fill in its defaults; `assets` are those of the caller by their ids.

    Raises `InvalidArgument` for a bad time range, `NotFound` for an asset that the caller does not have.
    """
    where = f"overlays[{index}]"
    _require_asset(overlay.asset_id, f"{where}.asset_id", assets)
    start, end = _parse_range(where, overlay.start_time, overlay.end_time, "REQUEST_INVALID")
    return OverlayRequest(
        image=assets[overlay.asset_id].object,
        centre=_PLACES[overlay.position or "top_right"],
        width=overlay.width or OVERLAY_WIDTH,
        opacity=overlay.opacity or 1.0,
        start_seconds=start,
        end_seconds=end,
        name=assets[overlay.asset_id].filename,
    )


def check_scenes(clips: Sequence[ClipRequest], text: str | None) -> None:
    """Raise `InvalidArgument` unless every clip has a text of its own, or none has."""
    spoken = [bool(clip.script) for clip in clips]
    if not any(spoken):
        return
    if not all(spoken):
        index = spoken.index(False)
        complaint = "is missing: either every clip has a text of its own, or none has"
        raise invalid_field(f"clips[{index}].script", complaint)
    if text is not None:
        raise invalid_field("audio.script", "leave it out when the clips have texts of their own")
    together = sum(len(clip.script) for clip in clips)
    if together > MAX_TEXT:
        complaint = f"their texts have {together} characters together; at most {MAX_TEXT} are taken"
        raise invalid_field("clips", complaint)
    for index, clip in enumerate(clips):
        if not is_speakable(clip.script):
            raise invalid_field(f"clips[{index}].script", "holds nothing that can be spoken", "SCRIPT_EMPTY")


def _require_asset(asset_id: str, field: str, assets: Mapping[str, Asset]) -> None:
    if asset_id not in assets:
        raise NotFound(f"{field}: there is no asset {asset_id}; upload it first", reason="ASSET_NOT_FOUND")


def _parse_range(where: str, start_time: str, end_time: str, reason: str) -> tuple[float | None, float | None]:
    start, end = parse_time(start_time), parse_time(end_time)
    if end is not None and end <= (start or 0.0):
        raise invalid_field(f"{where}.end_time", f"must be after start_time ({start_time or '00:00:00'})", reason)
    return start, end


def choose_voice(video: VideoInput) -> str:
    """Returns the requested voice, empty for a default one; `NO_VOICE` when nothing is spoken.

    Raises `InvalidArgument` when the fields of the request contradict each other.
    """
    silent = video.voice == NO_VOICE or video.script == ""
    written = video.script or next((clip.script for clip in video.clips if clip.script), "")
    written = written or next((scene.script for scene in video.scenes), "")
    if silent and written:
        complaint = "`none` leaves no voice to speak the script; leave the script out, or choose another voice"
        raise invalid_field("audio.voice" if video.voice == NO_VOICE else "audio.script", complaint)
    if video.duration and not silent:
        complaint = "is for videos without narration (`audio.voice`: `none`); a narration is as long as it takes"
        raise invalid_field("settings.duration", complaint)
    if silent and not video.clips and not video.duration:
        complaint = "is missing: without narration and clips, nothing else sets the length of the video"
        raise invalid_field("settings.duration", complaint)
    return NO_VOICE if silent else video.voice or video.writing.language


def choose_review(video: VideoInput, voice: str) -> str:
    """Returns what the owner of the job reviews before it goes on; empty for nothing.

    Raises `InvalidArgument` when there is nothing to review.
    """
    review = "" if video.review == "none" else video.review
    if review and voice == NO_VOICE:
        raise invalid_field("review", "there is no script to review: nothing is spoken")
    if review == FOOTAGE and video.clips:
        raise invalid_field("review", "no footage is chosen for a video with clips; take `script`")
    return review


def choose_footage(video: VideoInput, voice: str) -> str:
    """Returns where the pictures of a video come from; empty when it has clips, or no narration.

    Raises `InvalidArgument` when the fields of the request contradict each other.
    """
    for field, given in (("footage", video.footage), ("scenes", video.scenes)):
        if given and video.clips:
            raise invalid_field(field, "is for videos without clips; leave out one of the two")
        if given and voice == NO_VOICE:
            raise invalid_field(field, "is for narrated videos; choose a voice, or leave it out")
    if video.clips or voice == NO_VOICE:
        return ""
    return video.footage or "auto"


def check_scene_requests(scenes: Sequence[SceneRequest], text: str | None, assets: Mapping[str, Asset]) -> None:
    """Check requested or edited scenes; `assets` are those of the caller by their ids.

    Raises `InvalidArgument` for a scene that cannot be spoken or shown, `NotFound` for an asset that the caller does
    not have.
    """
    if scenes and text is not None:
        raise invalid_field("audio.script", "leave it out when there are scenes")
    together = sum(len(scene.script) for scene in scenes)
    if together > MAX_TEXT:
        complaint = f"their scripts have {together} characters together; at most {MAX_TEXT} are taken"
        raise invalid_field("scenes", complaint)
    for index, scene in enumerate(scenes):
        if not is_speakable(scene.script):
            raise invalid_field(f"scenes[{index}].script", "holds nothing that can be spoken", "SCRIPT_EMPTY")
        for place, cut in enumerate(scene.cuts):
            where = f"scenes[{index}].cuts[{place}]"
            if cut.url and not cut.url.lower().startswith("https://"):
                raise invalid_field(f"{where}.url", "must begin with https://", "CLIP_ADDRESS_REFUSED")
            if cut.asset_id:
                _require_asset(cut.asset_id, f"{where}.asset_id", assets)


def background_clip(title: str) -> ClipRequest:
    """Returns the clip of a video without clips: a slowly moving gradient of two colours, chosen by the title."""
    first, second = _BACKGROUNDS[zlib.crc32(title.encode()) % len(_BACKGROUNDS)]
    return ClipRequest(None, None, None, None, colour=first, second_colour=second)


def check_script(text: str | None) -> str | None:
    """Returns the script; None when the content service writes one, empty when nothing is spoken.

    Raises `InvalidArgument` when the script holds nothing that can be spoken.
    """
    if text and not is_speakable(text):
        raise invalid_field(
            "audio.script", "holds nothing that can be spoken; leave it out to have one written", "SCRIPT_EMPTY"
        )
    return text


def check_topic(title: str) -> None:
    """Raise `InvalidArgument` when the title of a video without a script holds nothing that can be spoken."""
    if not is_speakable(title):
        raise invalid_field(
            "title", "holds nothing that can be spoken; give it some words, or send a script", "SCRIPT_EMPTY"
        )


def is_speakable(text: str) -> bool:
    """Returns whether a text holds a letter or a digit; Unicode classes circled letters as symbols."""
    return any(
        character.isalnum() or re.search(r" LATIN (?:CAPITAL|SMALL) LETTER ", unicodedata.name(character, ""))
        for character in text
    )


def parse_time(text: str) -> float | None:
    """Returns the seconds of `HH:MM:SS.mmm`; None for an empty text."""
    if not text:
        return None
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def expected_video_seconds(request: VideoRequest) -> float:
    """Returns the approximate length of a video in seconds."""
    if request.is_narrated:
        parts = [*(clip.script for clip in request.clips), *(scene.script for scene in request.scenes)]
        text = request.script or " ".join(parts).strip()
        writing = request.writing
        asked = 0.0 if text else writing.seconds or writing.words * _SECONDS_PER_WORD
        spoken = len(text or request.title * 4) / _CHARACTERS_PER_SECOND / (request.speech_options.speed or 1.0)
        return asked or max(4.0, spoken)
    return request.seconds or sum(
        clip.still_seconds or (clip.end_seconds or _CLIP_SECONDS) - (clip.start_seconds or 0.0)
        for clip in request.clips
    )


def expected_work_seconds(request: VideoRequest) -> float:
    """Returns the approximate time of a job when no other job runs, in seconds on two cores."""
    sizes = [(request.width, request.height), *((size.width, size.height) for size in request.renditions)]
    pixels = sum(width * height for width, height in sizes) / (1920 * 1080)
    encoded = _SECONDS_PER_SECOND[request.quality] * pixels * request.frames_per_second / FRAMES_PER_SECOND
    return 4.0 + expected_video_seconds(request) * (_SECONDS_OF_ANY_SIZE + encoded)

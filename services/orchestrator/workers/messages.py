"""Messages of the media services, from and to the orchestrator's types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration

from moneyprinter.audio.v1 import audio_service_pb2 as audio
from moneyprinter.content.v1 import content_service_pb2 as content
from moneyprinter.media.v1 import media_pb2 as media
from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import Narration, OwnSound, Source, StoredObject, VideoRequest, Word
from services.orchestrator.jobs.scenes import Background, Credit, Notice, Scene
from services.orchestrator.jobs.usage import Usage
from services.orchestrator.videos.requests import OVERLAY_MARGIN

# The limit of the contract for a scene of a script.
MAX_SENTENCES = 250


def enum_number(enum: EnumDescriptor, name: str) -> Any:
    """Returns the number of an enum's value by its lower-case name, `fade_black` for `TRANSITION_FADE_BLACK`.

    An empty name is the unspecified value, and so is `none` in an enum without a value of that name. Raises `KeyError`
    for an unknown name.
    """
    unspecified = enum.values_by_number[0].name
    prefix = unspecified.removesuffix("UNSPECIFIED")
    known = dict.fromkeys(("", "none"), unspecified) | {
        value.name.removeprefix(prefix).lower(): value.name for value in enum.values
    }
    return enum.values_by_name[known[name]].number


def caption_style(style: Mapping[str, Any]) -> content.CaptionStyle:
    """Returns a caption style for the content service: its fields have the names of `video.v1.Captions`."""
    message = content.CaptionStyle()
    for name, value in style.items():
        # Jobs that an earlier version recorded have all fields, and None for those that were not set.
        if value is not None:
            enum = content.CaptionStyle.DESCRIPTOR.fields_by_name[name].enum_type
            setattr(message, name, value if enum is None else enum_number(enum, value))
    return message


def stored_object(message: media.Object) -> StoredObject:
    """Returns an object as the orchestrator records it."""
    return StoredObject(message.key, message.sha256, message.size_bytes)


def object_message(stored: StoredObject) -> media.Object:
    """Returns the message for a recorded object."""
    return media.Object(key=stored.key, sha256=stored.sha256, size_bytes=stored.size_bytes)


def to_background(message: media.Background) -> Background:
    """Returns an animated background as the orchestrator records it."""
    return Background(message.seed, tuple(message.colours))


def to_credit(message: media.Credit) -> Credit:
    """Returns a credit as the orchestrator records it."""
    return Credit(**{field.name: value for field, value in message.ListFields()})


def to_source(message: media.Source) -> Source:
    """Returns a source as the orchestrator records it: the description of its properties stays JSON."""
    properties = json_format.MessageToDict(message, preserving_proto_field_name=True)
    del properties["object"]
    return Source(stored_object(message.object), properties)


def source_message(source: Source) -> media.Source:
    """Returns the message for a recorded source."""
    message = json_format.ParseDict(dict(source.properties), media.Source())
    message.object.CopyFrom(object_message(source.object))
    return message


def segment_message(segment: timeline.Segment, request: VideoRequest) -> media.Segment:
    """Returns the message for a segment of the video of a request."""
    return media.Segment(
        index=segment.index,
        shots=map(_shot, segment.shots),
        transition=enum_number(media.Transition.DESCRIPTOR, segment.transition),
        overlays=map(_overlay, segment.overlays),
        frame_count=segment.frame_count,
        canvas=canvas(request),
        quality=enum_number(media.Quality.DESCRIPTOR, request.quality),
        captions_ass=segment.captions_ass,
        codec=enum_number(media.Codec.DESCRIPTOR, request.codec),
        renditions=[media.Size(width=size.width, height=size.height) for size in request.renditions],
    )


def _shot(shot: timeline.Shot) -> media.Shot:
    style = shot.clip.style
    message = media.Shot(
        source_start=to_duration(shot.source_start_seconds),
        speed=style.speed,
        fit=enum_number(media.Fit.DESCRIPTOR, style.fit),
        motion=enum_number(media.Motion.DESCRIPTOR, style.motion if shot.clip.still else ""),
        motion_frames=shot.motion_frames,
        motion_first_frame=shot.motion_first_frame,
        zoom=shot.zoom,
    )
    if style.focus is not None:
        message.focus.CopyFrom(media.Point(x=style.focus[0], y=style.focus[1]))
    if shot.clip.background is not None:
        background = shot.clip.background
        message.background.CopyFrom(media.Background(seed=background.seed, colours=background.colours))
    elif shot.clip.source is None:
        message.colour, message.second_colour = shot.clip.colour, shot.clip.second_colour
    else:
        message.source.CopyFrom(source_message(shot.clip.source))
    return message


def _overlay(overlay: timeline.Overlay) -> media.Overlay:
    request = overlay.request
    return media.Overlay(
        image=source_message(overlay.image),
        centre=media.Point(x=request.centre[0], y=request.centre[1]),
        width=request.width,
        opacity=request.opacity,
        first_frame=overlay.first_frame,
        frame_count=overlay.frame_count,
        margin=OVERLAY_MARGIN,
        source_start=to_duration(overlay.source_start_seconds),
    )


def clip_sound_message(sound: timeline.ClipSound) -> audio.ClipSound:
    """Returns the message for a part of a clip's own sound."""
    return audio.ClipSound(
        clip=object_message(sound.clip),
        source_start=to_duration(sound.source_start_seconds),
        start=to_duration(sound.start_seconds),
        duration=to_duration(sound.seconds),
        volume=sound.volume,
        speed=sound.speed,
        track=sound.track,
        track_start=sound.track_start,
    )


def music_message(music: OwnSound) -> audio.MusicTrack:
    """Returns the message for a track of music."""
    return audio.MusicTrack(
        object=object_message(music.object),
        start=to_duration(music.start_seconds),
        volume=music.volume,
        fade_in=to_duration(music.fade_in_seconds),
        fade_out=to_duration(music.fade_out_seconds),
        once=music.once,
    )


def title_message(title: timeline.Title) -> content.TitleCard:
    """Returns the message for a title."""
    return content.TitleCard(
        text=title.text, start=to_duration(title.start_seconds), end=to_duration(title.end_seconds)
    )


def to_narration(speech: audio.Speech) -> Narration:
    """Returns a speech as the orchestrator records it."""
    return Narration(
        audio=stored_object(speech.audio),
        seconds=to_seconds(speech.duration),
        sentences=spoken_words(speech),
        provider=speech.provider,
        provider_voice=speech.voice,
        quality=speech.quality,
        notices=to_notices(speech.notices),
        usage=to_usage(speech.usage),
    )


def spoken_words(speech: audio.Speech) -> tuple[tuple[Word, ...], ...]:
    """Returns the words of each sentence of a speech with their times."""
    return tuple(
        tuple(Word(word.text, to_seconds(word.start), to_seconds(word.end)) for word in sentence.words)
        for sentence in speech.sentences
    )


def sentence_messages(narration: Narration) -> list[content.Sentence]:
    """Returns the messages for the sentences of a narration."""
    return [
        content.Sentence(
            words=[
                media.Word(text=word.text, start=to_duration(word.start_seconds), end=to_duration(word.end_seconds))
                for word in sentence
            ]
        )
        for sentence in narration.sentences
    ]


def to_usage(messages: Iterable[media.Usage]) -> tuple[Usage, ...]:
    """Returns what providers charged for as the orchestrator records it."""
    return tuple(Usage(each.provider, each.unit, each.amount, each.cost) for each in messages)


def to_scene(scene: media.ScriptScene) -> Scene:
    """Returns a scene of a script."""
    return Scene(tuple(scene.sentences), scene.title, tuple(scene.search_terms), scene.search_language)


def from_spoken(scenes: Sequence[Scene]) -> list[media.ScriptScene]:
    """Returns what is translated of scenes: a scene with many sentences is several messages."""
    return [
        media.ScriptScene(sentences=scene.sentences[first : first + MAX_SENTENCES], title="" if first else scene.title)
        for scene in scenes
        for first in range(0, len(scene.sentences), MAX_SENTENCES)
    ]


def to_spoken(scenes: Sequence[Scene], translated: Iterable[media.ScriptScene]) -> tuple[Scene, ...]:
    """Returns scenes with the sentences and titles of the messages that `from_spoken` made of them."""
    pending, found = iter(translated), []
    for scene in scenes:
        parts = [next(pending) for _ in range(0, len(scene.sentences), MAX_SENTENCES)]
        sentences = tuple(sentence for part in parts for sentence in part.sentences)
        found.append(replace(scene, sentences=sentences, title=parts[0].title if parts else scene.title))
    return tuple(found)


def to_notices(messages: Iterable[media.Notice]) -> tuple[Notice, ...]:
    """Returns notices as the orchestrator records them."""
    return tuple(Notice(message.reason, message.message) for message in messages)


def canvas(request: VideoRequest) -> media.Canvas:
    """Returns the canvas of a request's video."""
    return media.Canvas(width=request.width, height=request.height, frames_per_second=request.frames_per_second)


def primary_language(tag: str) -> str:
    """Returns the language of a BCP 47 tag without its region and script."""
    return tag.partition("-")[0].lower()


def to_duration(seconds: float) -> Duration:
    """Returns a duration, rounded to the microsecond: the time of a frame is not a nanosecond too early."""
    duration = Duration()
    duration.FromTimedelta(timedelta(microseconds=round(seconds * 1e6)))
    return duration


def optional_duration(seconds: float | None) -> Duration | None:
    """Returns a duration, or None for None."""
    return None if seconds is None else to_duration(seconds)


def to_seconds(duration: Duration) -> float:
    """Returns the seconds of a duration."""
    return duration.ToTimedelta().total_seconds()

"""Workers: the services that do the work of a job, called over gRPC."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import math
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from moneyprinter.audio.v1 import audio_service_pb2 as audio
from moneyprinter.audio.v1 import audio_service_pb2_grpc as audio_grpc
from moneyprinter.concatenation.v1 import concatenation_service_pb2 as concatenation
from moneyprinter.concatenation.v1 import concatenation_service_pb2_grpc as concatenation_grpc
from moneyprinter.content.v1 import content_service_pb2 as content
from moneyprinter.content.v1 import content_service_pb2_grpc as content_grpc
from moneyprinter.errors import Internal
from moneyprinter.media.v1 import media_pb2 as media
from moneyprinter.objects import Objects
from moneyprinter.processing.v1 import processing_service_pb2 as processing
from moneyprinter.processing.v1 import processing_service_pb2_grpc as processing_grpc
from moneyprinter.rendering.v1 import rendering_service_pb2 as rendering
from moneyprinter.rendering.v1 import rendering_service_pb2_grpc as rendering_grpc
from moneyprinter.validation.v1 import validation_service_pb2 as validation
from moneyprinter.validation.v1 import validation_service_pb2_grpc as validation_grpc
from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import (
    PRIORITIES,
    Captions,
    CaptionStyle,
    ClipRequest,
    File,
    FinishedVideo,
    Job,
    Narration,
    Narrator,
    Notice,
    PreviewSound,
    RenderedVideo,
    Script,
    SoundTrack,
    Source,
    SourceClip,
    StoredObject,
    VideoRequest,
    Word,
)
from services.orchestrator.jobs.turns import Turns
from services.orchestrator.jobs.workflow import Plan
from services.orchestrator.videos.requests import OVERLAY_MARGIN
from services.orchestrator.webhooks.deliveries import WebhookResponse
from services.runtime.progress import OnProgress, ignore_progress
from services.runtime.server import Runtime

_QUALITIES = {
    "draft": media.QUALITY_DRAFT,
    "standard": media.QUALITY_STANDARD,
    "high": media.QUALITY_HIGH,
    "near_lossless": media.QUALITY_NEAR_LOSSLESS,
}
_CODECS = {
    "h264": media.CODEC_H264,
    "h265": media.CODEC_H265,
    "vp9": media.CODEC_VP9,
    "av1": media.CODEC_AV1,
}
_CONTAINERS = {"video.mp4": rendering.CONTAINER_MP4, "video.webm": rendering.CONTAINER_WEBM}


_FITS = {
    "cover": media.FIT_COVER,
    "contain": media.FIT_CONTAIN,
    "blur": media.FIT_BLUR,
    "stretch": media.FIT_STRETCH,
}
_MOTIONS = {
    "": media.MOTION_UNSPECIFIED,
    "zoom_in": media.MOTION_ZOOM_IN,
    "zoom_out": media.MOTION_ZOOM_OUT,
    "pan_left": media.MOTION_PAN_LEFT,
    "pan_right": media.MOTION_PAN_RIGHT,
}
_TRANSITIONS = {
    "": media.TRANSITION_UNSPECIFIED,
    "crossfade": media.TRANSITION_CROSSFADE,
    "fade_black": media.TRANSITION_FADE_BLACK,
    "fade_white": media.TRANSITION_FADE_WHITE,
    "slide_left": media.TRANSITION_SLIDE_LEFT,
    "slide_right": media.TRANSITION_SLIDE_RIGHT,
    "slide_up": media.TRANSITION_SLIDE_UP,
    "slide_down": media.TRANSITION_SLIDE_DOWN,
    "wipe_left": media.TRANSITION_WIPE_LEFT,
    "wipe_right": media.TRANSITION_WIPE_RIGHT,
    "wipe_up": media.TRANSITION_WIPE_UP,
    "wipe_down": media.TRANSITION_WIPE_DOWN,
    "zoom": media.TRANSITION_ZOOM,
}
_POSITIONS = {
    "": content.POSITION_UNSPECIFIED,
    "none": content.POSITION_NONE,
    "bottom": content.POSITION_BOTTOM,
    "middle": content.POSITION_MIDDLE,
    "top": content.POSITION_TOP,
}
_HIGHLIGHTS = {
    "": content.HIGHLIGHT_UNSPECIFIED,
    "word": content.HIGHLIGHT_WORD,
    "karaoke": content.HIGHLIGHT_KARAOKE,
}


# A voice that was found for some texts is taken for there for so long; of so many texts at most.
VOICE_SECONDS, VOICES = 60.0, 1000


class MeshWorkers:
    """The services of the mesh (`workflow.Workers`)."""

    def __init__(self, runtime: Runtime, *, segments_at_once: int) -> None:
        def channel(service: str) -> Any:
            return runtime.connect(service, f"moneyprinter.{service}.v1.{service.capitalize()}Service")

        self._validation = validation_grpc.ValidationServiceStub(channel("validation"))
        self._content = content_grpc.ContentServiceStub(channel("content"))
        self._audio = audio_grpc.AudioServiceStub(channel("audio"))
        self._processing = processing_grpc.ProcessingServiceStub(channel("processing"))
        self._concatenation = concatenation_grpc.ConcatenationServiceStub(channel("concatenation"))
        self._rendering = rendering_grpc.RenderingServiceStub(channel("rendering"))
        self._objects: Objects = runtime.objects()
        self._turns = Turns(segments_at_once)
        self._job: Job | None = None
        self._voices: dict[bytes, tuple[float, Narrator]] = {}

    def of(self, job: Job) -> MeshWorkers:
        """The same workers, on behalf of a job: its segments take turns with those of others."""
        bound = copy.copy(self)
        bound._job = job
        return bound

    async def find_voice(self, request: VideoRequest) -> Narrator:
        """The voice that speaks a request's script. Raises InvalidArgument when none can, or not the one asked for."""
        wanted = _narration(request)
        key = hashlib.sha256(wanted.SerializeToString(deterministic=True)).digest()
        found_at, narrator = self._voices.get(key, (-math.inf, None))
        if narrator is None or time.monotonic() - found_at > VOICE_SECONDS:
            found = await self._audio.GetVoice(wanted)
            narrator = Narrator(found.name, found.language, found.quality, _notices(found.notices))
            while len(self._voices) >= VOICES:
                del self._voices[next(iter(self._voices))]
            self._voices[key] = (time.monotonic(), narrator)
        return narrator

    async def check_captions(self, request: VideoRequest) -> None:
        """Raise InvalidArgument when captions cannot look as they should, such as in a font that is not there."""
        if request.captions != CaptionStyle():
            await self._content.MakeCaptions(
                content.MakeCaptionsRequest(canvas=_canvas(request), style=_style(request.captions))
            )

    async def check_address(self, url: str) -> None:
        """Raise InvalidArgument when nothing may be posted to an address."""
        await self._validation.CheckAddress(validation.CheckAddressRequest(url=url))

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        """Post a body to an address. Raises InvalidArgument when there is no answer."""
        request = validation.PostWebhookRequest(url=url, headers=headers, body=body)
        answer = await self._validation.PostWebhook(request)
        return WebhookResponse(answer.http_status, answer.duration.ToTimedelta().total_seconds())

    async def validate(self, clip: ClipRequest, on_progress: OnProgress) -> SourceClip:
        request = validation.ValidateClipRequest(
            start=_optional_duration(clip.start_seconds), end=_optional_duration(clip.end_seconds)
        )
        if clip.asset is not None:
            request.object.CopyFrom(object_message(clip.asset))
        else:
            request.url = clip.url or ""
        found = (await _result(self._validation.ValidateClip(request), on_progress)).clip
        return SourceClip(
            source=_found(found.source),
            start_seconds=0.0 if found.source.still else clip.start_seconds or 0.0,
            end_seconds=min(clip.end_seconds or float("inf"), _seconds(found.duration)),
            has_audio=found.has_audio,
            look=clip.look,
            still_seconds=clip.still_seconds,
            key_seconds=tuple(map(_seconds, found.key_frames)),
            sound_track=found.sound_track,
            sound_start=found.sound_start,
        )

    async def validate_picture(self, image: StoredObject) -> Source:
        request = validation.ValidateClipRequest(object=object_message(image))
        return _found((await _result(self._validation.ValidateClip(request), ignore_progress)).clip.source)

    async def write_script(self, title: str, script: str | None, language: str, script_format: str) -> Script:
        request = content.WriteScriptRequest(
            title=title, script=script, language=_primary(language), script_format=script_format
        )
        written = await self._content.WriteScript(request)
        return Script(tuple(written.sentences), _notices(written.notices))

    async def speak(self, sentences: Sequence[str], voice: str, on_progress: OnProgress) -> Narration:
        request = audio.SynthesizeRequest(sentences=sentences, voice=voice)
        speech = (await _result(self._audio.Synthesize(request), on_progress)).speech
        # In a thread: there may be 20,000 words.
        spoken = await asyncio.to_thread(_spoken_words, speech)
        return Narration(audio=stored(speech.audio), seconds=_seconds(speech.duration), sentences=spoken)

    async def caption(
        self, narration: Narration, titles: Sequence[timeline.Title], request: VideoRequest, language: str
    ) -> Captions:
        sentences = await asyncio.to_thread(_sentence_messages, narration)
        made = await self._content.MakeCaptions(
            content.MakeCaptionsRequest(
                sentences=sentences,
                canvas=_canvas(request),
                style=_style(request.captions),
                titles=[
                    content.TitleCard(
                        text=title.text, start=_duration(title.start_seconds), end=_duration(title.end_seconds)
                    )
                    for title in titles
                ],
                language=_primary(language),
            )
        )
        return Captions(srt=made.srt, ass=made.ass, vtt=made.vtt, missing_glyphs=made.missing_glyphs)

    async def mix(
        self,
        narration: Narration,
        request: VideoRequest,
        clip_sounds: Sequence[timeline.ClipSound],
        seconds: float,
        on_progress: OnProgress,
    ) -> SoundTrack:
        message = audio.MixRequest(
            narration=object_message(narration.audio) if narration.audio else None,
            background_music=request.background_music,
            duration=_duration(seconds),
            clip_sounds=[
                audio.ClipSound(
                    clip=object_message(sound.clip),
                    source_start=_duration(sound.source_start_seconds),
                    start=_duration(sound.start_seconds),
                    duration=_duration(sound.seconds),
                    volume=sound.volume,
                    speed=sound.speed,
                    track=sound.track,
                    track_start=sound.track_start,
                )
                for sound in clip_sounds
            ],
            loudness_lufs=request.loudness_lufs,
        )
        mixed = (await _result(self._audio.Mix(message), on_progress)).mix
        return SoundTrack(stored(mixed.audio), seconds)

    async def preview_sound(self, track: SoundTrack) -> PreviewSound:
        """A sound track as it is streamed while its video is made."""
        made = await self._audio.EncodePreview(audio.EncodePreviewRequest(audio=object_message(track.audio)))
        return PreviewSound(stored(made.audio), made.header_bytes, track.seconds)

    async def render(self, segment: timeline.Segment, request: VideoRequest, on_progress: OnProgress) -> RenderedVideo:
        message = processing.RenderSegmentRequest(
            segment=media.Segment(
                index=segment.index,
                shots=[_shot(shot) for shot in segment.shots],
                transition=_TRANSITIONS[segment.transition],
                overlays=[_overlay(overlay) for overlay in segment.overlays],
                frame_count=segment.frame_count,
                canvas=_canvas(request),
                quality=_QUALITIES[request.quality],
                captions_ass=segment.captions_ass,
                codec=_CODECS[request.codec],
                renditions=[media.Size(width=size.width, height=size.height) for size in request.renditions],
            )
        )
        if self._job:
            message.priority = PRIORITIES.index(self._job.priority) - PRIORITIES.index("normal")
        async with self._turns.taken(self._job) if self._job else nullcontext():
            rendered = (await _result(self._processing.RenderSegment(message), on_progress)).segment
        return RenderedVideo(
            video=stored(rendered.video),
            frame_count=rendered.frame_count,
            reused=rendered.reused,
            renditions=tuple(map(stored, rendered.renditions)),
            header_bytes=rendered.header_bytes,
            time_offset=rendered.time_offset,
            ticks_per_second=rendered.ticks_per_second,
        )

    async def join(self, segments: Sequence[StoredObject], on_progress: OnProgress) -> RenderedVideo:
        request = concatenation.ConcatenateRequest(segments=[object_message(segment) for segment in segments])
        joined = (await _result(self._concatenation.Concatenate(request), on_progress)).video
        return RenderedVideo(video=stored(joined.video), frame_count=joined.frame_count)

    async def finish(
        self, job: Job, joined: Sequence[RenderedVideo], sound: SoundTrack, plan: Plan, on_progress: OnProgress
    ) -> FinishedVideo:
        request = rendering.FinishVideoRequest(
            video=object_message(joined[0].video),
            audio=object_message(sound.audio),
            duration=_duration(plan.seconds),
            title=job.request.title,
            folder=job.attempt_folder,
            container=_CONTAINERS[job.request.main_file],
            renditions=[
                rendering.Rendition(name=size.name, video=object_message(picture.video))
                for size, picture in zip(job.request.renditions, joined[1:], strict=True)
            ],
            gif=job.request.gif,
            may_be_black=plan.may_be_black,
            may_be_silent=not job.request.narrated and not job.request.background_music,
        )
        finished = (await _result(self._rendering.FinishVideo(request), on_progress)).video
        return FinishedVideo(
            files=tuple(File(file.name, stored(file.object)) for file in finished.files),
            seconds=_seconds(finished.duration),
            loudness_lufs=finished.loudness_lufs,
            true_peak_dbtp=finished.true_peak_dbtp,
            poster_seconds=_seconds(finished.poster_time),
        )

    async def take_poster(self, job: Job, segment: timeline.Segment) -> File:
        """Render a single frame, and keep it as the poster of the video."""
        plain = replace(job.request, renditions=(), codec="h264", quality="high")
        picture = await self.render(segment, plain, ignore_progress)
        request = rendering.TakePosterRequest(video=object_message(picture.video), folder=job.attempt_folder)
        taken = (await self._rendering.TakePoster(request)).poster
        return File(taken.name, stored(taken.object))

    async def store_text(self, job: Job, name: str, text: str) -> StoredObject:
        return stored(await self._objects.put_bytes(f"{job.attempt_folder}/{name}", text.encode()))


async def _result(updates: AsyncIterator[Any], on_progress: OnProgress) -> Any:
    """Tell the progress of a long call, and return its one result."""
    async for update in updates:
        if update.WhichOneof("update") != "progress":
            on_progress(1.0)
            return update
        on_progress(update.progress.fraction)
    raise Internal("a service ended its answer without a result", reason="INTERNAL")


def stored(found: media.Object) -> StoredObject:
    """An object as the orchestrator records it."""
    return StoredObject(found.key, found.sha256, found.size_bytes)


def _narration(request: VideoRequest) -> audio.GetVoiceRequest:
    """What the voice of a request is to speak, by the fields that it comes from."""
    texts = {"audio.script": request.script or ""} | {
        f"clips[{index}].script": clip.script for index, clip in enumerate(request.clips)
    }
    narrated = [audio.NarratedText(field=field, text=text) for field, text in texts.items() if text]
    return audio.GetVoiceRequest(name=request.voice, texts=narrated, title="" if narrated else request.title)


def _notices(notices: Iterable[media.Notice]) -> tuple[Notice, ...]:
    return tuple(Notice(notice.reason, notice.message) for notice in notices)


def _primary(language: str) -> str:
    """The language of a BCP 47 tag without its region and script."""
    return language.partition("-")[0].lower()


def object_message(found: StoredObject) -> media.Object:
    """A recorded object as the services are told of it."""
    return media.Object(key=found.key, sha256=found.sha256, size_bytes=found.size_bytes)


def _found(source: media.Source) -> Source:
    """What was found of a source, its picture as JSON."""
    picture = json_format.MessageToDict(source, preserving_proto_field_name=True)
    del picture["object"]
    return Source(stored(source.object), picture)


def _source(source: Source) -> media.Source:
    message = json_format.ParseDict(dict(source.picture), media.Source())
    message.object.CopyFrom(object_message(source.object))
    return message


def _shot(shot: timeline.Shot) -> media.Shot:
    look = shot.clip.look
    message = media.Shot(
        source_start=_duration(shot.source_start_seconds),
        speed=look.speed,
        fit=_FITS[look.fit],
        motion=_MOTIONS[look.motion] if shot.clip.still else media.MOTION_UNSPECIFIED,
        motion_frames=shot.motion_frames,
        motion_first_frame=shot.motion_first_frame,
        zoom=shot.zoom,
    )
    if look.focus is not None:
        message.focus.CopyFrom(media.Point(x=look.focus[0], y=look.focus[1]))
    if shot.clip.source is None:
        message.colour, message.second_colour = shot.clip.colour, shot.clip.second_colour
    else:
        message.source.CopyFrom(_source(shot.clip.source))
    return message


def _overlay(overlay: timeline.Overlay) -> media.Overlay:
    wanted = overlay.request
    return media.Overlay(
        image=_source(overlay.image),
        centre=media.Point(x=wanted.centre[0], y=wanted.centre[1]),
        width=wanted.width,
        opacity=wanted.opacity,
        first_frame=overlay.first_frame,
        frame_count=overlay.frame_count,
        margin=OVERLAY_MARGIN,
        source_start=_duration(overlay.source_start_seconds),
    )


def _style(style: CaptionStyle) -> content.CaptionStyle:
    return content.CaptionStyle(
        position=_POSITIONS[style.position],
        size=style.size,
        colour=style.colour,
        outline_colour=style.outline_colour,
        box_colour=style.box_colour,
        max_lines=style.max_lines,
        highlight=_HIGHLIGHTS[style.highlight],
        highlight_colour=style.highlight_colour,
        pop=style.pop,
        margin=style.margin,
        side_margin=style.side_margin,
        font=style.font,
        outline=style.outline,
        box_padding=style.box_padding,
    )


def _spoken_words(speech: audio.Speech) -> tuple[tuple[Word, ...], ...]:
    return tuple(
        tuple(Word(word.text, _seconds(word.start), _seconds(word.end)) for word in sentence.words)
        for sentence in speech.sentences
    )


def _sentence_messages(narration: Narration) -> list[content.Sentence]:
    return [
        content.Sentence(
            words=[
                media.Word(text=word.text, start=_duration(word.start_seconds), end=_duration(word.end_seconds))
                for word in sentence
            ]
        )
        for sentence in narration.sentences
    ]


def _canvas(request: VideoRequest) -> media.Canvas:
    return media.Canvas(width=request.width, height=request.height, frames_per_second=request.frames_per_second)


def _duration(seconds: float) -> Duration:
    # Rounded to the microsecond, so that a frame's time is not a nanosecond before itself.
    duration = Duration()
    duration.FromTimedelta(timedelta(microseconds=round(seconds * 1e6)))
    return duration


def _optional_duration(seconds: float | None) -> Duration | None:
    return None if seconds is None else _duration(seconds)


def _seconds(duration: Duration) -> float:
    return duration.ToTimedelta().total_seconds()

"""Workers: the media services that do the steps of a job, over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from moneyprinter.audio.v1 import audio_service_pb2 as audio
from moneyprinter.concatenation.v1 import concatenation_service_pb2 as concatenation
from moneyprinter.content.v1 import content_service_pb2 as content
from moneyprinter.errors import Internal
from moneyprinter.processing.v1 import processing_service_pb2 as processing
from moneyprinter.rendering.v1 import rendering_service_pb2 as rendering
from moneyprinter.validation.v1 import validation_service_pb2 as validation
from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import (
    PRIORITIES,
    Captions,
    ClipRequest,
    File,
    FinishedVideo,
    Job,
    Narration,
    OwnSound,
    RenderedVideo,
    SoundTrack,
    Source,
    SourceClip,
    StoredObject,
    VideoRequest,
)
from services.orchestrator.jobs.options import SpeechOptions
from services.orchestrator.jobs.scenes import Narrator, Scene, Script, WritingOptions, WrittenScript
from services.orchestrator.jobs.segment_scheduler import SegmentScheduler
from services.orchestrator.jobs.workflow import RECORDED, Plan
from services.orchestrator.workers import messages
from services.orchestrator.workers.checks import GrpcChecks
from services.orchestrator.workers.footage import FootageRecords, GrpcFootage
from services.orchestrator.workers.messages import object_message, stored_object, to_duration, to_seconds
from services.orchestrator.workers.stubs import Stubs
from services.runtime.objects import Objects
from services.runtime.progress import OnProgress, ignore_progress


class GrpcWorkers:
    """The media services, on behalf of one job (`workflow.Workers`). Segments take turns with those of other jobs."""

    def __init__(
        self,
        job: Job,
        stubs: Stubs,
        checks: GrpcChecks,
        objects: Objects,
        scheduler: SegmentScheduler,
        footage: FootageRecords,
    ) -> None:
        self._job = job
        self._stubs = stubs
        self._checks = checks
        self._objects = objects
        self._scheduler = scheduler
        self._footage = GrpcFootage(stubs.footage, footage, job.user_id)
        self.choose_footage = self._footage.choose
        self.find_upload = self._footage.find_upload

    async def validate(self, clip: ClipRequest, on_progress: OnProgress) -> SourceClip:
        request = validation.ValidateClipRequest(
            start=messages.optional_duration(clip.start_seconds), end=messages.optional_duration(clip.end_seconds)
        )
        if clip.asset is not None:
            request.object.CopyFrom(object_message(clip.asset))
        else:
            request.url = clip.url or ""
        found = (await _read_result(self._stubs.validation.ValidateClip(request), on_progress)).clip
        return SourceClip(
            source=messages.to_source(found.source),
            start_seconds=0.0 if found.source.still else clip.start_seconds or 0.0,
            end_seconds=min(clip.end_seconds or float("inf"), to_seconds(found.duration)),
            has_audio=found.has_audio,
            style=clip.style,
            still_seconds=clip.still_seconds,
            key_seconds=tuple(map(to_seconds, found.key_frames)),
            sound_track=found.sound_track,
            sound_start=found.sound_start,
        )

    async def validate_picture(self, image: StoredObject) -> Source:
        request = validation.ValidateClipRequest(object=object_message(image))
        found = await _read_result(self._stubs.validation.ValidateClip(request), ignore_progress)
        return messages.to_source(found.clip.source)

    async def find_voice(self, request: VideoRequest) -> Narrator:
        return await self._checks.find_voice(self._job.user_id, request)

    async def write_script(
        self, title: str, script: str | None, language: str, script_format: str, options: WritingOptions
    ) -> Script:
        request = content.WriteScriptRequest(
            title=title,
            script=script,
            language=messages.primary_language(language),
            script_format=script_format,
            tone=options.tone,
            audience=options.audience,
            seconds=options.seconds,
            words=options.words,
            scene_count=options.scene_count,
            prompt=options.prompt,
            max_cost=self._job.request.max_cost,
            account_id=self._job.user_id,
        )
        written = await self._stubs.content.WriteScript(request)
        scenes = tuple(map(messages.to_scene, written.scenes))
        notices, usage = messages.to_notices(written.notices), messages.to_usage(written.usage)
        return Script(tuple(written.sentences), notices, scenes, written.writer, usage)

    async def translate(self, scenes: Sequence[Scene], title: str, language: str) -> WrittenScript:
        request = content.TranslateScenesRequest(
            language=language,
            title=title,
            scenes=messages.from_spoken(scenes),
            max_cost=self._job.request.max_cost,
            account_id=self._job.user_id,
        )
        made = await self._stubs.content.TranslateScenes(request)
        return WrittenScript(
            messages.to_spoken(scenes, made.scenes),
            notices=messages.to_notices(made.notices),
            writer=made.writer,
            usage=messages.to_usage(made.usage),
            title=made.title,
        )

    async def speak(
        self, scenes: Sequence[Sequence[str]], voice: str, speech_options: SpeechOptions, on_progress: OnProgress
    ) -> Narration:
        request = audio.SynthesizeRequest(
            sentences=[sentence for scene in scenes for sentence in scene],
            voice=voice,
            speed=speech_options.speed,
            sentence_pause=speech_options.sentence_pause,
            scene_pause=speech_options.scene_pause,
            pronunciations=speech_options.pronunciations,
            max_cost=speech_options.max_cost,
            account_id=self._job.user_id,
        )
        if speech_options.scene_pause:
            request.scene_lengths.extend(map(len, scenes))
        speech = (await _read_result(self._stubs.audio.Synthesize(request), on_progress)).speech
        # In a thread: there may be 20,000 words.
        return await asyncio.to_thread(messages.to_narration, speech)

    async def validate_sound(self, sound: OwnSound) -> OwnSound:
        start = to_duration(sound.start_seconds)
        await self._stubs.validation.ProbeSound(
            validation.ProbeSoundRequest(object=object_message(sound.object), start=start)
        )
        return sound

    async def align(
        self, recording: OwnSound, sentences: Sequence[str], language: str, on_progress: OnProgress
    ) -> Narration:
        request = audio.AlignRecordingRequest(
            recording=object_message(recording.object), sentences=sentences, language=language
        )
        aligned = (await _read_result(self._stubs.audio.AlignRecording(request), on_progress)).speech
        words = await asyncio.to_thread(messages.spoken_words, aligned)
        return Narration(audio=stored_object(aligned.audio), seconds=to_seconds(aligned.duration), sentences=words)

    async def caption(
        self, narration: Narration, titles: Sequence[timeline.Title], request: VideoRequest, language: str
    ) -> Captions:
        sentences = await asyncio.to_thread(messages.sentence_messages, narration)
        made = await self._stubs.content.MakeCaptions(
            content.MakeCaptionsRequest(
                sentences=sentences,
                canvas=messages.canvas(request),
                style=messages.caption_style(request.captions),
                titles=map(messages.title_message, titles),
                language=messages.primary_language(language),
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
            duration=to_duration(seconds),
            clip_sounds=map(messages.clip_sound_message, clip_sounds),
            loudness_lufs=request.loudness_lufs,
            music=messages.music_message(request.music) if request.music else None,
            voice_chain=request.speech_options.voice_chain,
            narration_provider=narration.provider or (RECORDED if request.recording else ""),
        )
        mixed = (await _read_result(self._stubs.audio.Mix(message), on_progress)).mix
        return SoundTrack(stored_object(mixed.audio), seconds)

    async def render(self, segment: timeline.Segment, request: VideoRequest, on_progress: OnProgress) -> RenderedVideo:
        message = processing.RenderSegmentRequest(
            segment=messages.segment_message(segment, request),
            priority=PRIORITIES.index(self._job.priority) - PRIORITIES.index("normal"),
        )
        async with self._scheduler.slot(self._job):
            rendered = (await _read_result(self._stubs.processing.RenderSegment(message), on_progress)).segment
        return RenderedVideo(
            video=stored_object(rendered.video),
            frame_count=rendered.frame_count,
            is_reused=rendered.reused,
            renditions=tuple(map(stored_object, rendered.renditions)),
            header_bytes=rendered.header_bytes,
            time_offset=rendered.time_offset,
            ticks_per_second=rendered.ticks_per_second,
        )

    async def join(self, segments: Sequence[StoredObject], on_progress: OnProgress) -> RenderedVideo:
        request = concatenation.ConcatenateRequest(segments=map(object_message, segments))
        joined = (await _read_result(self._stubs.concatenation.Concatenate(request), on_progress)).video
        return RenderedVideo(video=stored_object(joined.video), frame_count=joined.frame_count)

    async def finish(
        self, job: Job, joined: Sequence[RenderedVideo], sound: SoundTrack, plan: Plan, on_progress: OnProgress
    ) -> FinishedVideo:
        _, _, container = job.request.main_file.partition(".")
        request = rendering.FinishVideoRequest(
            video=object_message(joined[0].video),
            audio=object_message(sound.audio),
            duration=to_duration(plan.seconds),
            title=plan.script.title or job.request.title,
            folder=job.attempt_folder,
            container=messages.enum_number(rendering.Container.DESCRIPTOR, container),
            renditions=[
                rendering.Rendition(name=size.name, video=object_message(video.video))
                for size, video in zip(job.request.renditions, joined[1:], strict=True)
            ],
            gif=job.request.gif,
            may_be_black=plan.may_be_black,
            may_be_silent=not (job.request.is_narrated or job.request.background_music or job.request.music),
        )
        finished = (await _read_result(self._stubs.rendering.FinishVideo(request), on_progress)).video
        return FinishedVideo(
            files=tuple(File(file.name, stored_object(file.object)) for file in finished.files),
            seconds=to_seconds(finished.duration),
            loudness_lufs=finished.loudness_lufs,
            true_peak_dbtp=finished.true_peak_dbtp,
            poster_seconds=to_seconds(finished.poster_time),
        )

    async def take_poster(self, job: Job, segment: timeline.Segment) -> File:
        """Render a segment of one frame, and store it as the poster of the video."""
        plain = replace(job.request, renditions=(), codec="h264", quality="high")
        video = await self.render(segment, plain, ignore_progress)
        request = rendering.TakePosterRequest(video=object_message(video.video), folder=job.attempt_folder)
        taken = (await self._stubs.rendering.TakePoster(request)).poster
        return File(taken.name, stored_object(taken.object))

    async def store_text(self, job: Job, name: str, text: str) -> StoredObject:
        return stored_object(await self._objects.put_bytes(f"{job.attempt_folder}/{name}", text.encode()))


async def _read_result(updates: AsyncIterator[Any], on_progress: OnProgress) -> Any:
    """Report the progress of a streaming call, and return its last message: the result."""
    async for update in updates:
        if update.WhichOneof("update") != "progress":
            on_progress(1.0)
            return update
        on_progress(update.progress.fraction)
    raise Internal("a service ended its responses without a result", reason="INTERNAL")

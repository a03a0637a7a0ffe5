"""Conversion between the messages of VideoService and the types of the domain."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format, struct_pb2

from moneyprinter.errors import InvalidArgument, Violation
from moneyprinter.media.v1 import media_pb2 as media
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.orchestrator.events.messages import format_timestamp
from services.orchestrator.jobs.dead_letters import DeadLetter
from services.orchestrator.jobs.model import Asset, Failure, Job, JobProgress
from services.orchestrator.jobs.options import SpeechOptions
from services.orchestrator.jobs.scenes import Scene
from services.orchestrator.scene_messages import credit_messages, scene_messages, scene_requests, writing_options
from services.orchestrator.videos import languages
from services.orchestrator.videos.downloads import content_type
from services.orchestrator.videos.own_sounds import OwnSoundsInput
from services.orchestrator.videos.requests import ClipInput, OverlayInput, TranslationInput, VideoInput
from services.runtime.request_checks import check_message

# The error messages of protobuf for JSON that does not match a message.
_UNKNOWN_FIELD = re.compile(r'has no field named "([^"]*)" at "\w+\.?([^"]*)"')
_WRONG_KIND = re.compile(r"Failed to parse (\w+) field")


def original_request(request: pb.CreateVideoRequest) -> dict[str, Any]:
    """Return a request as JSON, without its idempotency key."""
    original: dict[str, Any] = json_format.MessageToDict(request, preserving_proto_field_name=True)
    original.pop("request_id", None)
    return original


def parse_request(original: Mapping[str, Any]) -> pb.CreateVideoRequest:
    """Return a request from JSON. Raises `InvalidArgument` when it does not match the contract."""
    try:
        request: pb.CreateVideoRequest = json_format.ParseDict(dict(original), pb.CreateVideoRequest())
    except json_format.ParseError as failure:
        unknown, kind = _UNKNOWN_FIELD.search(str(failure)), _WRONG_KIND.search(str(failure))
        place = (unknown[2], unknown[1]) if unknown else (kind[1],) if kind else ()
        field, words = (
            ".".join(filter(None, ("changes", *place))),
            "is no field" if unknown else "has a wrong kind of value",
        )
        raise InvalidArgument(
            f"{field}: {words}", reason="REQUEST_INVALID", violations=[Violation(field, words)]
        ) from None
    check_message(request)
    return request


def video_input(request: pb.CreateVideoRequest) -> VideoInput:
    return VideoInput(
        title=request.title,
        clips=tuple(_clip(clip) for clip in request.clips),
        script=request.audio.script if request.audio.HasField("script") else None,
        voice=request.audio.voice,
        background_music=request.audio.background_music,
        resolution=request.settings.resolution,
        aspect_ratio=request.settings.aspect_ratio,
        quality=request.settings.quality,
        frame_rate=request.settings.frame_rate,
        transition=request.settings.transition,
        transition_duration=request.settings.transition_duration,
        captions=json_format.MessageToDict(request.captions, preserving_proto_field_name=True),
        overlays=tuple(_overlay(overlay) for overlay in request.overlays),
        width=request.settings.width,
        height=request.settings.height,
        codec=request.settings.codec,
        renditions=tuple(request.settings.renditions),
        gif=request.settings.gif,
        loudness=request.audio.loudness,
        webhook_url=request.webhook_url,
        duration=request.settings.duration,
        script_format=request.audio.script_format,
        max_shot_seconds=request.settings.max_shot_seconds,
        poster_time=request.settings.poster_time,
        speech_options=SpeechOptions(
            request.audio.speed,
            request.audio.sentence_pause,
            request.audio.scene_pause,
            dict(request.audio.pronunciations),
            voice_chain=request.audio.voice_chain,
        ),
        sounds=_own_sounds(request.audio),
        review=request.review,
        footage=request.footage,
        scenes=scene_requests(request.scenes),
        writing=writing_options(request.writing),
        languages=tuple(request.languages),
        translations=tuple(
            TranslationInput(each.language, each.title, tuple(each.scripts), each.voice)
            for each in request.translations
        ),
    )


def _own_sounds(audio: pb.Audio) -> OwnSoundsInput:
    return OwnSoundsInput(
        narration_asset_id=audio.narration_asset_id,
        music_asset_id=audio.music_asset_id,
        music_start=audio.music_start,
        music_volume=audio.music_volume,
        music_fade_in=audio.music_fade_in if audio.HasField("music_fade_in") else None,
        music_fade_out=audio.music_fade_out if audio.HasField("music_fade_out") else None,
        music_end=audio.music_end,
    )


def _clip(clip: pb.Clip) -> ClipInput:
    return ClipInput(
        url=clip.url,
        asset_id=clip.asset_id,
        start_time=clip.start_time,
        end_time=clip.end_time,
        fit=clip.fit,
        focus=(clip.focus.x, clip.focus.y) if clip.HasField("focus") else None,
        speed=clip.speed,
        motion=clip.motion,
        duration=clip.duration,
        sound_volume=clip.sound_volume,
        script=clip.script,
        colour=clip.colour,
        title=clip.title,
        transition=clip.transition,
    )


def _overlay(overlay: pb.Overlay) -> OverlayInput:
    return OverlayInput(
        asset_id=overlay.asset_id,
        position=overlay.position,
        width=overlay.width,
        opacity=overlay.opacity,
        start_time=overlay.start_time,
        end_time=overlay.end_time,
    )


def group_message(first_job_id: str, requested: Sequence[str]) -> pb.VideoGroup:
    """Return the jobs of a request in several languages."""
    pairs = zip(requested, languages.job_ids(first_job_id, requested), strict=True)
    return pb.VideoGroup(
        group_id=languages.group_id(first_job_id),
        videos=[
            pb.VideoVersion(language=language, job_id=job_id, progress_url=f"/videos/{job_id}/status")
            for language, job_id in pairs
        ],
    )


def status_message(job: Job) -> pb.GetVideoStatusResponse:
    return pb.GetVideoStatusResponse(
        job_id=job.id,
        status=job.status,
        progress=job.progress,
        stages=pb.Stages(**job.stages),
        estimated_completion=format_timestamp(job.estimated_completion),
        result_url=_url(job, "file" if job.result else ""),
        error=_error(job),
        review=_review(job),
    )


def video_message(job: Job) -> pb.Video:
    result = job.result
    files = result.files if result else ()
    watchable = job.stages["audio_generation"] == "completed" and job.progress_details.rendered_count
    return pb.Video(
        job_id=job.id,
        title=job.title,
        status=job.status,
        progress=job.progress,
        stages=pb.Stages(**job.stages),
        priority=job.priority,
        create_time=format_timestamp(job.create_time),
        estimated_completion=format_timestamp(job.estimated_completion),
        duration=round(result.seconds, 3) if result else 0.0,
        file_size=files[0].object.size_bytes if files else 0.0,
        result_url=_url(job, "file" if result else ""),
        poster_url=_url(job, "files/poster.jpg" if result else ""),
        captions_url=_url(job, "files/captions.srt" if result else ""),
        error=_error(job),
        segments=segments_message(job.progress_details),
        files=[
            pb.VideoFile(
                name=file.name,
                url=f"/videos/{job.id}/files/{file.name}",
                content_type=content_type(file.name),
                size_bytes=file.object.size_bytes,
            )
            for file in files
        ],
        loudness=round(result.loudness_lufs, 2) if result else 0.0,
        true_peak=round(result.true_peak_dbtp, 2) if result else 0.0,
        preview_url=_url(job, "preview.m3u8" if watchable else ""),
        missing_glyphs=result.missing_glyphs if result else "",
        voice=result.voice if result else "",
        voice_quality=result.voice_quality if result else "",
        notices=[media.Notice(reason=each.reason, message=each.message) for each in (result.notices if result else ())],
        voice_provider=result.voice_provider if result else "",
        provider_voice=result.provider_voice if result else "",
        usage=[media.Usage(**dataclasses.asdict(each)) for each in (result.usage if result else ())],
        review=_review(job),
        scenes=scene_messages(_scenes(job)),
        credits=credit_messages(result.scenes) if result else [],
        script_writer=result.script_writer if result else "",
        group_id=job.request.version.group_id if job.request.version else "",
        language=job.request.version.language if job.request.version else "",
    )


def _scenes(job: Job) -> Sequence[Scene]:
    if job.review:
        return job.review.scenes
    return job.result.scenes if job.result else ()


def _review(job: Job) -> pb.Review | None:
    """Return the review for which a job waits, or None."""
    if job.review is None:
        return None
    return pb.Review(
        state="awaiting_review",
        subject=job.review.subject,
        request_time=format_timestamp(job.review.request_time),
        expire_time=format_timestamp(job.review.expire_time),
        version=job.review.version,
    )


def segments_message(progress_details: JobProgress) -> pb.Segments:
    return pb.Segments(
        total=progress_details.segment_count, done=progress_details.rendered_count, reused=progress_details.reused_count
    )


def _url(job: Job, path: str) -> struct_pb2.Value:
    """Return a URL relative to the base of the API; null for an empty path."""
    if not path:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    return struct_pb2.Value(string_value=f"/videos/{job.id}/{path}")


def _error(job: Job) -> pb.JobError | None:
    return _error_message(job.failure) if job.failure else None


def _error_message(failure: Failure) -> pb.JobError:
    return pb.JobError(reason=failure.reason, message=failure.message)


def dead_letter_message(letter: DeadLetter) -> pb.DeadLetter:
    return pb.DeadLetter(
        job_id=letter.job_id,
        title=letter.title,
        stage=letter.failure.stage,
        error=_error_message(letter.failure),
        create_time=format_timestamp(letter.create_time),
        attempts=[
            pb.Attempt(
                number=attempt.number,
                start_time=format_timestamp(attempt.start_time),
                end_time=format_timestamp(attempt.end_time) if attempt.end_time else "",
                outcome=attempt.outcome,
                error=_error_message(attempt.failure) if attempt.failure else None,
            )
            for attempt in letter.attempts
        ],
    )


def asset_fields(asset: Asset) -> dict[str, Any]:
    return {
        "asset_id": asset.id,
        "filename": asset.filename,
        "size_bytes": asset.object.size_bytes,
        "sha256": asset.object.sha256,
    }

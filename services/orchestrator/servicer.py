"""The edge of the orchestrator: VideoService for the public, OrchestratorService for the mesh."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from google.api import httpbody_pb2
from google.protobuf import json_format, struct_pb2

from moneyprinter.errors import FailedPrecondition, InvalidArgument, Violation
from moneyprinter.media.v1 import media_pb2 as media
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2 as inner
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2_grpc as inner_grpc
from moneyprinter.video.v1 import clip_service_pb2 as clip_pb
from moneyprinter.video.v1 import clip_service_pb2_grpc as clip_grpc
from moneyprinter.video.v1 import library_service_pb2 as library_pb
from moneyprinter.video.v1 import library_service_pb2_grpc as library_grpc
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.orchestrator.events.messages import timestamp
from services.orchestrator.jobs import dead_letters
from services.orchestrator.jobs.dead_letters import DeadLetter
from services.orchestrator.jobs.model import Asset, CaptionStyle, Failure, Job, Tally
from services.orchestrator.jobs.store import JobFilter
from services.orchestrator.videos import digests
from services.orchestrator.videos.clips import Clips, Facts
from services.orchestrator.videos.library import Library, Settings
from services.orchestrator.videos.ranges import Conditions, etag
from services.orchestrator.videos.requests import ClipWish, OverlayWish, VideoWish
from services.orchestrator.videos.videos import Download, Videos, content_type
from services.runtime import access
from services.runtime.contract import check, moment

# A length in bytes has fewer.
MAX_DIGITS = 19
# How protobuf says that JSON is no message of a contract.
_UNKNOWN_FIELD = re.compile(r'has no field named "([^"]*)" at "\w+\.?([^"]*)"')
_WRONG_KIND = re.compile(r"Failed to parse (\w+) field")


class VideoServicer(pb_grpc.VideoServiceServicer):
    """The public service."""

    def __init__(self, videos: Videos, stopping: asyncio.Event) -> None:
        self._videos = videos
        self._stopping = stopping

    async def CreateVideo(self, request: pb.CreateVideoRequest, context: Any) -> pb.CreateVideoResponse:
        job = await self._create(request, context)
        return pb.CreateVideoResponse(**await _accepted(job, context))

    async def ReviseVideo(self, request: pb.ReviseVideoRequest, context: Any) -> pb.ReviseVideoResponse:
        changes = json_format.MessageToDict(request.changes)
        changed = _read(await self._videos.revised(access.user().id, request.job_id, changes))
        job = await self._create(changed, context)
        return pb.ReviseVideoResponse(**await _accepted(job, context))

    async def _create(self, request: pb.CreateVideoRequest, context: Any) -> Job:
        key = _key(request, context)
        return await self._videos.create(
            access.user().id, _wish(request), _written(request), key, priority=request.priority
        )

    async def GetVideoStatus(self, request: pb.GetVideoStatusRequest, context: Any) -> pb.GetVideoStatusResponse:
        return _status(await self._videos.find(access.user().id, request.job_id))

    async def WatchVideo(self, request: pb.WatchVideoRequest, context: Any) -> AsyncIterator[pb.WatchVideoResponse]:
        async for job in self._videos.watch(access.user().id, request.job_id, self._stopping):
            yield pb.WatchVideoResponse(
                status=_status(job), fractions=dict(job.tally.fractions), segments=_segments(job.tally)
            )

    async def GetVideo(self, request: pb.GetVideoRequest, context: Any) -> pb.GetVideoResponse:
        return pb.GetVideoResponse(video=_video(await self._videos.find(access.user().id, request.job_id)))

    async def ListVideos(self, request: pb.ListVideosRequest, context: Any) -> pb.ListVideosResponse:
        fitting = JobFilter(
            status=request.status,
            title=request.title,
            from_time=moment(request.from_time, "from_time"),
            to_time=moment(request.to_time, "to_time"),
        )
        jobs, next_page = await self._videos.page(access.user().id, request.page_size, request.page_token, fitting)
        return pb.ListVideosResponse(videos=[_video(job) for job in jobs], next_page_token=next_page)

    async def CancelVideo(self, request: pb.CancelVideoRequest, context: Any) -> pb.CancelVideoResponse:
        return pb.CancelVideoResponse(status=_status(await self._videos.cancel(access.user().id, request.job_id)))

    async def RetryVideo(self, request: pb.RetryVideoRequest, context: Any) -> pb.RetryVideoResponse:
        job = await self._videos.retry(access.user().id, request.job_id)
        return pb.RetryVideoResponse(**await _accepted(job, context))

    async def DeleteVideo(self, request: pb.DeleteVideoRequest, context: Any) -> pb.DeleteVideoResponse:
        await self._videos.delete(access.user().id, request.job_id)
        return pb.DeleteVideoResponse()

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Any) -> pb.ListDeadLettersResponse:
        letters, next_page = await self._videos.dead_letters(access.user().id, request.page_size, request.page_token)
        return pb.ListDeadLettersResponse(dead_letters=map(_letter, letters), next_page_token=next_page)

    async def GetDeadLetter(self, request: pb.GetDeadLetterRequest, context: Any) -> pb.GetDeadLetterResponse:
        letter = await dead_letters.find(self._videos.letters, access.user().id, request.job_id)
        return pb.GetDeadLetterResponse(dead_letter=_letter(letter))

    async def DownloadVideo(
        self, request: pb.DownloadVideoRequest, context: Any
    ) -> AsyncIterator[pb.DownloadVideoResponse]:
        """Stream a file. Raises InvalidArgument when the requested range has no bytes."""
        headers = dict(context.invocation_metadata())
        asked = Conditions(*(str(headers.get(name, "")) for name in ("range", "if-range", "if-none-match")))
        file = await self._videos.download(access.user().id, request.job_id, request.name, asked)
        await context.send_initial_metadata(_file_headers(file))
        if file.selection.status == 416:
            raise InvalidArgument(
                f"the file has {file.object.size_bytes} bytes, and none in this range", reason="REQUEST_INVALID"
            )
        async for chunk in file.chunks:
            yield pb.DownloadVideoResponse(data=httpbody_pb2.HttpBody(content_type=file.content_type, data=chunk))

    async def DownloadPreview(
        self, request: pb.DownloadPreviewRequest, context: Any
    ) -> AsyncIterator[pb.DownloadPreviewResponse]:
        try:
            file = await self._videos.preview(access.user().id, request.job_id, request.name)
        except FailedPrecondition as early:
            if early.retry_after_seconds is not None:
                # To a player, a status that it asks again after. For gRPC, the service is well.
                await context.send_initial_metadata((("x-http-code", "503"), ("retry-after", "1")))
            raise
        await context.send_initial_metadata((("x-content-length", str(file.size_bytes)),))
        async for chunk in file.chunks:
            yield pb.DownloadPreviewResponse(data=httpbody_pb2.HttpBody(content_type=file.content_type, data=chunk))

    async def UploadAsset(
        self, request_iterator: AsyncIterator[pb.UploadAssetRequest], context: Any
    ) -> pb.UploadAssetResponse:
        names: list[str] = []

        async def chunks() -> AsyncIterator[bytes]:
            async for request in request_iterator:
                names.append(request.filename)
                yield request.data.data

        # The gateway's word for `content-length`, which gRPC has no place for.
        length = str(dict(context.invocation_metadata()).get("x-upload-length", ""))
        asset = await self._videos.upload(
            access.user().id,
            lambda: names[0] if names else "",
            digests.checked(chunks(), dict(context.invocation_metadata())),
            int(length) if length.isascii() and length.isdecimal() and len(length) < MAX_DIGITS else None,
        )
        await context.send_initial_metadata((("x-http-code", "201"),))
        return pb.UploadAssetResponse(**_asset(asset))


class LibraryServicer(library_grpc.LibraryServiceServicer):
    """The public service for what an account keeps."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def ListAssets(self, request: library_pb.ListAssetsRequest, context: Any) -> library_pb.ListAssetsResponse:
        assets, next_page = await self._library.page(access.user().id, request.page_size, request.page_token)
        return library_pb.ListAssetsResponse(
            assets=[library_pb.Asset(**_asset(asset), create_time=timestamp(asset.create_time)) for asset in assets],
            next_page_token=next_page,
        )

    async def DeleteAsset(self, request: library_pb.DeleteAssetRequest, context: Any) -> library_pb.DeleteAssetResponse:
        await self._library.delete(access.user().id, request.asset_id)
        return library_pb.DeleteAssetResponse()

    async def GetSettings(self, request: library_pb.GetSettingsRequest, context: Any) -> library_pb.GetSettingsResponse:
        settings = await self._library.shelf.settings(access.user().id)
        return library_pb.GetSettingsResponse(
            settings=library_pb.LibrarySettings(retention_days=settings.retention_days)
        )

    async def UpdateSettings(
        self, request: library_pb.UpdateSettingsRequest, context: Any
    ) -> library_pb.UpdateSettingsResponse:
        chosen = await self._library.shelf.settings(access.user().id)
        if request.settings.HasField("retention_days"):
            chosen = Settings(request.settings.retention_days)
            await self._library.shelf.choose(access.user().id, chosen)
        return library_pb.UpdateSettingsResponse(
            settings=library_pb.LibrarySettings(retention_days=chosen.retention_days)
        )

    async def GetUsage(self, request: library_pb.GetUsageRequest, context: Any) -> library_pb.GetUsageResponse:
        usage, quotas = await self._library.usage.usage(access.user().id), self._library.quotas
        return library_pb.GetUsageResponse(
            bytes=usage.bytes,
            max_bytes=quotas.bytes,
            files=usage.files,
            max_files=quotas.files,
            jobs=usage.jobs,
            max_jobs=quotas.jobs,
            minutes=round(usage.minutes, 2),
            max_minutes=quotas.minutes,
            fetched_bytes=usage.fetched_bytes,
            max_fetched_bytes=quotas.fetched_bytes,
        )


class ClipServicer(clip_grpc.ClipServiceServicer):
    """What clips are, for the public."""

    def __init__(self, clips: Clips) -> None:
        self._clips = clips

    async def ProbeClip(self, request: clip_pb.ProbeClipRequest, context: Any) -> clip_pb.ProbeClipResponse:
        times = request.start_time, request.end_time
        facts = await self._clips.probe(access.user().id, request.url, request.asset_id, times)
        return clip_pb.ProbeClipResponse(clip=_facts(facts))

    async def ProbeFile(
        self, request_iterator: AsyncIterator[clip_pb.ProbeFileRequest], context: Any
    ) -> clip_pb.ProbeFileResponse:
        chunks = (request.data.data async for request in request_iterator)
        return clip_pb.ProbeFileResponse(clip=_facts(await self._clips.probe_file(chunks)))


class OrchestratorServicer(inner_grpc.OrchestratorServiceServicer):
    """What the mesh may ask."""

    def __init__(self, videos: Videos) -> None:
        self._videos = videos

    async def GetLoad(self, request: inner.GetLoadRequest, context: Any) -> inner.GetLoadResponse:
        return inner.GetLoadResponse(active_jobs=await self._videos.active_jobs())


async def _accepted(job: Job, context: Any) -> dict[str, str]:
    progress_url = f"/videos/{job.id}/status"
    await context.send_initial_metadata((("x-http-code", "202"), ("location", f"/v1{progress_url}")))
    return {
        "job_id": job.id,
        "status": job.status,
        "estimated_completion": timestamp(job.estimated_completion),
        "progress_url": progress_url,
    }


def _written(request: pb.CreateVideoRequest) -> dict[str, Any]:
    """A request as JSON, without the name that its caller gave it."""
    written: dict[str, Any] = json_format.MessageToDict(request, preserving_proto_field_name=True)
    written.pop("request_id", None)
    return written


def _key(request: pb.CreateVideoRequest, context: Any) -> str:
    """What the caller names a request by; empty: nothing."""
    return request.request_id or str(dict(context.invocation_metadata()).get("idempotency-key", ""))


def _read(written: Mapping[str, Any]) -> pb.CreateVideoRequest:
    """A request from JSON. Raises InvalidArgument when it is none, or breaks a rule of the contract."""
    try:
        request: pb.CreateVideoRequest = json_format.ParseDict(dict(written), pb.CreateVideoRequest())
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
    check(request)
    return request


def _wish(request: pb.CreateVideoRequest) -> VideoWish:
    return VideoWish(
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
        captions=_captions(request.captions),
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
    )


def _clip(clip: pb.Clip) -> ClipWish:
    return ClipWish(
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


def _captions(style: pb.Captions) -> CaptionStyle:
    return CaptionStyle(
        position=style.position,
        size=style.size,
        colour=style.colour,
        outline_colour=style.outline_colour,
        box_colour=style.box_colour,
        max_lines=style.max_lines,
        highlight="" if style.highlight == "none" else style.highlight,
        highlight_colour=style.highlight_colour,
        pop=style.pop,
        margin=style.margin,
        side_margin=style.side_margin,
        font=style.font,
        outline=style.outline if style.HasField("outline") else None,
        box_padding=style.box_padding,
    )


def _overlay(overlay: pb.Overlay) -> OverlayWish:
    return OverlayWish(
        asset_id=overlay.asset_id,
        position=overlay.position,
        width=overlay.width,
        opacity=overlay.opacity,
        start_time=overlay.start_time,
        end_time=overlay.end_time,
    )


def _status(job: Job) -> pb.GetVideoStatusResponse:
    return pb.GetVideoStatusResponse(
        job_id=job.id,
        status=job.status,
        progress=job.progress,
        stages=pb.Stages(**job.stages),
        estimated_completion=timestamp(job.estimated_completion),
        result_url=_url(job, "file" if job.result else ""),
        error=_error(job),
    )


def _video(job: Job) -> pb.Video:
    result = job.result
    files = result.files if result else ()
    watchable = job.stages["audio_generation"] == "completed" and job.tally.rendered
    return pb.Video(
        job_id=job.id,
        title=job.request.title,
        status=job.status,
        progress=job.progress,
        stages=pb.Stages(**job.stages),
        priority=job.priority,
        create_time=timestamp(job.create_time),
        estimated_completion=timestamp(job.estimated_completion),
        duration=round(result.seconds, 3) if result else 0.0,
        file_size=files[0].object.size_bytes if files else 0.0,
        result_url=_url(job, "file" if result else ""),
        poster_url=_url(job, "files/poster.jpg" if result else ""),
        captions_url=_url(job, "files/captions.srt" if result else ""),
        error=_error(job),
        segments=_segments(job.tally),
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
    )


def _segments(tally: Tally) -> pb.Segments:
    return pb.Segments(total=tally.segments, done=tally.rendered, reused=tally.reused)


def _url(job: Job, path: str) -> struct_pb2.Value:
    """An address relative to the API's base; null when there is nothing yet."""
    if not path:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    return struct_pb2.Value(string_value=f"/videos/{job.id}/{path}")


def _error(job: Job) -> pb.JobError | None:
    return _failure(job.failure) if job.failure else None


def _failure(failure: Failure) -> pb.JobError:
    return pb.JobError(reason=failure.reason, message=failure.message)


def _letter(letter: DeadLetter) -> pb.DeadLetter:
    return pb.DeadLetter(
        job_id=letter.job_id,
        title=letter.title,
        stage=letter.failure.stage,
        error=_failure(letter.failure),
        create_time=timestamp(letter.create_time),
        attempts=[
            pb.Attempt(
                number=attempt.number,
                start_time=timestamp(attempt.start_time),
                end_time=timestamp(attempt.end_time) if attempt.end_time else "",
                outcome=attempt.outcome,
                error=_failure(attempt.failure) if attempt.failure else None,
            )
            for attempt in letter.attempts
        ],
    )


def _asset(asset: Asset) -> dict[str, Any]:
    return {
        "asset_id": asset.id,
        "filename": asset.filename,
        "size_bytes": asset.object.size_bytes,
        "sha256": asset.object.sha256,
    }


def _facts(facts: Facts) -> clip_pb.ClipFacts:
    return clip_pb.ClipFacts(
        duration=facts.seconds,
        file_size=facts.size_bytes,
        sha256=facts.sha256,
        width=facts.width,
        height=facts.height,
        rotation=facts.rotation,
        mirrored=facts.mirrored,
        frame_rate=round(facts.frame_rate, 3),
        video_codec=facts.video_codec,
        hdr=facts.hdr,
        interlaced=facts.interlaced,
        transparent=facts.transparent,
        still=facts.still,
        has_audio=facts.has_audio,
        audio_codec=facts.audio_codec,
        key_frames=facts.key_seconds,
    )


def _file_headers(file: Download) -> tuple[tuple[str, str], ...]:
    size, code = file.object.size_bytes, str(file.selection.status)
    headers = {
        "content-disposition": f'attachment; filename="{file.file_name}"',
        "accept-ranges": "bytes",
        "etag": etag(file.object.sha256),
        "x-content-length": str(size),
    }
    match file.selection.status:
        case 206 if part := file.selection.part:
            changed = {"x-http-code": code, "x-content-length": str(part.length), "content-range": part.content_range}
        case 304:
            changed = {"x-http-code": code}
        case 416:
            changed = {"x-http-code": code, "content-range": f"bytes */{size}"}
        case _:
            changed = {"x-content-sha256": file.object.sha256}
    return tuple((headers | changed).items())

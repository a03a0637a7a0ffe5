"""The edge of the orchestrator for clients that make videos: VideoService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.api import httpbody_pb2
from google.protobuf import json_format

from moneyprinter.errors import FailedPrecondition, InvalidArgument
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.orchestrator.events.messages import format_timestamp
from services.orchestrator.jobs.dead_letters import find_dead_letter
from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.store import JobFilter
from services.orchestrator.scene_messages import scene_requests
from services.orchestrator.video_messages import (
    asset_fields,
    dead_letter_message,
    group_message,
    original_request,
    parse_request,
    segments_message,
    status_message,
    video_input,
    video_message,
)
from services.orchestrator.videos import digests, hls
from services.orchestrator.videos.downloads import Download, Downloads
from services.orchestrator.videos.links import Links
from services.orchestrator.videos.ranges import Conditions, etag
from services.orchestrator.videos.reviews import Reviews
from services.orchestrator.videos.uploads import Uploads
from services.orchestrator.videos.videos import Videos
from services.runtime import identity
from services.runtime.request_checks import parse_time

# A declared length with more digits is ignored.
MAX_DIGITS = 19


class VideoServicer(pb_grpc.VideoServiceServicer):
    """Serves VideoService."""

    def __init__(
        self,
        videos: Videos,
        reviews: Reviews,
        downloads: Downloads,
        links: Links,
        uploads: Uploads,
        stopping: asyncio.Event,
    ) -> None:
        self._videos = videos
        self._reviews = reviews
        self._downloads = downloads
        self._links = links
        self._uploads = uploads
        self._stopping = stopping

    async def CreateVideo(self, request: pb.CreateVideoRequest, context: Any) -> pb.CreateVideoResponse:
        if not request.languages:
            job = await self._create(request, context)
            return pb.CreateVideoResponse(**await _accept(job, context))
        key = _idempotency_key(request, context)
        job = await self._videos.create_versions(
            identity.user().id, video_input(request), original_request(request), key, priority=request.priority
        )
        return pb.CreateVideoResponse(**await _accept(job, context), group=group_message(job.id, request.languages))

    async def ReviseVideo(self, request: pb.ReviseVideoRequest, context: Any) -> pb.ReviseVideoResponse:
        changes = json_format.MessageToDict(request.changes)
        changed = parse_request(await self._videos.merge_changes(identity.user().id, request.job_id, changes))
        job = await self._create(changed, context)
        return pb.ReviseVideoResponse(**await _accept(job, context))

    async def _create(self, request: pb.CreateVideoRequest, context: Any) -> Job:
        key = _idempotency_key(request, context)
        return await self._videos.create(
            identity.user().id, video_input(request), original_request(request), key, priority=request.priority
        )

    async def GetVideoStatus(self, request: pb.GetVideoStatusRequest, context: Any) -> pb.GetVideoStatusResponse:
        return status_message(await self._videos.find(identity.user().id, request.job_id))

    async def WatchVideo(self, request: pb.WatchVideoRequest, context: Any) -> AsyncIterator[pb.WatchVideoResponse]:
        async for job in self._videos.watch(identity.user().id, request.job_id, self._stopping):
            yield pb.WatchVideoResponse(
                status=status_message(job),
                fractions=dict(job.progress_details.fractions),
                segments=segments_message(job.progress_details),
            )

    async def GetVideo(self, request: pb.GetVideoRequest, context: Any) -> pb.GetVideoResponse:
        return pb.GetVideoResponse(video=video_message(await self._videos.find(identity.user().id, request.job_id)))

    async def ListVideos(self, request: pb.ListVideosRequest, context: Any) -> pb.ListVideosResponse:
        job_filter = JobFilter(
            status=request.status,
            title=request.title,
            from_time=parse_time(request.from_time, "from_time"),
            to_time=parse_time(request.to_time, "to_time"),
            group_id=request.group_id,
        )
        jobs, next_page = await self._videos.list_videos(
            identity.user().id, request.page_size, request.page_token, job_filter
        )
        return pb.ListVideosResponse(videos=[video_message(job) for job in jobs], next_page_token=next_page)

    async def CancelVideo(self, request: pb.CancelVideoRequest, context: Any) -> pb.CancelVideoResponse:
        return pb.CancelVideoResponse(
            status=status_message(await self._videos.cancel(identity.user().id, request.job_id))
        )

    async def RetryVideo(self, request: pb.RetryVideoRequest, context: Any) -> pb.RetryVideoResponse:
        job = await self._videos.retry(identity.user().id, request.job_id)
        return pb.RetryVideoResponse(**await _accept(job, context))

    async def ApproveVideo(self, request: pb.ApproveVideoRequest, context: Any) -> pb.ApproveVideoResponse:
        edits = scene_requests(request.scenes)
        job = await self._reviews.approve(identity.user().id, request.job_id, edits, request.version)
        return pb.ApproveVideoResponse(status=status_message(job))

    async def DeleteVideo(self, request: pb.DeleteVideoRequest, context: Any) -> pb.DeleteVideoResponse:
        await self._videos.delete(identity.user().id, request.job_id)
        return pb.DeleteVideoResponse()

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Any) -> pb.ListDeadLettersResponse:
        letters, next_page = await self._videos.list_dead_letters(
            identity.user().id, request.page_size, request.page_token
        )
        return pb.ListDeadLettersResponse(dead_letters=map(dead_letter_message, letters), next_page_token=next_page)

    async def GetDeadLetter(self, request: pb.GetDeadLetterRequest, context: Any) -> pb.GetDeadLetterResponse:
        letter = await find_dead_letter(self._videos.dead_letters, identity.user().id, request.job_id)
        return pb.GetDeadLetterResponse(dead_letter=dead_letter_message(letter))

    async def DownloadVideo(
        self, request: pb.DownloadVideoRequest, context: Any
    ) -> AsyncIterator[pb.DownloadVideoResponse]:
        """Stream a file. Raises InvalidArgument when the requested range has no bytes."""
        file = await self._downloads.open_file(identity.user().id, request.job_id, request.name, _conditions(context))
        async for body in _send_file(file, _file_headers(file), context):
            yield pb.DownloadVideoResponse(data=body)

    async def DownloadPreview(
        self, request: pb.DownloadPreviewRequest, context: Any
    ) -> AsyncIterator[pb.DownloadPreviewResponse]:
        async for body in self._send_preview(identity.user().id, request.job_id, request.name, {}, context):
            yield pb.DownloadPreviewResponse(data=body)

    async def _send_preview(
        self, user_id: str, job_id: str, name: str, headers: dict[str, str], context: Any
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """Send headers, and yield the chunks of a file of a preview."""
        try:
            file = await self._downloads.open_preview(user_id, job_id, name)
        except FailedPrecondition as early:
            if early.retry_after_seconds is not None:
                # HLS players retry after a 503. The gRPC status stays FAILED_PRECONDITION: the service works.
                await context.send_initial_metadata((("x-http-code", "503"), ("retry-after", "1")))
            raise
        headers = {"x-content-length": str(file.size_bytes), **headers}
        await context.send_initial_metadata(tuple(headers.items()))
        async for chunk in file.chunks:
            yield httpbody_pb2.HttpBody(content_type=file.content_type, data=chunk)

    async def CreateVideoLinks(self, request: pb.CreateVideoLinksRequest, context: Any) -> pb.CreateVideoLinksResponse:
        links = await self._links.create(identity.user().id, request.job_id, request.seconds)
        return pb.CreateVideoLinksResponse(
            expire_time=format_timestamp(links.expire_time),
            file=next(iter(links.files.values()), ""),
            preview=links.preview,
            poster=links.find("poster.jpg"),
            captions=links.find("captions.vtt"),
            files=[pb.CreateVideoLinksResponse.FileLink(name=name, url=url) for name, url in links.files.items()],
        )

    async def RevokeVideoLinks(self, request: pb.RevokeVideoLinksRequest, context: Any) -> pb.RevokeVideoLinksResponse:
        await self._links.revoke(identity.user().id, request.job_id)
        return pb.RevokeVideoLinksResponse()

    async def OpenFileLink(
        self, request: pb.OpenFileLinkRequest, context: Any
    ) -> AsyncIterator[pb.OpenFileLinkResponse]:
        user_id, seconds = await self._links.check_file(request.job_id, request.ticket, request.name)
        file = await self._downloads.open_file(user_id, request.job_id, request.name, _conditions(context))
        headers = dict(_file_headers(file))
        # Browsers show the file in the page.
        headers |= {"content-disposition": f'inline; filename="{file.file_name}"', "x-cache-control": _caching(seconds)}
        async for body in _send_file(file, tuple(headers.items()), context):
            yield pb.OpenFileLinkResponse(data=body)

    async def OpenPreviewLink(
        self, request: pb.OpenPreviewLinkRequest, context: Any
    ) -> AsyncIterator[pb.OpenPreviewLinkResponse]:
        user_id, seconds = await self._links.check_preview(request.job_id, request.ticket)
        # A playlist grows; the other files do not change.
        is_playlist = request.name in ("", hls.VIDEO, hls.AUDIO)
        headers = {} if is_playlist else {"x-cache-control": _caching(seconds)}
        async for body in self._send_preview(user_id, request.job_id, request.name, headers, context):
            yield pb.OpenPreviewLinkResponse(data=body)

    async def UploadAsset(
        self, request_iterator: AsyncIterator[pb.UploadAssetRequest], context: Any
    ) -> pb.UploadAssetResponse:
        names: list[str] = []

        async def chunks() -> AsyncIterator[bytes]:
            async for request in request_iterator:
                names.append(request.filename)
                yield request.data.data

        # The gateway passes `content-length` on in this header, since gRPC has no equivalent.
        length = str(dict(context.invocation_metadata()).get("x-upload-length", ""))
        asset = await self._uploads.upload(
            identity.user().id,
            lambda: names[0] if names else "",
            digests.verify_digests(chunks(), dict(context.invocation_metadata())),
            int(length) if length.isascii() and length.isdecimal() and len(length) < MAX_DIGITS else None,
        )
        await context.send_initial_metadata((("x-http-code", "201"),))
        return pb.UploadAssetResponse(**asset_fields(asset))


def _conditions(context: Any) -> Conditions:
    headers = dict(context.invocation_metadata())
    return Conditions(*(str(headers.get(name, "")) for name in ("range", "if-range", "if-none-match")))


def _caching(seconds: int) -> str:
    """Return the header that lets browsers and CDNs keep a file."""
    return f"public, max-age={seconds}"


async def _send_file(
    file: Download, headers: tuple[tuple[str, str], ...], context: Any
) -> AsyncIterator[httpbody_pb2.HttpBody]:
    """Send headers, and yield the chunks of a file. Raises InvalidArgument when the requested range has no bytes."""
    await context.send_initial_metadata(headers)
    if file.selection.status == 416:
        raise InvalidArgument(
            f"the file has {file.object.size_bytes} bytes, and none in this range", reason="REQUEST_INVALID"
        )
    async for chunk in file.chunks:
        yield httpbody_pb2.HttpBody(content_type=file.content_type, data=chunk)


async def _accept(job: Job, context: Any) -> dict[str, Any]:
    progress_url = f"/videos/{job.id}/status"
    await context.send_initial_metadata((("x-http-code", "202"), ("location", f"/v1{progress_url}")))
    return {
        "job_id": job.id,
        "status": job.status,
        "estimated_completion": format_timestamp(job.estimated_completion),
        "progress_url": progress_url,
    }


def _idempotency_key(request: pb.CreateVideoRequest, context: Any) -> str:
    """The idempotency key of a request, from its body or from the header; empty when it has none."""
    return request.request_id or str(dict(context.invocation_metadata()).get("idempotency-key", ""))


def _file_headers(file: Download) -> tuple[tuple[str, str], ...]:
    size, code = file.object.size_bytes, str(file.selection.status)
    headers = {
        "content-disposition": f'attachment; filename="{file.file_name}"',
        "accept-ranges": "bytes",
        "etag": etag(file.object.sha256),
        "x-content-length": str(size),
    }
    match file.selection.status:
        case 206 if byte_range := file.selection.range:
            changed = {
                "x-http-code": code,
                "x-content-length": str(byte_range.length),
                "content-range": byte_range.content_range,
            }
        case 304:
            changed = {"x-http-code": code}
        case 416:
            changed = {"x-http-code": code, "content-range": f"bytes */{size}"}
        case _:
            changed = {"x-content-sha256": file.object.sha256}
    return tuple((headers | changed).items())

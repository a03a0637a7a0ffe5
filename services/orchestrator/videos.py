"""Videos: what the public may ask of the orchestrator. A user sees only what is the user's own."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from moneyprinter.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from services.orchestrator import requests
from services.orchestrator.jobs import Asset, Job, Result, StoredObject, VideoRequest
from services.orchestrator.requests import VideoWish
from services.orchestrator.store import Store

PAGE_SIZE = 20
# A watcher looks by itself this often, should it not be told.
LOOK_SECONDS = 2.0
LONGEST_SILENCE = timedelta(minutes=1)

# The files of a finished video: their content types.
FILES = {
    "video.mp4": "video/mp4",
    "poster.jpg": "image/jpeg",
    "thumbnails.jpg": "image/jpeg",
    "captions.srt": "application/x-subrip",
    "captions.vtt": "text/vtt",
    "captions.ass": "text/x-ssa",
}


@dataclass(frozen=True)
class File:
    """A file of a finished video."""

    object: StoredObject
    content_type: str
    download_name: str
    chunks: AsyncIterator[bytes]


class Objects(Protocol):
    """Where bytes are kept."""

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject: ...

    def get(self, key: str) -> AsyncIterator[bytes]: ...

    async def delete(self, key: str) -> None: ...


class Changes(Protocol):
    """Tells that a job has changed."""

    async def listen(self, job_id: str, changed: asyncio.Event) -> Callable[[], Awaitable[None]]: ...


@dataclass(frozen=True)
class Videos:
    """The videos and assets of all users."""

    store: Store
    objects: Objects
    changes: Changes
    check_voice: Callable[[str], Awaitable[None]]
    now: Callable[[], datetime]
    new_id: Callable[[str], str]
    """Makes an id that was never there: `new_id("vid")` is `vid_...`."""
    asset_max_bytes: int
    asset_folder: str

    async def create(self, user_id: str, wish: VideoWish, written: Mapping[str, Any]) -> Job:
        """Accept a request, which is `written` as JSON. Raises InvalidArgument or NotFound with the wrong field."""
        request = await self._checked(user_id, wish)
        now = self.now()
        text = request.script or " ".join(clip.script for clip in request.clips) or None
        seconds = requests.expected_seconds(request.title, text, request.width, request.height, request.quality)
        job = Job(
            id=self.new_id("vid"),
            user_id=user_id,
            request=request,
            status="processing",
            create_time=now,
            estimated_completion=now + timedelta(seconds=seconds),
            wish=written,
        )
        await self.store.create(job)
        return job

    async def revised(self, user_id: str, job_id: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request of a job with changes, as JSON: groups of settings are merged, all else is replaced."""
        written = dict((await self.find(user_id, job_id)).wish)
        for name, value in changes.items():
            merged = isinstance(value, Mapping) and isinstance(written.get(name), Mapping)
            written[name] = {**written[name], **value} if merged else value
        return written

    async def _checked(self, user_id: str, wish: VideoWish) -> VideoRequest:
        named = [clip.asset_id for clip in wish.clips] + [overlay.asset_id for overlay in wish.overlays]
        owned = await self.store.assets(user_id, [asset_id for asset_id in named if asset_id])
        assets = {asset_id: asset.object for asset_id, asset in owned.items()}
        clips = tuple(requests.clip_request(index, clip, assets) for index, clip in enumerate(wish.clips))
        overlays = tuple(requests.overlay_request(index, each, assets) for index, each in enumerate(wish.overlays))
        requests.scenes(clips, wish.script)
        script = requests.script(wish.script)
        voice = wish.voice or requests.DEFAULT_VOICE
        # When nobody can be asked now, the job finds out.
        with suppress(Unavailable):
            await self.check_voice(voice)
        width, height = requests.canvas_size(wish.resolution, wish.aspect_ratio)
        return VideoRequest(
            title=wish.title,
            clips=clips,
            script=script,
            voice=voice,
            background_music="" if wish.background_music == "none" else wish.background_music,
            width=width,
            height=height,
            frames_per_second=wish.frame_rate or requests.FRAMES_PER_SECOND,
            quality=wish.quality or "standard",
            transition="" if wish.transition == "none" else wish.transition,
            transition_seconds=wish.transition_duration or requests.TRANSITION_SECONDS,
            captions=wish.captions,
            overlays=overlays,
        )

    async def find(self, user_id: str, job_id: str) -> Job:
        """A video of a user."""
        job = await self.store.find(job_id, user_id)
        if job is None:
            raise NotFound(f"there is no video {job_id}", reason="VIDEO_NOT_FOUND")
        return job

    async def page(self, user_id: str, size: int, token: str) -> tuple[list[Job], str]:
        """A page of a user's videos, newest first, and the token of the next."""
        size = size or PAGE_SIZE
        jobs = await self.store.page(user_id, size + 1, _read_token(token))
        more = len(jobs) > size
        return jobs[:size], _token(jobs[size - 1]) if more else ""

    async def watch(self, user_id: str, job_id: str, stopping: asyncio.Event) -> AsyncIterator[Job]:
        """A video now and at every change, until it has ended."""
        changed = asyncio.Event()
        stop_listening = await self.changes.listen(job_id, changed)
        try:
            shown, shown_at = None, self.now()
            while True:
                changed.clear()
                job = await self.find(user_id, job_id)
                # A proxy takes a stream that is silent for long for a dead one.
                if job != shown or self.now() - shown_at > LONGEST_SILENCE:
                    yield job
                    shown, shown_at = job, self.now()
                if job.status != "processing":
                    return
                if stopping.is_set():
                    raise Unavailable("the service restarts; watch again", reason="SERVICE_UNAVAILABLE")
                await _first(changed, stopping)
        finally:
            await stop_listening()

    async def file(self, user_id: str, job_id: str, name: str) -> File:
        """A file of a finished video; without a name, the video itself."""
        job = await self.find(user_id, job_id)
        if job.failure is not None:
            raise FailedPrecondition(f"there is no file: the job failed. {job.failure.message}", reason="VIDEO_FAILED")
        if job.result is None:
            raise FailedPrecondition(
                f"the video is not finished yet ({job.progress} %); its status says when it is",
                reason="VIDEO_NOT_READY",
            )
        name = name or "video.mp4"
        stored = _of(job.result, name)
        suffix = name.rpartition(".")[2]
        return File(stored, FILES[name], f"{job.id}.{suffix}", self.objects.get(stored.key))

    async def upload(self, user_id: str, filename: Callable[[], str], chunks: AsyncIterator[bytes]) -> Asset:
        """Keep an upload. `filename` is asked for when the first chunk has come."""
        asset_id = self.new_id("ast")
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                if size > self.asset_max_bytes:
                    raise ResourceExhausted(
                        f"the file is larger than the {self.asset_max_bytes // 1_000_000} MB that are taken",
                        reason="ASSET_TOO_LARGE",
                    )
                yield chunk
            if size == 0:
                raise InvalidArgument("the file is empty; send its bytes as the body", reason="ASSET_EMPTY")

        stored = await self.objects.put(f"{self.asset_folder}/{asset_id}", counted())
        asset = Asset(asset_id, user_id, filename() or asset_id, stored)
        await self.store.add_asset(asset)
        return asset

    async def active_jobs(self) -> int:
        """How many jobs have not ended."""
        return await self.store.active_jobs()


def _of(result: Result, name: str) -> StoredObject:
    return {
        "video.mp4": result.video,
        "poster.jpg": result.poster,
        "thumbnails.jpg": result.thumbnails,
        "captions.srt": result.srt,
        "captions.vtt": result.vtt,
        "captions.ass": result.ass,
    }[name]


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of some events is set, but not longer than a look takes."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _token(job: Job) -> str:
    return base64.urlsafe_b64encode(f"{job.create_time.isoformat()} {job.id}".encode()).decode()


def _read_token(token: str) -> tuple[datetime, str] | None:
    if not token:
        return None
    try:
        moment, _, job_id = base64.urlsafe_b64decode(token).decode().partition(" ")
        return datetime.fromisoformat(moment), job_id
    except (binascii.Error, ValueError):
        raise InvalidArgument(
            "page_token: is none that a list gave; leave it out to begin at the newest", reason="REQUEST_INVALID"
        ) from None

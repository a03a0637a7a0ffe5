"""Videos: what the public may ask of the orchestrator. A user sees only what is the user's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from moneyprinter.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.orchestrator.events.change_poller import ChangePoller
from services.orchestrator.jobs import idempotency
from services.orchestrator.jobs.dead_letters import DeadLetter, DeadLetters
from services.orchestrator.jobs.model import (
    Asset,
    Job,
    PreviewSound,
    RenderedVideo,
    SoundTrack,
    StoredObject,
    VideoRequest,
)
from services.orchestrator.jobs.store import ALL_JOBS, JobFilter, Store
from services.orchestrator.videos import hls, ranges, requests, stored_bytes
from services.orchestrator.videos.hls import Part
from services.orchestrator.videos.quotas import UsageStore, reserved
from services.orchestrator.videos.requests import VideoInput
from services.runtime.pagination import PageRequest, item_cursor, list_page
from services.runtime.tasks import wait_any

# How often it is looked whether a job has changed that is watched, should nobody have told of it.
LOOK_SECONDS = 2.0

# What is fetched of a file at once.
PIECE_BYTES = 1024 * 1024
# What is sent at once: small, so that a client that reads slowly is seen to read.
CHUNK_BYTES = 64 * 1024
LONGEST_SILENCE = timedelta(minutes=1)

# Who creates a video is answered within two seconds, also when a service that is asked on the way hangs.
ASK_SECONDS = 1.0
# What may be found out later.
NO_ANSWER = (Unavailable, DeadlineExceeded, ResourceExhausted)

CONTENT_TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "ass": "text/x-ssa",
}


@dataclass(frozen=True)
class Download:
    """A file of a finished video, or a part of it."""

    object: StoredObject
    content_type: str
    file_name: str
    """What it is called where it is kept."""
    selection: ranges.Selection
    """What of it comes."""
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True)
class Preview:
    """A file of a video's preview."""

    content_type: str
    size_bytes: int
    chunks: AsyncIterator[bytes]


class Objects(Protocol):
    """Where bytes are kept."""

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject: ...

    async def get_piece(self, found: StoredObject, offset: int, length: int) -> bytes: ...

    async def delete(self, key: str) -> None: ...


class Notifications(Protocol):
    """Notifications between instances."""

    async def publish_cancellation(self, job_id: str) -> None: ...

    async def subscribe_changes(self, job_id: str, changed: asyncio.Event) -> Callable[[], Awaitable[None]]: ...


@dataclass(frozen=True)
class Videos:
    """The videos and assets of all users."""

    store: Store
    letters: DeadLetters
    usage: UsageStore
    objects: Objects
    notifications: Notifications
    watchers: ChangePoller
    """Who watches which job."""
    check_voice: Callable[[VideoRequest], Awaitable[object]]
    """Raises InvalidArgument when no voice can speak a request's script, or not the one that was asked for."""
    check_captions: Callable[[VideoRequest], Awaitable[None]]
    check_webhook: Callable[[str, str], Awaitable[None]]
    """Raises InvalidArgument or FailedPrecondition when the events of a user's job cannot be posted to an address."""
    preview_sound: Callable[[SoundTrack], Awaitable[PreviewSound]]
    estimate: Callable[[str, float, str, str], Awaitable[timedelta]]
    """How long a user's job takes: expected seconds of work, quality and priority (`Estimates.duration`)."""
    now: Callable[[], datetime]
    new_id: Callable[[str], str]
    """Makes an id that was never there: `new_id("vid")` is `vid_...`."""
    asset_max_bytes: int
    asset_folder: str

    async def create(
        self, user_id: str, video: VideoInput, written: Mapping[str, Any], key: str = "", priority: str = ""
    ) -> Job:
        """Accept a request, which is `written` as JSON; the same one with the same `key` once.

        Raises InvalidArgument or NotFound with the wrong field, Conflict when the key was used for another request.
        """
        request = await self._checked(user_id, video)
        if video.webhook_url:
            await self._check_webhook(user_id, video.webhook_url)
        now, work = self.now(), requests.expected_work_seconds(request)
        job = Job(
            id=self.new_id("vid"),
            user_id=user_id,
            request=request,
            status="processing",
            create_time=now,
            estimated_completion=now + await self.estimate(user_id, work, request.quality, priority or "normal"),
            work_seconds=work,
            priority=priority or "normal",
            original_request=written,
            webhook_url=video.webhook_url,
        )
        return await self.store.create(job, idempotency.make_key(key, written))

    async def _check_webhook(self, user_id: str, url: str) -> None:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await self.check_webhook(user_id, url)
        except (TimeoutError, DeadlineExceeded):
            raise Unavailable(
                "webhook_url cannot be checked at the moment; try again", reason="SERVICE_UNAVAILABLE"
            ) from None

    async def revised(self, user_id: str, job_id: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request of a job with changes, as JSON: groups of settings are merged, all else is replaced."""
        written = dict((await self.find(user_id, job_id)).original_request)
        for name, value in changes.items():
            merged = isinstance(value, Mapping) and isinstance(written.get(name), Mapping)
            written[name] = {**written[name], **value} if merged else value
        return written

    async def _checked(self, user_id: str, video: VideoInput) -> VideoRequest:
        every = [clip.asset_id for clip in video.clips] + [overlay.asset_id for overlay in video.overlays]
        named = [asset_id for asset_id in every if asset_id]
        assets = await self.store.assets(user_id, named) if named else {}
        clips = tuple(
            requests.clip_request(index, clip, assets, video.transition) for index, clip in enumerate(video.clips)
        )
        overlays = tuple(requests.overlay_request(index, each, assets) for index, each in enumerate(video.overlays))
        requests.check_scenes(clips, video.script)
        script = requests.check_script(video.script)
        voice = requests.choose_voice(video)
        width, height = video.width, video.height
        if not width:
            width, height = requests.canvas_size(video.resolution, video.aspect_ratio)
        request = VideoRequest(
            title=video.title,
            clips=clips or (requests.background_clip(video.title),),
            script=script,
            voice=voice,
            background_music="" if video.background_music == "none" else video.background_music,
            width=width,
            height=height,
            frames_per_second=video.frame_rate or requests.FRAMES_PER_SECOND,
            quality=video.quality or "standard",
            transition_seconds=video.transition_duration or requests.TRANSITION_SECONDS,
            captions=video.captions,
            overlays=overlays,
            codec=video.codec or "h264",
            renditions=requests.renditions(video.renditions, width, height),
            gif=video.gif,
            loudness_lufs=video.loudness,
            seconds=video.duration,
            script_format=video.script_format,
            max_shot_seconds=video.max_shot_seconds or requests.MAX_SHOT_SECONDS,
            poster_seconds=requests.parse_time(video.poster_time),
        )
        questions: list[Awaitable[object]] = [self.check_captions(request)]
        if request.narrated:
            questions.append(self.check_voice(request))
        await self._ask(*questions)
        return request

    async def _ask(self, *questions: Awaitable[object]) -> None:
        """Ask other services whether a request is right, all at once. What gets no answer soon, the job finds out."""
        asked = [asyncio.ensure_future(question) for question in questions]
        try:
            await asyncio.wait(asked, timeout=ASK_SECONDS)
        finally:
            for task in asked:
                task.cancel()
            answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, (*NO_ANSWER, asyncio.CancelledError)):
                raise answer

    async def find(self, user_id: str, job_id: str) -> Job:
        """Find a video of a user. Raises NotFound when there is none."""
        job = await self.store.find(job_id, user_id)
        if job is None:
            raise _no_video(job_id)
        return job

    async def cancel(self, user_id: str, job_id: str) -> Job:
        """Cancel an unfinished job. Raises NotFound, or FailedPrecondition when it has completed or failed."""
        job = await self.store.cancel(job_id, user_id)
        if job is None:
            raise _no_video(job_id)
        if job.status != "cancelled":
            raise FailedPrecondition(f"the job has {job.status} already; it can be deleted", reason="VIDEO_ENDED")
        await self.notifications.publish_cancellation(job_id)
        return job

    async def delete(self, user_id: str, job_id: str) -> None:
        """Delete a video with its files, and cancel its job first. Raises NotFound when there is none."""
        if await self.store.delete(job_id, user_id) is None:
            raise _no_video(job_id)
        await self.notifications.publish_cancellation(job_id)

    async def retry(self, user_id: str, job_id: str) -> Job:
        """Continue a failed or cancelled job. Raises NotFound, or FailedPrecondition when it is neither."""
        was = await self.find(user_id, job_id)
        work = requests.expected_work_seconds(was.request)
        left = await self.estimate(user_id, work, was.request.quality, was.priority)
        job = await self.store.retry(job_id, user_id, self.now() + left)
        if job is None:
            raise _no_video(job_id)
        if job.status != "processing" or job.base_attempt == was.base_attempt:
            raise FailedPrecondition(
                f"only a failed or cancelled job can be retried; this one is {job.status}", reason="VIDEO_NOT_FAILED"
            )
        return job

    async def page(
        self, user_id: str, size: int, token: str, fitting: JobFilter = ALL_JOBS
    ) -> tuple[Sequence[Job], str]:
        """A page of a user's videos that fit, newest first, and the token of the next."""
        return await list_page(
            PageRequest(size, token), lambda size, after: self.store.page(user_id, size, after, fitting), item_cursor
        )

    async def dead_letters(self, user_id: str, size: int, token: str) -> tuple[Sequence[DeadLetter], str]:
        """A page of what failed of a user's, newest first, and the token of the next."""
        return await list_page(
            PageRequest(size, token),
            lambda size, after: self.letters.list_dead_letters(user_id, size, after),
            lambda letter: (letter.create_time, letter.job_id),
        )

    async def watch(self, user_id: str, job_id: str, stopping: asyncio.Event) -> AsyncIterator[Job]:
        """A video now and at every change, until it has ended."""
        # Only an id of ours may name what is listened to: what people send may mean anything there, such as every job.
        await self.find(user_id, job_id)
        changed = asyncio.Event()
        unsubscribe = await self.notifications.subscribe_changes(job_id, changed)
        try:
            with self.watchers.watching(job_id, changed):
                async for job in self._changes(user_id, job_id, changed, stopping):
                    yield job
        finally:
            await unsubscribe()

    async def _changes(
        self, user_id: str, job_id: str, changed: asyncio.Event, stopping: asyncio.Event
    ) -> AsyncIterator[Job]:
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
            silence = shown_at + LONGEST_SILENCE - self.now()
            await wait_any(changed, stopping, seconds=max(0.0, silence.total_seconds()) + 0.1)

    async def download(self, user_id: str, job_id: str, name: str, asked: ranges.Conditions = ranges.ALL) -> Download:
        """A file of a finished video; without a name, the video itself.

        Raises NotFound when there is no such video or file, and FailedPrecondition when the video is not finished.
        """
        job = await self.find(user_id, job_id)
        if job.failure is not None:
            raise FailedPrecondition(f"there is no file: the job failed. {job.failure.message}", reason="VIDEO_FAILED")
        if job.status == "cancelled":
            raise FailedPrecondition("there is no file: the job was cancelled", reason="VIDEO_CANCELLED")
        if job.result is None:
            raise FailedPrecondition(
                f"the video is not finished yet ({job.progress} %); its status says when it is",
                reason="VIDEO_NOT_READY",
            )
        file = job.result.file(name)
        if file is None:
            known = ", ".join(each.name for each in job.result.files)
            raise NotFound(f"the video has no file {name}; it has {known}", reason="FILE_NOT_FOUND")
        selection = ranges.select(asked, file.object.sha256, file.object.size_bytes)
        part = selection.part
        chunks = nothing()
        if selection.status < 300:
            whole = self._bytes(file.object, *((part.offset, part.length) if part else (0, file.object.size_bytes)))
            chunks = await stored_bytes.opened(whole, stored_bytes.lost_file(file.name))
        is_video = file is job.result.files[0]
        file_name = f"{job.id}.{file.name.rpartition('.')[2]}" if is_video else f"{job.id}-{file.name}"
        return Download(file.object, content_type(file.name), file_name, selection, chunks)

    async def preview(self, user_id: str, job_id: str, name: str) -> Preview:
        """A file of a video's preview; without a name, the playlist that names the others.

        Raises NotFound when there is no such video or file, and FailedPrecondition before the first finished segment.
        """
        job = await self.find(user_id, job_id)
        rate = job.request.frames_per_second
        pictures = hls.ready(await self.store.steps(job.id, "render ", RenderedVideo))
        mixed = await self.store.steps(job.id, "mix", SoundTrack)
        if not pictures or not mixed:
            is_coming = job.status == "processing"
            raise FailedPrecondition(
                f"there is nothing to see yet ({job.progress} %); ask again in a second"
                if is_coming
                else f"there is no preview: the job ended as {job.status}",
                reason="VIDEO_NOT_READY",
                retry_after_seconds=hls.RETRY_SECONDS if is_coming else None,
            )
        match name:
            case "":
                header = self._bytes(pictures[0].video, 0, pictures[0].header_bytes)
                codecs = hls.codec_names(b"".join([chunk async for chunk in header]))
                return _playlist(hls.playlist(pictures, job.request, codecs))
            case hls.VIDEO:
                return _playlist(hls.video_playlist(pictures, rate, ended=job.status != "processing"))
            case hls.AUDIO:
                return _playlist(hls.audio_playlist(mixed[""].seconds))
            case hls.AUDIO_HEADER | hls.AUDIO_FRAGMENT:
                try:
                    part: Part | None = hls.sound_part(name, await self.preview_sound(mixed[""]))
                except NotFound as failure:
                    raise stored_bytes.lost_preview(name, ended=job.status != "processing") from failure
            case _:
                part = hls.part(name, pictures, rate)
        if part is None:
            raise NotFound(f"the preview has no file {name}", reason="FILE_NOT_FOUND")
        size_bytes = part.length or part.object.size_bytes - part.offset
        lost = stored_bytes.lost_preview(name, ended=job.status != "processing")
        return Preview(part.content_type, size_bytes, await stored_bytes.opened(self._part(part), lost))

    async def _part(self, part: Part) -> AsyncIterator[bytes]:
        patched = not part.patch
        length = part.length or part.object.size_bytes - part.offset
        async for chunk in self._bytes(part.object, part.offset, length):
            yield chunk if patched else hls.patched(chunk, part)
            patched = True

    async def _bytes(self, found: StoredObject, offset: int, length: int) -> AsyncIterator[bytes]:
        """Some bytes of an object. While the client does not read, one piece is held, and no call of storage is."""
        for start in range(offset, offset + length, PIECE_BYTES):
            piece = memoryview(await self.objects.get_piece(found, start, min(PIECE_BYTES, offset + length - start)))
            for at in range(0, len(piece), CHUNK_BYTES):
                yield bytes(piece[at : at + CHUNK_BYTES])

    async def upload(
        self, user_id: str, filename: Callable[[], str], chunks: AsyncIterator[bytes], length: int | None = None
    ) -> Asset:
        """Keep an upload. `filename` is asked for when the first chunk has come; `length` is in bytes, if it is known.

        Raises ResourceExhausted when it is too large, or a quota of the account is used up, before its bytes are taken.
        """
        asset_id = self.new_id("ast")
        size = 0
        if length is not None and length > self.asset_max_bytes:
            raise self._too_large()

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                if size > self.asset_max_bytes:
                    raise self._too_large()
                yield chunk
            if size == 0:
                raise InvalidArgument("the file is empty; send its bytes as the body", reason="ASSET_EMPTY")

        key = f"{self.asset_folder}/{asset_id}"
        try:
            stored = await self.objects.put(key, reserved(self.usage, user_id, asset_id, counted(), length))
            asset = Asset(asset_id, user_id, filename() or asset_id, stored, self.now())
            await self.store.add_asset(asset)
        except BaseException:
            with suppress(Unavailable):
                # Otherwise it is void after some hours.
                await asyncio.shield(self.usage.release(asset_id))
            raise
        return asset

    def _too_large(self) -> ResourceExhausted:
        return ResourceExhausted(
            f"the file is larger than the {self.asset_max_bytes // 1_000_000} MB that are taken",
            reason="ASSET_TOO_LARGE",
        )

    async def active_jobs(self) -> int:
        """How many jobs have not ended."""
        return await self.store.active_jobs()


def content_type(name: str) -> str:
    """What a file is, by its name."""
    return CONTENT_TYPES[name.rpartition(".")[2]]


def _no_video(job_id: str) -> NotFound:
    return NotFound(f"there is no video {job_id}", reason="VIDEO_NOT_FOUND")


async def nothing() -> AsyncIterator[bytes]:
    """No bytes at all."""
    return
    yield b""


def _playlist(text: str) -> Preview:
    async def once() -> AsyncIterator[bytes]:
        yield text.encode()

    return Preview(hls.PLAYLIST, len(text.encode()), once())

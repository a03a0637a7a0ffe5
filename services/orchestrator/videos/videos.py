"""Videos: creates, lists, watches, cancels, retries and deletes the jobs of users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from moneyprinter.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from services.orchestrator.events.change_poller import ChangePoller
from services.orchestrator.jobs import idempotency
from services.orchestrator.jobs.dead_letters import DeadLetter, DeadLetters
from services.orchestrator.jobs.model import NO_VOICE, Job, VideoRequest
from services.orchestrator.jobs.options import Pronunciation
from services.orchestrator.jobs.scenes import Notice
from services.orchestrator.jobs.store import ALL_JOBS, JobFilter, Store
from services.orchestrator.videos import languages, own_sounds, requests, revisions
from services.orchestrator.videos.checks import run_checks
from services.orchestrator.videos.quotas import QuotaRefusals
from services.orchestrator.videos.requests import VideoInput
from services.runtime.pagination import PageRequest, item_cursor, list_page
from services.runtime.tasks import wait_any

# The period in which watched jobs are polled, in case a notification was lost.
POLL_SECONDS = 2.0
# Proxies close a stream that is silent for longer.
MAX_SILENCE = timedelta(minutes=1)


class Notifications(Protocol):
    """Notifications between instances."""

    async def publish_cancellation(self, job_id: str) -> None: ...

    async def subscribe_changes(self, job_id: str, changed: asyncio.Event) -> Callable[[], Awaitable[None]]: ...


@dataclass(frozen=True)
class Videos:
    """The videos of all users. Each method accesses only what belongs to the user."""

    store: Store
    dead_letters: DeadLetters
    notifications: Notifications
    watchers: ChangePoller
    """Wakes the streams of watched jobs."""
    check_seconds: float
    """The time in which other services check a request."""
    check_voice: Callable[[str, VideoRequest], Awaitable[object]]
    """Raises `InvalidArgument` when no voice can speak the script of a request, or the requested voice cannot."""
    check_translation: Callable[[str, str], Awaitable[None]]
    """Raises `FailedPrecondition` when nothing can be translated into a language."""
    check_captions: Callable[[VideoRequest], Awaitable[None]]
    check_texts: Callable[[str, VideoRequest], Awaitable[tuple[Notice, ...]]]
    """Returns what moderation flags in a user's request. Raises `InvalidArgument` (CONTENT_REFUSED) when it refuses."""
    find_lexicon: Callable[[str], Awaitable[tuple[Pronunciation, ...]]]
    """Returns the pronunciations of a user's account."""
    check_webhook: Callable[[str, str], Awaitable[None]]
    """Raises `InvalidArgument` or `FailedPrecondition` when a job's events cannot be delivered to an address."""
    estimate: Callable[[str, float, str, str], Awaitable[timedelta]]
    """Returns the duration of a user's job from its expected seconds of work, quality and priority
    (`Estimates.duration`)."""
    refusals: QuotaRefusals
    now: Callable[[], datetime]
    new_id: Callable[[str], str]
    """Returns a new unique id: `new_id("vid")` is `vid_...`."""

    async def create(
        self, user_id: str, video: VideoInput, original: Mapping[str, Any], key: str = "", priority: str = ""
    ) -> Job:
        """Create a job from a request, which is also given as JSON (`original`). Return the job.

        With the idempotency key of an earlier request, returns the job of that request. Raises `InvalidArgument` or
        `NotFound` with the invalid field, `Conflict` when the key was used for a different request, `Unavailable` when
        the webhook address cannot be checked.
        """
        if not key:
            # A repeated request with a key returns its job also when a quota is exhausted.
            await self.refusals.check(user_id)
        job = await self._prepare(self.new_id("vid"), user_id, video, original, priority)
        with self.refusals.record(user_id):
            return await self.store.create(job, idempotency.make_key(key, original))

    async def create_versions(
        self, user_id: str, video: VideoInput, original: Mapping[str, Any], key: str = "", priority: str = ""
    ) -> Job:
        """Create a job for each language of a request. Return the job of the first one.

        All jobs are created or none. Raises what `create` raises, and `FailedPrecondition` (WRITER_MISSING) when texts
        must be translated and there is no writer.
        """
        if not key:
            await self.refusals.check(user_id)
        parts = languages.divide(video, original, self.new_id("vid"))
        missing = [part.video.version for part in parts if part.video.version]
        if unknown := next((version for version in missing if languages.needs_writer(version)), None):
            await self.check_translation(user_id, unknown.language)
        first, *others = [
            await self._prepare(part.job_id, user_id, part.video, part.original, priority) for part in parts
        ]
        with self.refusals.record(user_id):
            return await self.store.create(first, idempotency.make_key(key, original), others)

    async def _prepare(
        self, job_id: str, user_id: str, video: VideoInput, original: Mapping[str, Any], priority: str
    ) -> Job:
        """Check a request, and return its job."""
        request = await self._check_request(user_id, video)
        if video.webhook_url:
            await self._check_webhook(user_id, video.webhook_url)
        now, work = self.now(), requests.expected_work_seconds(request)
        return Job(
            id=job_id,
            user_id=user_id,
            request=request,
            status="processing",
            create_time=now,
            estimated_completion=now + await self.estimate(user_id, work, request.quality, priority or "normal"),
            work_seconds=work,
            priority=priority or "normal",
            original_request=original,
            webhook_url=video.webhook_url,
        )

    async def _check_webhook(self, user_id: str, url: str) -> None:
        try:
            async with asyncio.timeout(self.check_seconds):
                await self.check_webhook(user_id, url)
        except (TimeoutError, DeadlineExceeded):
            raise Unavailable(
                "webhook_url cannot be checked at the moment; try again", reason="SERVICE_UNAVAILABLE"
            ) from None

    async def merge_changes(self, user_id: str, job_id: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the original request of a job with changes, as JSON. Raises `NotFound` when there is no such video."""
        return revisions.merge_changes(await self.find(user_id, job_id), changes)

    async def _check_request(self, user_id: str, video: VideoInput) -> VideoRequest:
        asset_ids = [clip.asset_id for clip in video.clips] + [overlay.asset_id for overlay in video.overlays]
        asset_ids += [cut.asset_id for scene in video.scenes for cut in scene.cuts]
        asset_ids = [asset_id for asset_id in (*asset_ids, *video.sounds.asset_ids) if asset_id]
        assets = await self.store.assets(user_id, asset_ids) if asset_ids else {}
        clips = tuple(
            requests.clip_request(index, clip, assets, video.transition) for index, clip in enumerate(video.clips)
        )
        overlays = tuple(requests.overlay_request(index, each, assets) for index, each in enumerate(video.overlays))
        requests.check_scenes(clips, video.script)
        requests.check_scene_requests(video.scenes, video.script, assets)
        script = requests.check_script(video.script)
        has_text = bool(script or video.scenes or (clips and clips[0].script))
        recording = own_sounds.choose_recording(video.sounds, has_text, video.speech_options, assets)
        music_start = requests.parse_time(video.sounds.music_start)
        voice = requests.choose_voice(video)
        if script is None and not has_text and voice != NO_VOICE:
            requests.check_topic(video.title)
        review = requests.choose_review(video, voice)
        footage = requests.choose_footage(video, voice)
        width, height = video.width, video.height
        if not width:
            width, height = requests.canvas_size(video.resolution, video.aspect_ratio)
        request = VideoRequest(
            title=video.title,
            clips=() if footage else clips or (requests.background_clip(video.title),),
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
            review=review,
            speech_options=replace(video.speech_options, lexicon=await self.find_lexicon(user_id)),
            footage=footage,
            scenes=video.scenes,
            writing=video.writing,
            transition=video.transition.replace("none", ""),
            recording=recording,
            music=own_sounds.choose_music(video.sounds, music_start, video.background_music, assets),
            version=video.version,
        )
        checks: list[Awaitable[object]] = [self.check_texts(user_id, request), self.check_captions(request)]
        if request.is_narrated:
            checks.append(self.check_voice(user_id, request))
        notices, *_ = await run_checks(*checks, seconds=self.check_seconds)
        return replace(request, notices=notices) if isinstance(notices, tuple) else request

    async def find(self, user_id: str, job_id: str) -> Job:
        """Return a video of a user. Raises `NotFound` when there is none."""
        return await find_video(self.store, user_id, job_id)

    async def cancel(self, user_id: str, job_id: str) -> Job:
        """Cancel an active job, and return it.

        Raises `NotFound` when there is none, `FailedPrecondition` when it has completed or failed.
        """
        job = await self.store.cancel(job_id, user_id)
        if job is None:
            raise no_video(job_id)
        if job.status != "cancelled":
            raise FailedPrecondition(f"the job has {job.status} already; it can be deleted", reason="VIDEO_ENDED")
        await self.notifications.publish_cancellation(job_id)
        return job

    async def delete(self, user_id: str, job_id: str) -> None:
        """Delete a video with its files; an active job is cancelled first. Raises `NotFound` when there is none."""
        if await self.store.delete(job_id, user_id) is None:
            raise no_video(job_id)
        await self.notifications.publish_cancellation(job_id)

    async def retry(self, user_id: str, job_id: str) -> Job:
        """Queue a failed or cancelled job again, and return it.

        Raises `NotFound` when there is none, `FailedPrecondition` when it is neither failed nor cancelled.
        """
        before = await self.find(user_id, job_id)
        work = requests.expected_work_seconds(before.request)
        duration = await self.estimate(user_id, work, before.request.quality, before.priority)
        job = await self.store.retry(job_id, user_id, self.now() + duration)
        if job is None:
            raise no_video(job_id)
        if job.status != "processing" or job.base_attempt == before.base_attempt:
            raise FailedPrecondition(
                f"only a failed or cancelled job can be retried; this one is {job.status}", reason="VIDEO_NOT_FAILED"
            )
        return job

    async def list_videos(
        self, user_id: str, size: int, token: str, job_filter: JobFilter = ALL_JOBS
    ) -> tuple[Sequence[Job], str]:
        """Return a page of a user's videos that match a filter, newest first, and the token of the next page."""
        return await list_page(
            PageRequest(size, token), lambda size, after: self.store.page(user_id, size, after, job_filter), item_cursor
        )

    async def list_dead_letters(self, user_id: str, size: int, token: str) -> tuple[Sequence[DeadLetter], str]:
        """Return a page of a user's failed jobs, newest first, and the token of the next page."""
        return await list_page(
            PageRequest(size, token),
            lambda size, after: self.dead_letters.list_dead_letters(user_id, size, after),
            lambda dead_letter: (dead_letter.create_time, dead_letter.job_id),
        )

    async def watch(self, user_id: str, job_id: str, stopping: asyncio.Event) -> AsyncIterator[Job]:
        """Yield a video now and at every change, until its job has ended.

        Raises `NotFound` when there is none, `Unavailable` when the service shuts down.
        """
        # Only the id of an existing job may become part of a NATS subject: a client could send a wildcard.
        await self.find(user_id, job_id)
        changed = asyncio.Event()
        unsubscribe = await self.notifications.subscribe_changes(job_id, changed)
        try:
            with self.watchers.watching(job_id, changed):
                async for job in self._yield_changes(user_id, job_id, changed, stopping):
                    yield job
        finally:
            await unsubscribe()

    async def _yield_changes(
        self, user_id: str, job_id: str, changed: asyncio.Event, stopping: asyncio.Event
    ) -> AsyncIterator[Job]:
        sent, sent_at = None, self.now()
        while True:
            changed.clear()
            job = await self.find(user_id, job_id)
            if job != sent or self.now() - sent_at > MAX_SILENCE:
                yield job
                sent, sent_at = job, self.now()
            if job.status != "processing":
                return
            if stopping.is_set():
                raise Unavailable("the service restarts; watch again", reason="SERVICE_UNAVAILABLE")
            silence = sent_at + MAX_SILENCE - self.now()
            await wait_any(changed, stopping, seconds=max(0.0, silence.total_seconds()) + 0.1)

    async def active_jobs(self) -> int:
        """Return the number of jobs that have not ended."""
        return await self.store.active_jobs()


async def find_video(store: Store, user_id: str, job_id: str) -> Job:
    """Return a video of a user. Raises `NotFound` when there is none."""
    job = await store.find(job_id, user_id)
    if job is None:
        raise no_video(job_id)
    return job


def no_video(job_id: str) -> NotFound:
    """Return the error for a job that does not exist, or belongs to another user."""
    return NotFound(f"there is no video {job_id}", reason="VIDEO_NOT_FOUND")

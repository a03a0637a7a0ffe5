"""Reviews: the owner of a job approves its script, with or without edits; jobs without approval fail in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from moneyprinter.errors import Error, FailedPrecondition, InvalidArgument, Violation
from services.orchestrator.jobs.model import Job, VideoRequest
from services.orchestrator.jobs.scenes import Approval, SceneRequest
from services.orchestrator.jobs.store import Store
from services.orchestrator.videos import requests
from services.orchestrator.videos.checks import run_checks
from services.orchestrator.videos.videos import find_video, no_video

EXPIRY_PERIOD_SECONDS = 60.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Reviews:
    """The reviews of all users."""

    store: Store
    check_seconds: float
    """The time in which other services check the edits."""
    check_voice: Callable[[str, VideoRequest], Awaitable[object]]
    """Raises `InvalidArgument` when the voice of a request cannot speak its script."""
    check_texts: Callable[[str, VideoRequest], Awaitable[object]]
    """Raises `InvalidArgument` when the policy of the deployment refuses a text of a user's request."""
    estimate: Callable[[str, float, str, str], Awaitable[timedelta]]
    """Returns the duration of a user's job (`Estimates.duration`)."""
    on_change: Callable[[str], Awaitable[None]]
    """Publishes that a job has changed."""
    now: Callable[[], datetime]

    async def approve(self, user_id: str, job_id: str, edits: Sequence[SceneRequest] = (), version: str = "") -> Job:
        """Approve what waits for the review of a job's owner, and return the job.

        The same approval again changes nothing. `version` is that of the review that was read; empty: any. Raises
        `NotFound` when there is no such job, `InvalidArgument` for edits that cannot be spoken, `Conflict` when other
        scenes wait than those of the version, `FailedPrecondition` when the job does not wait or was approved with
        other edits.
        """
        job = await find_video(self.store, user_id, job_id)
        if job.review is not None:
            job.review.check_version(version)
            await self._check_edits(job, edits)
        written = job.review.scenes if job.review else ()
        approval = Approval(tuple(edits) or tuple(scene.request for scene in written), tuple(edits), version)
        work = requests.expected_work_seconds(job.request)
        duration = await self.estimate(user_id, work, job.request.quality, job.priority)
        approved = await self.store.approve(job_id, user_id, approval, self.now() + duration)
        if approved is None:
            raise no_video(job_id)
        job, recorded = approved
        if recorded is None:
            state = f"it has {job.status} already" if job.status != "processing" else "it waits for none"
            raise FailedPrecondition(f"the job cannot be approved: {state}", reason="VIDEO_NOT_IN_REVIEW")
        if recorded.edits != approval.edits:
            raise FailedPrecondition("the job was approved before, with other edits", reason="VIDEO_NOT_IN_REVIEW")
        await self.on_change(job_id)
        return job

    async def _check_edits(self, job: Job, edits: Sequence[SceneRequest]) -> None:
        if not edits:
            return
        count = len(job.review.scenes) if job.review else 0
        if len(edits) != count and not job.request.footage:
            description = f"there are {len(edits)}, and the script has {count}"
            raise InvalidArgument(
                f"scenes: {description}", reason="REQUEST_INVALID", violations=[Violation("scenes", description)]
            )
        asset_ids = [cut.asset_id for scene in edits for cut in scene.cuts if cut.asset_id]
        assets = await self.store.assets(job.user_id, asset_ids) if asset_ids else {}
        requests.check_scene_requests(edits, None, assets)
        clips = tuple(replace(clip, script="") for clip in job.request.clips)
        edited = replace(job.request, clips=clips, script=None, scenes=tuple(edits))
        checks = (self.check_voice(job.user_id, edited), self.check_texts(job.user_id, edited))
        await run_checks(*checks, seconds=self.check_seconds)

    async def run_expiry(self) -> None:
        """Fail jobs whose reviews are overdue, once a minute, until cancelled."""
        while True:
            try:
                while expired := await self.store.expire_review():
                    log.info("review expired", job_id=expired.id)
                    await self.on_change(expired.id)
            except Error as failure:
                log.warning("expiry of reviews postponed", reason=failure.reason)
            await asyncio.sleep(EXPIRY_PERIOD_SECONDS)

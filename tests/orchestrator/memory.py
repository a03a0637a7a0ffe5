"""An implementation of the job store in memory."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from services.orchestrator.events import messages
from services.orchestrator.jobs import idempotency
from services.orchestrator.jobs.idempotency import IdempotencyKey
from services.orchestrator.jobs.model import PRIORITIES, Asset, Failure, Job, JobProgress, Result
from services.orchestrator.jobs.scenes import Approval, Review, approval_step
from services.orchestrator.jobs.stages import reset_stages, stop_stages
from services.orchestrator.jobs.store import ALL_JOBS, NO_DUE_EVENTS, AllJobsHeld, DueEvents, JobFilter, Superseded

T = TypeVar("T")


class MemoryStore:
    """What `PostgresStore` does, without a database. `published` are the subjects of its messages, in order."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str]] = []
        self._event_keys: set[tuple[str, str, str]] = set()
        self._jobs: dict[str, Job] = {}
        self._heartbeats: dict[str, datetime] = {}
        self._turns: dict[str, datetime] = {}
        self._steps: dict[tuple[str, str], Any] = {}
        self._assets: dict[str, Asset] = {}
        self._released: set[tuple[str, int]] = set()
        self._keys: dict[tuple[str, str], tuple[Job, str]] = {}
        self._shared: dict[tuple[str, str], Any] = {}

    async def create(self, job: Job, key: IdempotencyKey | None = None, others: Sequence[Job] = ()) -> Job:
        if key is not None:
            made, sha256 = self._keys.get((job.user_id, key.key), (job, key.request_sha256))
            if job.create_time - made.create_time < idempotency.KEY_RETENTION and made is not job:
                key.check(sha256)
                return made
            self._keys[job.user_id, key.key] = job, key.request_sha256
        for each in (job, *others):
            self._jobs[each.id] = copy.deepcopy(each)
            self._heartbeats[each.id] = each.create_time
            self.published.append(("jobs.video", each.id))
        return job

    async def find(self, job_id: str, user_id: str) -> Job | None:
        job = self._jobs.get(job_id)
        return copy.deepcopy(job) if job and job.user_id == user_id else None

    async def versions(self, job_ids: Sequence[str]) -> Mapping[str, str]:
        return {job_id: repr(self._jobs[job_id]) for job_id in job_ids if job_id in self._jobs}

    async def page(
        self, user_id: str, size: int, after: tuple[datetime, str] | None, fitting: JobFilter = ALL_JOBS
    ) -> list[Job]:
        owned = [job for job in self._jobs.values() if job.user_id == user_id and _fits(job, fitting)]
        owned.sort(key=lambda job: (job.create_time, job.id), reverse=True)
        page = copy.deepcopy([j for j in owned if after is None or (j.create_time, j.id) < after][:size])
        return [replace(job, request=replace(job.request, clips=()), original_request={}) for job in page]

    async def claim(self, lease: timedelta, at_least: int = 0) -> Job | None:
        active = [job for job in self._jobs.values() if job.status == "processing" and job.review is None]
        held = [
            job
            for job in active
            if job.attempt != job.base_attempt and self._heartbeats[job.id] >= datetime.now(UTC) - lease
        ]
        waiting = [j for j in active if j not in held and PRIORITIES.index(j.priority) >= at_least]
        if not waiting:
            if held:
                raise AllJobsHeld
            return None

        def place(job: Job) -> tuple[int, int, datetime, datetime, str]:
            running = sum(other.user_id == job.user_id for other in held)
            last_time = self._turns.get(job.user_id, datetime.min.replace(tzinfo=UTC))
            return -PRIORITIES.index(job.priority), running, last_time, job.create_time, job.id

        job = min(waiting, key=place)
        job_id = job.id
        self._jobs[job_id] = claimed = replace(job, attempt=job.attempt + 1)
        self._turns[job.user_id] = datetime.now(UTC)
        self._heartbeats[job_id] = datetime.now(UTC)
        if claimed.attempt == claimed.base_attempt + 1:
            self._publish(claimed, messages.make_started_event(claimed, datetime.now(UTC)))
        return copy.deepcopy(claimed)

    async def heartbeat(self, job: Job) -> None:
        self._mine(job)
        self._heartbeats[job.id] = datetime.now(UTC)

    def expire_leases(self) -> None:
        """Let all instances that hold jobs count as dead."""
        self._heartbeats = dict.fromkeys(self._heartbeats, datetime.fromtimestamp(0, UTC))

    async def release(self, job: Job) -> None:
        self._mine(job)
        self._released.add((job.id, job.attempt))
        self._heartbeats[job.id] = datetime.fromtimestamp(0, UTC)

    async def interruptions(self, job: Job) -> int:
        before = range(job.base_attempt + 1, job.attempt)
        return sum((job.id, attempt) not in self._released for attempt in before)

    async def advance(
        self,
        job: Job,
        progress: int,
        stages: dict[str, str],
        progress_details: JobProgress,
        estimate: datetime,
        due: DueEvents = NO_DUE_EVENTS,
    ) -> None:
        self._change(
            job, progress=progress, stages=stages, progress_details=progress_details, estimated_completion=estimate
        )
        now = datetime.now(UTC)
        if due.stages:
            self._publish(job, *messages.make_stage_completed_events(job, stages, progress, now))
        if due.progress:
            self._publish(job, messages.make_progress_event(job, progress, now))

    async def step_names(self, job: Job) -> Collection[str]:
        return {name for owner, name in self._steps if owner == job.id}

    async def step(self, job: Job, name: str, kind: type[T]) -> T | None:
        return copy.deepcopy(self._steps.get((job.id, name)))

    async def steps(self, job_id: str, prefix: str, kind: type[T]) -> dict[str, T]:
        found = {name: result for (owner, name), result in self._steps.items() if owner == job_id}
        return copy.deepcopy({name[len(prefix) :]: each for name, each in found.items() if name.startswith(prefix)})

    async def record(self, job: Job, name: str, kind: type[T], result: T) -> None:
        self._mine(job)
        self._steps[job.id, name] = copy.deepcopy(result)

    async def claim_shared(self, job: Job, name: str, kind: type[T], lease: timedelta) -> T | bool:
        found: T | str = self._shared.setdefault((_group(job), name), job.id)
        return found == job.id if isinstance(found, str) else found

    async def record_shared(self, job: Job, name: str, kind: type[T], result: T) -> None:
        self._shared[_group(job), name] = result

    async def step_results(self, job: Job, names: Collection[str]) -> dict[str, Any]:
        return {name: dataclasses.asdict(self._steps[job.id, name]) for name in names if (job.id, name) in self._steps}

    async def forget_steps(self, job: Job, names: Collection[str]) -> None:
        self._mine(job)
        for name in names:
            self._steps.pop((job.id, name), None)

    async def complete(self, job: Job, result: Result, stages: dict[str, str], progress_details: JobProgress) -> None:
        self._change(
            job, status="completed", progress=100, result=result, stages=stages, progress_details=progress_details
        )
        now = datetime.now(UTC)
        self._publish(
            job,
            *messages.make_stage_completed_events(job, stages, 100, now),
            messages.make_completed_event(job, result, now),
        )

    async def fail(self, job: Job, failure: Failure, stages: dict[str, str]) -> None:
        self._change(job, status="failed", failure=failure, stages=stages)
        now = datetime.now(UTC)
        events = messages.make_stage_completed_events(job, stages, job.progress, now)
        self._publish(job, *events, messages.make_failed_event(job, failure, now))

    async def begin_review(
        self, job: Job, review: Review, stages: dict[str, str], progress_details: JobProgress
    ) -> None:
        self._change(job, review=review, stages=stages, progress_details=progress_details)
        self._released.add((job.id, job.attempt))
        events = messages.make_stage_completed_events(job, stages, progress_details.percent, review.request_time)
        self._publish(job, *events, messages.make_review_requested_event(job, review, review.request_time))

    async def approve(
        self, job_id: str, user_id: str, approval: Approval, estimate: datetime
    ) -> tuple[Job, Approval | None] | None:
        job = await self.find(job_id, user_id)
        if job is None:
            return None
        if job.review is None:
            return job, self._steps.get((job_id, approval_step(job.request.review)))
        job.review.check_version(approval.version)
        self._steps[job_id, approval_step(job.review.subject)] = approval
        self._jobs[job_id] = job = replace(job, review=None, attempt=job.attempt + 1, estimated_completion=estimate)
        self._released.add((job_id, job.attempt))
        self._heartbeats[job_id] = datetime.fromtimestamp(0, UTC)
        self.published.append(("jobs.video", job_id))
        return copy.deepcopy(job), approval

    async def expire_review(self) -> Job | None:
        now = datetime.now(UTC)
        for job in self._jobs.values():
            if job.review is not None and job.review.expire_time <= now:
                failure = Failure("audio_generation", "REVIEW_EXPIRED", "the time for the review is over")
                self._jobs[job.id] = replace(job, review=None, status="failed", failure=failure)
                self._publish(job, messages.make_failed_event(job, failure, now))
                return job
        return None

    async def cancel(self, job_id: str, user_id: str) -> Job | None:
        job = await self.find(job_id, user_id)
        if job is not None and job.status == "processing":
            self._jobs[job_id] = job = replace(job, status="cancelled", stages=stop_stages(job.stages), review=None)
            self._publish(job, messages.make_cancelled_event(job, datetime.now(UTC)))
        return copy.deepcopy(job)

    async def delete(self, job_id: str, user_id: str) -> Job | None:
        job = await self.find(job_id, user_id)
        if job is not None:
            await self.cancel(job_id, user_id)
            del self._jobs[job_id]
        return job

    async def retry(self, job_id: str, user_id: str, estimate: datetime) -> Job | None:
        job = await self.find(job_id, user_id)
        if job is not None and job.status in ("failed", "cancelled"):
            again: dict[str, Any] = {
                "attempt": job.attempt + 1,
                "base_attempt": job.attempt + 1,
                "estimated_completion": estimate,
            }
            self._jobs[job_id] = job = replace(
                job, status="processing", stages=reset_stages(job.stages), failure=None, **again
            )
            self.published.append(("jobs.video", job_id))
        return copy.deepcopy(job)

    async def active_jobs(self) -> int:
        return sum(job.status == "processing" and job.review is None for job in self._jobs.values())

    async def requeue_silent(self, silence: timedelta) -> Sequence[str]:
        now = datetime.now(UTC)
        silent = [
            job.id
            for job in self._jobs.values()
            if job.status == "processing" and job.review is None and self._heartbeats[job.id] < now - silence
        ]
        for job_id in silent:
            self._heartbeats[job_id] = now
            self.published.append(("jobs.video", job_id))
        return silent

    async def add_asset(self, asset: Asset) -> None:
        self._assets[asset.id] = asset

    async def assets(self, user_id: str, ids: Sequence[str]) -> dict[str, Asset]:
        return {i: self._assets[i] for i in ids if i in self._assets and self._assets[i].user_id == user_id}

    def _publish(self, job: Job, *events: messages.Event) -> None:
        for event in events:
            key = (job.id, event.kind, event.key)
            if key not in self._event_keys:
                self._event_keys.add(key)
                self.published.append((event.kind, job.id))

    def _mine(self, job: Job) -> None:
        now = self._jobs.get(job.id)
        if now is None or now.attempt != job.attempt or now.status != "processing":
            raise Superseded(job.id)

    def _change(self, job: Job, **changes: Any) -> None:
        self._mine(job)
        self._jobs[job.id] = replace(self._jobs[job.id], **changes)


def _group(job: Job) -> str:
    return job.request.version.group_id if job.request.version else ""


def _fits(job: Job, wanted: JobFilter) -> bool:
    return (
        wanted.group_id in ("", _group(job))
        and wanted.status in ("", job.status)
        and wanted.title.lower() in job.request.title.lower()
        and (wanted.from_time is None or job.create_time >= wanted.from_time)
        and (wanted.to_time is None or job.create_time < wanted.to_time)
    )

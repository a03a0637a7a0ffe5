"""Job store: the interface to the records of jobs, their steps and uploads, and its errors.

`postgres/store.py` implements it; tests also have an implementation in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from services.orchestrator.jobs.idempotency import IdempotencyKey
from services.orchestrator.jobs.model import Asset, Failure, Job, JobProgress, Result
from services.orchestrator.jobs.scenes import Approval, Review

T = TypeVar("T")

JOBS_SUBJECT = "jobs.video"
"""The NATS subject of the messages that announce a queued job."""


@dataclass(frozen=True)
class DueEvents:
    """Which events a change of progress publishes, besides the update of the record."""

    progress: bool = False
    """Whether to publish the progress in percent."""
    stages: bool = False
    """Whether to publish the completed stages."""

    def __bool__(self) -> bool:
        return self.progress or self.stages


NO_DUE_EVENTS = DueEvents()


class Superseded(Exception):
    """Another instance has claimed the job, or the job has ended: the results of this attempt are discarded."""


class AllJobsHeld(Exception):
    """Every active job is held by an instance that sent a heartbeat within the lease."""


class StoreUnavailable(Exception):
    """The store was unavailable for longer than the caller waits; the job is released, and has not failed."""


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a list contains; an empty field does not filter."""

    status: str = ""
    title: str = ""
    """A substring of the title, case-insensitive."""
    from_time: datetime | None = None
    """The earliest time of creation, inclusive."""
    to_time: datetime | None = None
    """The latest time of creation, exclusive."""
    group_id: str = ""
    """The group of videos in several languages."""


ALL_JOBS = JobFilter()


class Store(Protocol):
    """Jobs, steps and uploads. `Job.attempt` is the fencing token: a write under an old one raises `Superseded`."""

    async def create(self, job: Job, key: IdempotencyKey | None = None, others: Sequence[Job] = ()) -> Job:
        """Record a new job, its queue message and its idempotency key in one transaction. Return the job.

        `others` are the jobs of the same request's further languages, which are recorded with it.

        When a request of the same user had the key within the last 24 hours, nothing is recorded, and the job is
        returned as it was created then. Raises `Conflict` when that request was a different one, `ResourceExhausted`
        when a quota of the account is exhausted.
        """

    async def find(self, job_id: str, user_id: str) -> Job | None:
        """Return a job of a user, or None when the user has no such job."""

    async def versions(self, job_ids: Sequence[str]) -> Mapping[str, str]:
        """Return a version of each job, which differs after every change of the job."""

    async def page(
        self, user_id: str, size: int, after: tuple[datetime, str] | None, fitting: JobFilter = ALL_JOBS
    ) -> list[Job]:
        """Return a user's jobs that match a filter, newest first, starting behind `after` (create_time and id).

        The jobs have no clips in their requests, and no original requests.
        """

    async def claim(self, lease: timedelta, at_least: int = 0) -> Job | None:
        """Claim the next job under a new attempt, and return it; None when no job is active.

        `at_least` is the lowest priority that is claimed, as an index into `PRIORITIES`.

        The next job has the highest priority; among those, it belongs to the user with the fewest running jobs; among
        those users, to the one whose last job started longest ago; among that user's jobs, it is the oldest. The first
        attempt also publishes `video.processing.started`. Raises `AllJobsHeld` when instances sent a heartbeat for all
        active jobs within `lease`.
        """

    async def heartbeat(self, job: Job) -> None:
        """Record that this instance is still working on the job."""

    async def release(self, job: Job) -> None:
        """Release a job that has not ended, so that another instance can claim it at once."""

    async def interruptions(self, job: Job) -> int:
        """Return how many instances died while they worked on the job, since its owner last retried it."""

    async def advance(
        self,
        job: Job,
        progress: int,
        stages: dict[str, str],
        progress_details: JobProgress,
        estimate: datetime,
        due: DueEvents = NO_DUE_EVENTS,
    ) -> None:
        """Record the progress of a job (in percent, and in detail), and publish the events that are due."""

    async def step_names(self, job: Job) -> Collection[str]:
        """Return the names of the completed steps."""

    async def step(self, job: Job, name: str, kind: type[T]) -> T | None:
        """Return the result of a step, or None when it has not run."""

    async def steps(self, job_id: str, prefix: str, kind: type[T]) -> dict[str, T]:
        """Return the results of the steps whose names begin with `prefix`, by the rest of their names."""

    async def record(self, job: Job, name: str, kind: type[T], result: T) -> None:
        """Record the result of a step.

        Raises `FailedPrecondition` when the account has exceeded its daily quota of bytes fetched from other hosts.
        """

    async def claim_shared(self, job: Job, name: str, kind: type[T], lease: timedelta) -> T | bool:
        """Return what the group of a job shares under a name, when it is recorded.

        Otherwise returns True when this job is to make it, and False while another job of the group does, which has
        sent a heartbeat within `lease`.
        """

    async def record_shared(self, job: Job, name: str, kind: type[T], result: T) -> None:
        """Record what the group of a job shares, unless another job has claimed it since."""

    async def step_results(self, job: Job, names: Collection[str]) -> dict[str, Any]:
        """Return the results of the named steps as JSON."""

    async def forget_steps(self, job: Job, names: Collection[str]) -> None:
        """Delete the results of the named steps, so that they run again."""

    async def complete(self, job: Job, result: Result, stages: dict[str, str], progress_details: JobProgress) -> None:
        """End a job as completed; publish `video.processing.completed` and the events of its completed stages."""

    async def fail(self, job: Job, failure: Failure, stages: dict[str, str]) -> None:
        """End a job as failed; publish `video.processing.failed` and the events of its completed stages."""

    async def begin_review(
        self, job: Job, review: Review, stages: dict[str, str], progress_details: JobProgress
    ) -> None:
        """Let a job wait for a review, and publish `video.processing.review_requested`.

        No instance claims the job meanwhile.
        """

    async def approve(
        self, job_id: str, user_id: str, approval: Approval, estimate: datetime
    ) -> tuple[Job, Approval | None] | None:
        """Record the approval of a job that waits for a review, and queue the job again under a new attempt.

        Returns the job as it is then, unchanged when it does not wait, and its recorded approval; None when the user
        has no such job.
        """

    async def expire_review(self) -> Job | None:
        """Fail a job whose review is overdue, and return it; None when there is none."""

    async def cancel(self, job_id: str, user_id: str) -> Job | None:
        """Cancel an active job, and publish `video.processing.cancelled`.

        Returns the job as it is then, unchanged when it had ended; None when the user has no such job.
        """

    async def delete(self, job_id: str, user_id: str) -> Job | None:
        """Delete a job, which is cancelled first when it is active. Its files are removed soon afterwards.

        Returns the job as it was; None when the user has no such job.
        """

    async def retry(self, job_id: str, user_id: str, estimate: datetime) -> Job | None:
        """Queue a failed or cancelled job again. Completed steps do not run again.

        Returns the job as it is then, unchanged when it was neither failed nor cancelled; None when the user has no
        such job. Raises `ResourceExhausted` when a quota of the account is exhausted.
        """

    async def active_jobs(self) -> int:
        """Return the number of jobs that have not ended, without those that wait for a review."""

    async def requeue_silent(self, silence: timedelta) -> Sequence[str]:
        """Queue the active jobs again that had no heartbeat for `silence`, and return their ids."""

    async def add_asset(self, asset: Asset) -> None:
        """Record an upload."""

    async def assets(self, user_id: str, ids: Sequence[str]) -> dict[str, Asset]:
        """Return the uploads of a user that have these ids, by their ids."""

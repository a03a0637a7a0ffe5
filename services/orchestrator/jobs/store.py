"""Store: what the orchestrator keeps, as a Protocol; PostgreSQL fills it, and tests have a twin in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from services.orchestrator.jobs.idempotency import RequestKey
from services.orchestrator.jobs.model import Asset, Failure, Job, News, Result, Tally

T = TypeVar("T")

JOBS_SUBJECT = "jobs.video"
"""The subject of the messages that say that there is work."""


NO_NEWS = News()


class Superseded(Exception):
    """Another instance has taken the job up: what this one still does of it counts for nothing."""


class Held(Exception):
    """Instances work on all jobs that there are, or did a moment ago."""


class Away(Exception):
    """The store has been away for longer than one waits for it; the job is given back, and has not failed."""


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are asked for; what is empty leaves none out."""

    status: str = ""
    title: str = ""
    """A part of it, whatever its capitals."""
    from_time: datetime | None = None
    """The first moment of creation."""
    to_time: datetime | None = None
    """The moment before which they were created."""


ALL_JOBS = JobFilter()


class Store(Protocol):
    """Jobs, steps, assets. `attempt` is the fencing token: a write under an old one raises Superseded."""

    async def create(self, job: Job, key: RequestKey | None = None) -> Job:
        """Record a new job, and in the same transaction that it is to be queued, and its key.

        Returns the job; when a request of the user's had that key within the last day, the job as it was created then,
        and nothing is recorded. Raises Conflict when that was another request, ResourceExhausted when a quota of the
        account is used up.
        """

    async def find(self, job_id: str, user_id: str) -> Job | None:
        """A job of a user."""

    async def versions(self, job_ids: Sequence[str]) -> Mapping[str, str]:
        """What changes with every change of some jobs."""

    async def page(
        self, user_id: str, size: int, after: tuple[datetime, str] | None, fitting: JobFilter = ALL_JOBS
    ) -> list[Job]:
        """A user's jobs that fit, newest first, from the one that follows `after` (its create_time and id) on.

        They come without the clips of their requests, and without the requests as they were written.
        """

    async def take(self, lease: timedelta, at_least: int = 0) -> Job | None:
        """Take the next job up under a new attempt; None when there is none that has not ended.

        Only one whose priority is `at_least` that place in `PRIORITIES`.

        The next is one of the highest priority, of the user of whom the fewest are worked on; of several such users, of
        the one whose last turn is longest ago; the oldest first. Raises
        Held when instances gave a sign of life for all of them within `lease`. The first attempt also records that
        `video.processing.started` is to be published.
        """

    async def heartbeat(self, job: Job) -> None:
        """Say that the job is being worked on."""

    async def release(self, job: Job) -> None:
        """Let go of a job before its end, so that it can be taken up at once."""

    async def interruptions(self, job: Job) -> int:
        """How many instances died while they worked on the job, since its owner last had it begun again."""

    async def advance(
        self,
        job: Job,
        progress: int,
        stages: dict[str, str],
        tally: Tally,
        estimate: datetime,
        news: News = NO_NEWS,
    ) -> None:
        """Record how far a job is, and that the `news` of that are to be published."""

    async def step_names(self, job: Job) -> Collection[str]:
        """The names of the steps that ran."""

    async def step(self, job: Job, name: str, kind: type[T]) -> T | None:
        """What a step gave, if it ran."""

    async def steps(self, job_id: str, prefix: str, kind: type[T]) -> dict[str, T]:
        """What the steps of a job gave whose names begin with `prefix`, by the rest of their names."""

    async def record(self, job: Job, name: str, kind: type[T], result: T) -> None:
        """Record what a step gave.

        Raises FailedPrecondition when more was fetched from other hosts than the account may have fetched in a day.
        """

    async def step_results(self, job: Job, names: Collection[str]) -> dict[str, Any]:
        """What the steps of these names gave, as JSON."""

    async def forget_steps(self, job: Job, names: Collection[str]) -> None:
        """Forget what the steps of these names gave, so that they run again."""

    async def complete(self, job: Job, result: Result, stages: dict[str, str], tally: Tally) -> None:
        """End a job well, and record that `video.processing.completed` is to be published, and its completed stages."""

    async def fail(self, job: Job, failure: Failure, stages: dict[str, str]) -> None:
        """End a job badly, and record that `video.processing.failed` is to be published, and its completed stages."""

    async def cancel(self, job_id: str, user_id: str) -> Job | None:
        """End a job before it is finished, and record that `video.processing.cancelled` is to be published.

        Returns the job as it is then, unchanged when it had ended; None when the user has none of that id.
        """

    async def delete(self, job_id: str, user_id: str) -> Job | None:
        """Forget a job, one that has not ended is cancelled first; its files are removed soon.

        Returns what it was; None when the user has none of that id.
        """

    async def retry(self, job_id: str, user_id: str, estimate: datetime) -> Job | None:
        """Queue a failed or cancelled job again; its steps that ran are not run again.

        Returns the job as it is then, unchanged when it had not failed and was not cancelled; None when the user has
        none of that id. Raises ResourceExhausted when a quota of the account is used up.
        """

    async def active_jobs(self) -> int:
        """How many jobs have not ended."""

    async def requeue_silent(self, silence: timedelta) -> Sequence[str]:
        """Queue the jobs again that gave no sign of life for so long; their ids."""

    async def add_asset(self, asset: Asset) -> None:
        """Record an upload."""

    async def assets(self, user_id: str, ids: Sequence[str]) -> dict[str, Asset]:
        """Those of a user's uploads that have these ids."""

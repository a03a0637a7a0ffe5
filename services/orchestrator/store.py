"""Store: what the orchestrator keeps, as a Protocol; PostgreSQL fills it, and tests have a twin in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from services.orchestrator.jobs import Asset, Failure, Job, Result, Tally

T = TypeVar("T")

JOBS_SUBJECT = "jobs.video"
"""The subject of the messages that say that a job is to be looked at."""


class Superseded(Exception):
    """Another instance has taken the job up: what this one still does of it counts for nothing."""


class Held(Exception):
    """Another instance works on the job, or did a moment ago."""


class Away(Exception):
    """The store has been away for longer than one waits for it; the job is given back, and has not failed."""


class Store(Protocol):
    """Jobs, steps, assets. `attempt` is the fencing token: a write under an old one raises Superseded."""

    async def create(self, job: Job) -> None:
        """Record a new job, and in the same transaction that it is to be queued."""

    async def find(self, job_id: str, user_id: str) -> Job | None:
        """A job of a user."""

    async def page(self, user_id: str, size: int, after: tuple[datetime, str] | None) -> list[Job]:
        """A user's jobs, newest first, from the one that follows `after` (its create_time and id) on."""

    async def take(self, job_id: str, lease: timedelta) -> Job | None:
        """Take a job up under a new attempt; None when it has ended or does not exist.

        Raises Held while an instance gave a sign of life for it within `lease`. The first attempt also
        records that `video.processing.started` is to be published.
        """

    async def heartbeat(self, job: Job) -> None:
        """Say that the job is being worked on."""

    async def release(self, job: Job) -> None:
        """Let go of a job before its end, so that it can be taken up at once."""

    async def advance(self, job: Job, progress: int, stages: dict[str, str], tally: Tally, estimate: datetime) -> None:
        """Record how far a job is."""

    async def step(self, job: Job, name: str, kind: type[T]) -> T | None:
        """What a step gave, if it ran."""

    async def steps(self, job_id: str, prefix: str, kind: type[T]) -> dict[str, T]:
        """What the steps of a job gave whose names begin with `prefix`, by the rest of their names."""

    async def record(self, job: Job, name: str, kind: type[T], result: T) -> None:
        """Record what a step gave."""

    async def complete(self, job: Job, result: Result, stages: dict[str, str], tally: Tally) -> None:
        """End a job well, and record that `video.processing.completed` is to be published."""

    async def fail(self, job: Job, failure: Failure, stages: dict[str, str]) -> None:
        """End a job badly, and record that `video.processing.failed` is to be published."""

    async def active_jobs(self) -> int:
        """How many jobs have not ended."""

    async def requeue_silent(self, silence: timedelta) -> Sequence[str]:
        """Queue the jobs again that gave no sign of life for so long; their ids."""

    async def add_asset(self, asset: Asset) -> None:
        """Record an upload."""

    async def assets(self, user_id: str, ids: Sequence[str]) -> dict[str, Asset]:
        """Those of a user's uploads that have these ids."""

"""Dead letters: what failed for good, with the history of its attempts, until it is retried or deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from moneyprinter.errors import NotFound
from services.orchestrator.jobs.model import Failure


@dataclass(frozen=True)
class Attempt:
    """One time that an instance worked on a job."""

    number: int
    start_time: datetime
    end_time: datetime | None
    """None: the instance died, or was superseded."""
    outcome: str
    """`failed`, `cancelled`, `released` when the instance was stopped, or `interrupted` when it died."""
    failure: Failure | None


@dataclass(frozen=True)
class DeadLetter:
    """A job that failed."""

    job_id: str
    title: str
    failure: Failure
    create_time: datetime
    """When it failed."""
    attempts: tuple[Attempt, ...]
    """The first one first."""


class DeadLetters(Protocol):
    """Those of all users."""

    async def page(self, user_id: str, size: int, after: tuple[datetime, str] | None) -> Sequence[DeadLetter]:
        """A user's, newest first, from the one that follows `after` (its create_time and job_id) on."""

    async def find(self, user_id: str, job_id: str) -> DeadLetter | None:
        """That of a job of a user."""


async def find(letters: DeadLetters, user_id: str, job_id: str) -> DeadLetter:
    """The dead letter of a job. Raises NotFound when there is none."""
    letter = await letters.find(user_id, job_id)
    if letter is None:
        raise NotFound(
            f"there is no dead letter of {job_id}; it did not fail, or was retried", reason="DEAD_LETTER_NOT_FOUND"
        )
    return letter

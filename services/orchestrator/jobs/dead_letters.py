"""Dead letters: failed jobs with the history of their attempts, until they are retried or deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from moneyprinter.errors import NotFound
from services.orchestrator.jobs.model import Failure


@dataclass(frozen=True)
class Attempt:
    """One period in which an instance worked on a job."""

    number: int
    start_time: datetime
    end_time: datetime | None
    """None: the instance died, or was superseded."""
    outcome: str
    """`failed`, `cancelled`, `released` when the instance was stopped, or `interrupted` when it died."""
    failure: Failure | None


@dataclass(frozen=True)
class DeadLetter:
    """A failed job."""

    job_id: str
    title: str
    failure: Failure
    create_time: datetime
    """When it failed."""
    attempts: tuple[Attempt, ...]
    """Oldest first."""


class DeadLetters(Protocol):
    """The dead letters of all users."""

    async def list_dead_letters(
        self, user_id: str, size: int, after: tuple[datetime, str] | None
    ) -> Sequence[DeadLetter]:
        """Return a user's dead letters, newest first, starting behind `after` (create_time and job_id)."""

    async def find(self, user_id: str, job_id: str) -> DeadLetter | None:
        """Return the dead letter of a user's job."""


async def find_dead_letter(dead_letters: DeadLetters, user_id: str, job_id: str) -> DeadLetter:
    """Return the dead letter of a user's job. Raises `NotFound` when there is none."""
    dead_letter = await dead_letters.find(user_id, job_id)
    if dead_letter is None:
        raise NotFound(
            f"there is no dead letter of {job_id}; it did not fail, or was retried", reason="DEAD_LETTER_NOT_FOUND"
        )
    return dead_letter

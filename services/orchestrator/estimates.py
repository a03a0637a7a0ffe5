"""Estimates: when a job will end, learnt from the jobs that ended and those that wait before it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

# What is known of others is looked up again after so long.
FRESH_SECONDS = 5.0
# So many jobs that were most like it say how long one takes.
NEIGHBOURS = 9


@dataclass(frozen=True)
class PastJob:
    """A job that was completed."""

    quality: str
    work_seconds: float
    """What it was expected to take when nothing else runs."""
    took_seconds: float
    """From the moment that an instance took it up."""


@dataclass(frozen=True)
class Lately:
    """How it went lately, and what is going on."""

    past: Sequence[PastJob] = ()
    waiting_seconds: float = 0.0
    """What is expected of all jobs that nobody has begun."""
    running: int = 0
    """How many jobs are worked on."""


class Past(Protocol):
    """Knows of all users' jobs."""

    async def lately(self) -> Lately:
        """How it went lately. Raises Unavailable."""


class Estimates:
    """Says how long jobs will take. `expected` is what they take on a machine that nobody has measured yet."""

    def __init__(self, past: Past, clock: Callable[[], float] = time.monotonic) -> None:
        self._past = past
        self._clock = clock
        self._lately = Lately()
        self._read_at = -math.inf
        # What was created here since then.
        self._added_seconds = 0.0

    async def duration(self, work_seconds: float, quality: str) -> timedelta:
        """How long a job that is created now will take, until it has ended. Raises Unavailable."""
        if self._clock() - self._read_at > FRESH_SECONDS:
            self._lately = await self._past.lately()
            self._read_at = self._clock()
            self._added_seconds = 0.0
        lately = self._lately
        before = (lately.waiting_seconds + self._added_seconds) / max(1, lately.running)
        self._added_seconds += work_seconds
        return timedelta(seconds=(before + work_seconds) * pace(lately.past, work_seconds, quality))


def pace(past: Sequence[PastJob], work_seconds: float, quality: str) -> float:
    """What jobs take for each second that was expected of them: the median of those most like this one."""
    alike = [job for job in past if job.quality == quality] or past
    nearest = sorted(alike, key=lambda job: abs(math.log(job.work_seconds / work_seconds)))[:NEIGHBOURS]
    return statistics.median(job.took_seconds / job.work_seconds for job in nearest) if nearest else 1.0

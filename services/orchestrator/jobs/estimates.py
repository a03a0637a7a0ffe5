"""Estimates: when a job will end, learnt from the jobs that ended and those that wait before it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from services.orchestrator.jobs.model import PRIORITIES

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
class Waiting:
    """A user's jobs that nobody has begun."""

    jobs: int = 0
    work_seconds: float = 0.0
    """What is expected of all of them."""


@dataclass(frozen=True)
class Lately:
    """How it went lately, and what is going on."""

    past: Sequence[PastJob] = ()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    """Those of normal priority, by the ids of their users."""
    running: int = 0
    """How many jobs are worked on."""
    others: Mapping[str, Mapping[str, Waiting]] = field(default_factory=dict)
    """Those of other priorities, by the priority."""


class Past(Protocol):
    """Knows of all users' jobs."""

    async def lately(self) -> Lately:
        """How it went lately. Raises Unavailable."""


class Estimates:
    """Says how long jobs will take, which users take turns to have done."""

    def __init__(self, past: Past, clock: Callable[[], float] = time.monotonic) -> None:
        self._past = past
        self._clock = clock
        self._lately = Lately()
        self._read_at = -math.inf
        # With what was created here since then.
        self._waiting: dict[str, dict[str, Waiting]] = {}
        self._at_once = 1

    async def duration(self, user_id: str, work_seconds: float, quality: str, priority: str = "normal") -> timedelta:
        """How long a job that a user creates now will take, until it has ended. Raises Unavailable.

        Jobs of a higher priority come before it, those of a lower one do not hold it up.
        """
        if self._clock() - self._read_at > FRESH_SECONDS:
            self._lately = await self._past.lately()
            self._read_at = self._clock()
            by_priority = {"normal": self._lately.waiting, **self._lately.others}
            self._waiting = {name: dict(by_priority.get(name, {})) for name in PRIORITIES}
            # Only while jobs wait are there as many running as there can be.
            self._at_once = max(1, self._lately.running, 0 if any(self._waiting.values()) else self._at_once)
        alike = self._waiting[priority]
        mine = alike.get(user_id, Waiting())
        before = mine.work_seconds + sum(
            theirs.work_seconds * min(1.0, (mine.jobs + 1) / theirs.jobs)
            for other, theirs in alike.items()
            if other != user_id
        )
        for higher in PRIORITIES[PRIORITIES.index(priority) + 1 :]:
            before += sum(theirs.work_seconds for theirs in self._waiting[higher].values())
        alike[user_id] = Waiting(mine.jobs + 1, mine.work_seconds + work_seconds)
        seconds = (before / self._at_once + work_seconds) * pace(self._lately.past, work_seconds, quality)
        return timedelta(seconds=seconds)


def pace(past: Sequence[PastJob], work_seconds: float, quality: str) -> float:
    """What jobs take for each second that was expected of them: the median of those most like this one.

    The more a job differs in size from those, the less they say of it: much of what a short job takes is spent once.
    """
    alike = [job for job in past if job.quality == quality] or past
    nearest = sorted(alike, key=lambda job: abs(math.log(job.work_seconds / work_seconds)))[:NEIGHBOURS]
    if not nearest:
        return 1.0
    found = statistics.median(job.took_seconds / job.work_seconds for job in nearest)
    apart = statistics.median(abs(math.log(job.work_seconds / work_seconds)) for job in nearest)
    return float(found ** (1 / max(1.0, apart)))

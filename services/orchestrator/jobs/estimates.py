"""Estimates: how long a new job takes, from the jobs that were completed and those that wait before it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from services.orchestrator.jobs.model import PRIORITIES

# The history of other jobs is read again after this time.
FRESH_SECONDS = 5.0
# The slowdown of a job is the median of this many completed jobs of the nearest size.
NEIGHBOURS = 9
# A job makes use of at most this many cores: shots and sentences are done in parallel, its beginning and end are not.
MAX_CORES = 8


@dataclass(frozen=True)
class PastJob:
    """A completed job."""

    quality: str
    work_seconds: float
    """The expected time when no other job runs."""
    took_seconds: float
    """The time from its first claim to its end."""


@dataclass(frozen=True)
class Waiting:
    """The jobs of a user that no instance has claimed."""

    jobs: int = 0
    work_seconds: float = 0.0
    """The expected time of all of them together."""


@dataclass(frozen=True)
class LoadSnapshot:
    """The jobs that were completed lately, and those that wait and run now."""

    past: Sequence[PastJob] = ()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    """The waiting jobs of normal priority, by the ids of their users."""
    running: int = 0
    """The number of claimed jobs."""
    others: Mapping[str, Mapping[str, Waiting]] = field(default_factory=dict)
    """The waiting jobs of other priorities, by priority and user id."""


class JobHistory(Protocol):
    """The jobs of all users."""

    async def snapshot(self) -> LoadSnapshot:
        """Read the load. Raises `Unavailable` when the store cannot be read."""


class Estimates:
    """Estimates how long new jobs take. `clock` returns seconds of a monotonic clock.

    `machine` returns the number of cores on which the work is done, and the number of threads that others run there; it
    applies until there is a history. None: the work is done on other machines.
    """

    def __init__(
        self,
        history: JobHistory,
        clock: Callable[[], float] = time.monotonic,
        machine: Callable[[], tuple[int, float]] | None = None,
    ) -> None:
        self._history = history
        self._clock = clock
        self._machine = machine
        self._load = LoadSnapshot()
        self._read_at = -math.inf
        # The waiting jobs of the snapshot, and those that were created here since then.
        self._waiting: dict[str, dict[str, Waiting]] = {}
        self._at_once = 1

    async def duration(self, user_id: str, work_seconds: float, quality: str, priority: str = "normal") -> timedelta:
        """Returns the time until a job ends that a user creates now; counts it as waiting from then on.

        Users take turns; jobs of a higher priority come first, jobs of a lower one do not delay it. Raises
        `Unavailable` when the store cannot be read.
        """
        if self._clock() - self._read_at > FRESH_SECONDS:
            self._load = await self._history.snapshot()
            self._read_at = self._clock()
            by_priority = {"normal": self._load.waiting, **self._load.others}
            self._waiting = {name: dict(by_priority.get(name, {})) for name in PRIORITIES}
            # The number of running jobs is the capacity only while jobs wait.
            self._at_once = max(1, self._load.running, 0 if any(self._waiting.values()) else self._at_once)
        same_priority = self._waiting[priority]
        own = same_priority.get(user_id, Waiting())
        before = own.work_seconds + sum(
            other.work_seconds * min(1.0, (own.jobs + 1) / other.jobs)
            for other_id, other in same_priority.items()
            if other_id != user_id
        )
        for higher in PRIORITIES[PRIORITIES.index(priority) + 1 :]:
            before += sum(other.work_seconds for other in self._waiting[higher].values())
        same_priority[user_id] = Waiting(own.jobs + 1, own.work_seconds + work_seconds)
        ratio = slowdown(self._load.past, work_seconds, quality) if self._load.past else self._first_slowdown()
        return timedelta(seconds=(before / self._at_once + work_seconds) * ratio)

    def _first_slowdown(self) -> float:
        if self._machine is None:
            return 1.0
        cores, threads = self._machine()
        # The threads of running jobs are no load by others.
        return machine_slowdown(cores, 0.0 if self._load.running else threads)


def machine_slowdown(cores: int, threads: float) -> float:
    """Returns the seconds that a job takes on a machine for each second that it takes on two idle cores.

    `threads` is the number of threads that others run there, which get as much time as those of the job.
    """
    return 2 / min(max(1, cores), MAX_CORES) * (1 + threads / max(1, cores))


def slowdown(past: Sequence[PastJob], work_seconds: float, quality: str) -> float:
    """Returns the seconds that a job takes for each second of expected work: the median of the most similar jobs.

    The more a job differs in size from those, the closer the result is to 1: a large part of a short job is spent once,
    whatever its length.
    """
    similar = [job for job in past if job.quality == quality] or past
    nearest = sorted(similar, key=lambda job: abs(math.log(job.work_seconds / work_seconds)))[:NEIGHBOURS]
    if not nearest:
        return 1.0
    ratio = statistics.median(job.took_seconds / job.work_seconds for job in nearest)
    distance = statistics.median(abs(math.log(job.work_seconds / work_seconds)) for job in nearest)
    return float(ratio ** (1 / max(1.0, distance)))

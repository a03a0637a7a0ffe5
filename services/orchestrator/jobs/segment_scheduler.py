"""Segment scheduler: the order in which this instance sends the segments of its jobs to the processing service.

The next segment has the highest priority. Among those, its user has the fewest segments rendering; among such users,
the one whose last turn is longest ago. Among a user's jobs it belongs to the oldest, and within a job it is the first
that was requested.

Instances do not coordinate their turns. The processing service renders segments of a higher priority first, whichever
instance sends them; users share fairly only within an instance.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from services.orchestrator.jobs.model import PRIORITIES, Job


@dataclass(eq=False)
class _Waiter:
    job: Job
    number: int
    granted: asyncio.Event = field(default_factory=asyncio.Event)


class SegmentScheduler:
    """Admits segments in their order, at most `at_once` at a time."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[_Waiter] = []
        self._running: Counter[str] = Counter()
        self._last_turn: dict[str, int] = {}
        self._numbers = count(1)

    @asynccontextmanager
    async def slot(self, job: Job) -> AsyncIterator[None]:
        """Wait for a turn of a job, and hold it while the context is open."""
        waiter = _Waiter(job, next(self._numbers))
        self._waiting.append(waiter)
        self._grant()
        try:
            await waiter.granted.wait()
            yield
        finally:
            if waiter.granted.is_set():
                self._free += 1
                self._running[job.user_id] -= 1
            else:
                self._waiting.remove(waiter)
            self._forget(job.user_id)
            self._grant()

    def _grant(self) -> None:
        while self._free and self._waiting:
            waiter = min(self._waiting, key=self._rank)
            self._waiting.remove(waiter)
            self._free -= 1
            self._running[waiter.job.user_id] += 1
            self._last_turn[waiter.job.user_id] = next(self._numbers)
            waiter.granted.set()

    def _rank(self, waiter: _Waiter) -> tuple[object, ...]:
        job = waiter.job
        return (
            -PRIORITIES.index(job.priority),
            self._running[job.user_id],
            self._last_turn.get(job.user_id, 0),
            job.create_time,
            job.id,
            waiter.number,
        )

    def _forget(self, user_id: str) -> None:
        if not self._running[user_id] and all(waiter.job.user_id != user_id for waiter in self._waiting):
            del self._running[user_id]
            self._last_turn.pop(user_id, None)

"""Turns: whose segment is rendered next, of all that the jobs of this instance wait for.

One of the highest priority; of several users' the one of whom the fewest are being rendered, and of those the one
whose last turn is longest ago; of a user's jobs the oldest, and of a job the segment that was asked for first.

Other instances have turns of their own. Of what they all send, the processing service renders that of a higher
priority first; users share only within an instance.
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


class Turns:
    """At most so many segments at once."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[_Waiter] = []
        self._running: Counter[str] = Counter()
        self._last_turn: dict[str, int] = {}
        self._numbers = count(1)

    @asynccontextmanager
    async def slot(self, job: Job) -> AsyncIterator[None]:
        """Wait for a turn of a job, and have it while the context is open."""
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
            waiter = min(self._waiting, key=self._place)
            self._waiting.remove(waiter)
            self._free -= 1
            self._running[waiter.job.user_id] += 1
            self._last_turn[waiter.job.user_id] = next(self._numbers)
            waiter.granted.set()

    def _place(self, waiter: _Waiter) -> tuple[object, ...]:
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

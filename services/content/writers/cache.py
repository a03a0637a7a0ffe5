"""Cache: texts that providers have written, so that an equal request within a day is not written and charged again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

MAX_ENTRIES = 500
MAX_AGE_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class _Entry:
    task: asyncio.Task[Any]
    expires: float


class TextCache:
    """Keeps results of one instance in memory. Equal requests at the same time share one result.

    Args:
        clock: Returns seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    async def fetch(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        """Return the result for a key, from before or made now. Raises what `make` raises, which is not kept.

        The work goes on when the caller is cancelled: what a provider charges for is then there for a repeated call.
        """
        now = self._clock()
        for old in [old for old, entry in self._entries.items() if entry.expires <= now][:MAX_ENTRIES]:
            del self._entries[old]
        entry = self._entries.get(key)
        if entry is None:
            while len(self._entries) >= MAX_ENTRIES:
                self._entries.pop(next(iter(self._entries)))
            entry = _Entry(asyncio.ensure_future(_run(make)), now + MAX_AGE_SECONDS)
            self._entries[key] = entry
            entry.task.add_done_callback(lambda task: self._drop_failed(key, task))
        return await asyncio.shield(entry.task)

    async def aclose(self) -> None:
        """Cancel the work in progress."""
        tasks = [entry.task for entry in self._entries.values()]
        self._entries.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drop_failed(self, key: str, task: asyncio.Task[Any]) -> None:
        if task.cancelled() or task.exception() is not None:
            entry = self._entries.get(key)
            if entry is not None and entry.task is task:
                del self._entries[key]


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()

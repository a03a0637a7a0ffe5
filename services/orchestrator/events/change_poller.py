"""Waking: wait to be told of something, and look by oneself now and then, since what others tell may be lost."""

from __future__ import annotations

import asyncio
import contextvars
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from moneyprinter.errors import Error

Versions = Callable[[Sequence[str]], Awaitable[Mapping[str, object]]]
"""The version of each of some keys, which is another one after every change."""


class ChangePoller:
    """Asks for the versions of all that is watched, every so many seconds, and wakes the watchers of what changed.

    However many watch, that is one question.
    """

    def __init__(self, versions: Versions, seconds: float) -> None:
        self._versions = versions
        self._seconds = seconds
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._polling: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, key: str, changed: asyncio.Event) -> Iterator[None]:
        """Set `changed` whenever the version of `key` has changed, while the context is open."""
        self._watchers[key].add(changed)
        if self._polling is None or self._polling.done():
            # For all watchers, and not within the call of the first.
            self._polling = asyncio.create_task(self._poll(), context=contextvars.Context())
        try:
            yield
        finally:
            self._watchers[key].discard(changed)
            if not self._watchers[key]:
                del self._watchers[key]

    def wake(self, key: str) -> None:
        """Wake the watchers of a key."""
        for changed in self._watchers.get(key, ()):
            changed.set()

    async def _poll(self) -> None:
        known: dict[str, object] = {}
        while keys := list(self._watchers):
            # While nothing can be asked, nothing is known to have changed.
            with suppress(Error):
                found = await self._versions(keys)
                for key in keys:
                    # What is seen for the first time may have changed since its watcher looked.
                    if key not in known or known[key] != found.get(key):
                        self.wake(key)
                known = {key: found.get(key) for key in keys}
            await asyncio.sleep(self._seconds)

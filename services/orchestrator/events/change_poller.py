"""Change polling: wakes watchers when what they watch has changed, even when a notification was lost."""

from __future__ import annotations

import asyncio
import contextvars
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from moneyprinter.errors import Error

ReadVersions = Callable[[Sequence[str]], Awaitable[Mapping[str, object]]]
"""Returns the version of each key, which differs after every change."""


class ChangePoller:
    """Reads the versions of all watched keys every `seconds`, and wakes the watchers of those that changed.

    All watchers share one read.
    """

    def __init__(self, read_versions: ReadVersions, seconds: float) -> None:
        self._read_versions = read_versions
        self._seconds = seconds
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._polling: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, key: str, changed: asyncio.Event) -> Iterator[None]:
        """Set `changed` whenever the version of `key` changes, while the context is open."""
        self._watchers[key].add(changed)
        if self._polling is None or self._polling.done():
            # The task serves all watchers: it must not inherit the context (deadline, user) of the first one's call.
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
        versions: dict[str, object] = {}
        while keys := list(self._watchers):
            # While the versions cannot be read, no change is reported.
            with suppress(Error):
                found = await self._read_versions(keys)
                for key in keys:
                    # A key that is read for the first time may have changed since its watcher read it.
                    if key not in versions or versions[key] != found.get(key):
                        self.wake(key)
                versions = {key: found.get(key) for key in keys}
            await asyncio.sleep(self._seconds)

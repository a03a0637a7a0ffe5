"""Source cache: fetch each clip or picture once for all segments that show it.

Files lie here in plaintext, while the store encrypts them. A file that no segment requested lately is removed, so that
a deleted upload is soon gone from here too: no job uses it by then.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Generic, Protocol, TypeVar


class Stored(Protocol):
    """A stored object."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of its bytes."""

    @property
    def size_bytes(self) -> int:
        """Its size in bytes."""


T = TypeVar("T", bound=Stored)
T_contra = TypeVar("T_contra", bound=Stored, contravariant=True)


class Objects(Protocol[T_contra]):
    """The store of the sources."""

    async def get_file(self, source: T_contra, path: Path) -> None:
        """Write an object to a file."""


class SourceCache(Generic[T]):
    """The sources in a folder: those used within the last `keep_seconds`, of at most `max_bytes` or one alone."""

    def __init__(self, objects: Objects[T], folder: Path, max_bytes: int, keep_seconds: float) -> None:
        self._objects = objects
        self._folder = folder
        self._max_bytes = max_bytes
        self._keep_seconds = keep_seconds
        self._removals: dict[str, asyncio.TimerHandle] = {}
        """When each file is removed, unless it is used before."""
        self._sizes: dict[str, int] = {}
        """The sizes of the files in the folder, the least recently used first."""
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._waiters: dict[str, int] = {}

    async def link(self, source: T, path: Path) -> None:
        """Link a source to `path`; fetches it first where needed. The link outlives the cached file."""
        name = source.sha256
        while name not in self._sizes:
            await self._wait_fetched(source)
        self._sizes[name] = self._sizes.pop(name, source.size_bytes)
        os.link(self._folder / name, path)
        self._schedule_removal(name)
        self._evict()

    async def _wait_fetched(self, source: T) -> None:
        """Wait until a source is fetched. The first waiter starts the fetch; without waiters it is cancelled."""
        name = source.sha256
        task = self._fetches.get(name)
        if task is None:
            task = self._fetches[name] = asyncio.create_task(self._fetch(source))
            task.add_done_callback(lambda _: self._fetches.pop(name, None))
        self._waiters[name] = self._waiters.get(name, 0) + 1
        try:
            await asyncio.shield(task)
        finally:
            self._waiters[name] -= 1
            if not self._waiters[name]:
                del self._waiters[name]
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])

    async def _fetch(self, source: T) -> None:
        part = self._folder / f"{source.sha256}.part"
        try:
            await self._objects.get_file(source, part)
            part.rename(self._folder / source.sha256)
        finally:
            part.unlink(missing_ok=True)
        self._sizes[source.sha256] = source.size_bytes
        self._schedule_removal(source.sha256)

    def _schedule_removal(self, name: str) -> None:
        if removal := self._removals.pop(name, None):
            removal.cancel()
        self._removals[name] = asyncio.get_running_loop().call_later(self._keep_seconds, self._remove, name)

    def _evict(self) -> None:
        while len(self._sizes) > 1 and sum(self._sizes.values()) > self._max_bytes:
            self._remove(next(iter(self._sizes)))

    def _remove(self, name: str) -> None:
        self._removals.pop(name).cancel()
        del self._sizes[name]
        (self._folder / name).unlink(missing_ok=True)

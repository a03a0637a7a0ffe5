"""Sources: the clips and pictures that segments are made of, each fetched once for all segments that show it.

They lie here in plaintext, while the store encrypts them. What no segment has asked for lately is removed, so that an
upload that was deleted is gone from here soon after: no job uses it by then.
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
        """How many bytes it has."""


T = TypeVar("T", bound=Stored)
T_contra = TypeVar("T_contra", bound=Stored, contravariant=True)


class Objects(Protocol[T_contra]):
    """Where sources are kept."""

    async def get_file(self, source: T_contra, path: Path) -> None:
        """Write an object to a file."""


class Sources(Generic[T]):
    """Sources in a folder, those that were used within `keep_seconds`.

    Together they have at most `max_bytes`, or are one.
    """

    def __init__(self, objects: Objects[T], folder: Path, max_bytes: int, keep_seconds: float) -> None:
        self._objects = objects
        self._folder = folder
        self._max_bytes = max_bytes
        self._keep_seconds = keep_seconds
        self._ends: dict[str, asyncio.TimerHandle] = {}
        """When each file is removed, unless it is used before."""
        self._sizes: dict[str, int] = {}
        """Of the files that are here, in the order in which they were used."""
        self._coming: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, int] = {}

    async def link(self, source: T, path: Path) -> None:
        """Have a source at `path`, which stays even when the source is forgotten here."""
        name = source.sha256
        while name not in self._sizes:
            await self._arrival(source)
        # What was used last is forgotten last.
        self._sizes[name] = self._sizes.pop(name, source.size_bytes)
        os.link(self._folder / name, path)
        self._keep(name)
        self._forget()

    async def _arrival(self, source: T) -> None:
        """Wait until a source is here. Whoever asks first fetches it; when nobody waits any more, nobody does."""
        name = source.sha256
        task = self._coming.get(name)
        if task is None:
            task = self._coming[name] = asyncio.create_task(self._fetch(source))
            task.add_done_callback(lambda _: self._coming.pop(name, None))
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            await asyncio.shield(task)
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]
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
        self._keep(source.sha256)

    def _keep(self, name: str) -> None:
        if end := self._ends.pop(name, None):
            end.cancel()
        self._ends[name] = asyncio.get_running_loop().call_later(self._keep_seconds, self._remove, name)

    def _forget(self) -> None:
        while len(self._sizes) > 1 and sum(self._sizes.values()) > self._max_bytes:
            self._remove(next(iter(self._sizes)))

    def _remove(self, name: str) -> None:
        self._ends.pop(name).cancel()
        del self._sizes[name]
        (self._folder / name).unlink(missing_ok=True)

"""Blobs: sealed objects in any store that obstore speaks to: a folder or memory now, a bucket later."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore

from moneyprinter.errors import NotFound, ResourceExhausted, Unavailable

PART_BYTES = 5 * 1024 * 1024
PARTS_AT_ONCE = 2

CACHE = "cache/"
"""The first part of the names of what can be made again: it is kept for as long as somebody asks for it."""
# That it was asked for is noted no more often than this.
NOTED_SECONDS = 3600.0

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoreBlobs:
    """Blobs in an obstore store."""

    def __init__(self, store: LocalStore | MemoryStore) -> None:
        self._store = store

    async def write(self, name: str, parts: AsyncIterator[bytes]) -> None:
        """Keep all of `parts`, or nothing."""
        with _errors(name):
            # Left with an error, or by a cancelled call, it removes what it wrote.
            async with obstore.open_writer_async(
                self._store, name, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
            ) as writer:
                async for part in parts:
                    await writer.write(part)
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            await asyncio.to_thread(_harden, Path(self._store.prefix) / name)

    async def tail(self, name: str, length: int) -> tuple[bytes, int]:
        """The last bytes, and the size of all."""
        with _errors(name):
            found = await obstore.get_async(self._store, name, options={"range": {"suffix": length}})
            if name.startswith(CACHE) and time.time() - found.meta["last_modified"].timestamp() > NOTED_SECONDS:
                await self._note(name)
            return bytes(await found.bytes_async()), found.meta["size"]

    async def _note(self, name: str) -> None:
        """Note that a blob of the cache was asked for. Buckets have rules of their own for what is old."""
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            with suppress(FileNotFoundError):
                await asyncio.to_thread(os.utime, Path(self._store.prefix) / name)

    async def read(self, name: str, start: int, length: int) -> memoryview:
        """The bytes from `start`."""
        with _errors(name):
            return memoryview(await obstore.get_range_async(self._store, name, start=start, length=length))

    async def delete(self, name: str) -> None:
        """Forget a blob."""
        try:
            with _errors(name):
                await obstore.delete_async(self._store, name)
        except NotFound:
            return


def _harden(path: Path) -> None:
    """Let a new file survive a power cut, which obstore does not see to; it may be gone again already."""
    for place, kind in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        try:
            descriptor = os.open(place, kind)
        except FileNotFoundError:
            continue
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


async def expire(root: Path, before: float) -> None:
    """Remove what of the cache below `root` was last asked for `before` a time; it is made again when it is needed."""

    def remove() -> None:
        for path in (root / CACHE).rglob("*!"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()

    await asyncio.to_thread(remove)


async def sweep(root: Path, before: float) -> None:
    """Remove what puts that were cut with their process left below `root`, last written `before` a time."""

    def remove() -> None:
        # No name of ours has this mark; obstore writes beside the name, and renames.
        for path in root.rglob("*!#*"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    await asyncio.to_thread(remove)


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Translate what the store raises."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"there is no blob {name}", reason="OBJECT_NOT_FOUND") from None
    except (BaseError, OSError) as failure:
        # obstore tells what the system said in prose only.
        said = re.search(r"\(os error (\d+)\)", str(failure))
        if said and int(said[1]) in _FULL:
            raise ResourceExhausted(
                "the disk of the storage service is full; free some space and try again", reason="STORAGE_FULL"
            ) from None
        raise Unavailable(
            f"the store failed: {str(failure).splitlines()[0]}", reason="SERVICE_UNAVAILABLE"
        ) from failure

"""Blobs: sealed objects in any store that obstore speaks to: a folder or memory now, a bucket later."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore

from moneyprinter.errors import DataLoss, NotFound, ResourceExhausted, Unavailable
from services.storage.damage import CACHE
from services.storage.fences import FENCES, Entry

PART_BYTES = 5 * 1024 * 1024
PARTS_AT_ONCE = 2

ENTRIES_AT_ONCE = 1000

# That a blob of the cache was asked for is noted no more often than this.
NOTED_SECONDS = 3600.0

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A bad sector, and something else in the place of a file.
_UNREADABLE = (errno.EIO, errno.EISDIR)


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

    async def entries(self, folder: str) -> AsyncIterator[Sequence[Entry]]:
        """The blobs below a folder, some at a time, in no order."""
        with _errors(folder):
            if isinstance(self._store, LocalStore) and self._store.prefix is not None:
                root = Path(self._store.prefix)
                walk = _walk(root / folder, root)
                while found := await asyncio.to_thread(lambda: list(islice(walk, ENTRIES_AT_ONCE))):
                    yield found
                return
            async for some in obstore.list(self._store, folder, chunk_size=ENTRIES_AT_ONCE):
                yield [Entry(each["path"], each["last_modified"].timestamp()) for each in some]


def _walk(folder: Path, root: Path) -> Iterator[Entry]:
    """The blobs below a folder. What is removed meanwhile may be left out."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), root)
            # What a put under way writes has another mark behind it.
            elif entry.name.endswith("!"):
                with suppress(FileNotFoundError):
                    yield Entry(str(Path(entry.path).relative_to(root)), entry.stat().st_mtime)


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
    await _remove_old(root / CACHE, before)


async def expire_fences(root: Path, before: float) -> None:
    """Remove the fences below `root` that were raised `before` a time at which no writer that they stop still lives."""
    await _remove_old(root / FENCES, before)


async def _remove_old(folder: Path, before: float) -> None:
    def remove() -> None:
        for path in folder.rglob("*!"):
            with suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_mtime < before:
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
        if said and int(said[1]) in _UNREADABLE:
            raise DataLoss(
                f"the disk does not give back the blob {name}; restore it from a backup", reason="DATA_CORRUPT"
            ) from None
        raise Unavailable(
            f"the store failed: {str(failure).splitlines()[0]}", reason="SERVICE_UNAVAILABLE"
        ) from failure

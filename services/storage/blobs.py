"""Blobs: encrypted objects in a store of obstore: a folder or memory now, a bucket later."""

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
from services.storage.fences import FENCES, BlobEntry

PART_BYTES = 5 * 1024 * 1024
MAX_CONCURRENT_PARTS = 2

ENTRY_BATCH = 1000

# The use of a blob of the cache is recorded at most this often.
TOUCH_SECONDS = 3600.0

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A bad sector, or a folder in the place of a file.
_UNREADABLE = (errno.EIO, errno.EISDIR)


class ObstoreBlobs:
    """Blobs in an obstore store."""

    def __init__(self, store: LocalStore | MemoryStore) -> None:
        self._store = store

    async def write(self, name: str, parts: AsyncIterator[bytes]) -> None:
        """Store all of `parts`, or nothing. Raises `ResourceExhausted` when the disk is full."""
        with _errors(name):
            # When an error or a cancellation leaves this context, the writer removes what it wrote.
            async with obstore.open_writer_async(
                self._store, name, buffer_size=PART_BYTES, max_concurrency=MAX_CONCURRENT_PARTS
            ) as writer:
                async for part in parts:
                    await writer.write(part)
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            await asyncio.to_thread(_fsync, Path(self._store.prefix) / name)

    async def tail(self, name: str, length: int) -> tuple[bytes, int]:
        """Return the last `length` bytes, and the size of the blob. Raises `NotFound`."""
        with _errors(name):
            found = await obstore.get_async(self._store, name, options={"range": {"suffix": length}})
            if name.startswith(CACHE) and time.time() - found.meta["last_modified"].timestamp() > TOUCH_SECONDS:
                await self._touch(name)
            return bytes(await found.bytes_async()), found.meta["size"]

    async def _touch(self, name: str) -> None:
        """Record the use of a blob of the cache in its modification time. Buckets expire objects by their own rules."""
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            with suppress(FileNotFoundError):
                await asyncio.to_thread(os.utime, Path(self._store.prefix) / name)

    async def read(self, name: str, start: int, length: int) -> memoryview:
        """Return `length` bytes from `start`. Raises `NotFound`."""
        with _errors(name):
            return memoryview(await obstore.get_range_async(self._store, name, start=start, length=length))

    async def delete(self, name: str) -> None:
        """Delete a blob, if it exists."""
        try:
            with _errors(name):
                await obstore.delete_async(self._store, name)
        except NotFound:
            return

    async def entries(self, folder: str) -> AsyncIterator[Sequence[BlobEntry]]:
        """Yield batches of the blobs below a folder, in no order."""
        with _errors(folder):
            if isinstance(self._store, LocalStore) and self._store.prefix is not None:
                root = Path(self._store.prefix)
                walk = _walk(root / folder, root)
                while batch := await asyncio.to_thread(lambda: list(islice(walk, ENTRY_BATCH))):
                    yield batch
                return
            async for metas in obstore.list(self._store, folder, chunk_size=ENTRY_BATCH):
                yield [BlobEntry(meta["path"], meta["last_modified"].timestamp()) for meta in metas]


def _walk(folder: Path, root: Path) -> Iterator[BlobEntry]:
    """Yield the blobs below a folder. Blobs that are deleted meanwhile may be missing."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), root)
            # The temporary file of a running put has a suffix behind the `!`.
            elif entry.name.endswith("!"):
                with suppress(FileNotFoundError):
                    yield BlobEntry(str(Path(entry.path).relative_to(root)), entry.stat().st_mtime)


def _fsync(path: Path) -> None:
    """Flush a new file and its folder to disk, which obstore does not do. The file may have been deleted already."""
    for place, kind in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        try:
            descriptor = os.open(place, kind)
        except FileNotFoundError:
            continue
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


async def expire_cache(root: Path, before: float) -> None:
    """Delete the blobs of the cache below `root` whose last use was before a time; they are made again when needed."""
    await _delete_old(root / CACHE, before)


async def expire_fences(root: Path, before: float) -> None:
    """Delete the fences below `root` that were raised before a time, after which no writer that they stop is alive."""
    await _delete_old(root / FENCES, before)


async def _delete_old(folder: Path, before: float) -> None:
    def delete() -> None:
        for path in folder.rglob("*!"):
            with suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_mtime < before:
                    path.unlink()

    await asyncio.to_thread(delete)


async def delete_abandoned(root: Path, before: float) -> None:
    """Delete the temporary files of puts whose process died, last written before a time."""

    def delete() -> None:
        # obstore writes to `<name>#<number>`, and renames. The name of a blob ends with `!` and has no `#`.
        for path in root.rglob("*!#*"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    await asyncio.to_thread(delete)


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Map the exceptions of the store to errors of the platform."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"there is no blob {name}", reason="OBJECT_NOT_FOUND") from None
    except (BaseError, OSError) as failure:
        # obstore gives the error number of the system only in its message.
        number = re.search(r"\(os error (\d+)\)", str(failure))
        if number and int(number[1]) in _FULL:
            raise ResourceExhausted(
                "the disk of the storage service is full; free some space and try again", reason="STORAGE_FULL"
            ) from None
        if number and int(number[1]) in _UNREADABLE:
            raise DataLoss(
                f"the disk cannot read the blob {name}; restore it from a backup", reason="DATA_CORRUPT"
            ) from None
        raise Unavailable(
            f"the store failed: {str(failure).splitlines()[0]}", reason="SERVICE_UNAVAILABLE"
        ) from failure

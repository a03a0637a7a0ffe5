"""Blobs: encrypted objects in a store of obstore: a folder, memory, or a bucket of S3, Google Cloud or Azure."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Protocol

import obstore
from obstore.store import AzureStore, LocalStore, MemoryStore

from moneyprinter.errors import Conflict, NotFound
from services.storage.fences import BlobEntry
from services.storage.lifecycle import CACHE, TEMPORARY
from services.storage.store_errors import store_errors
from services.storage.stores import Store

PART_BYTES = 5 * 1024 * 1024
MAX_CONCURRENT_PARTS = 2

ENTRY_BATCH = 1000

# The use of a blob of the cache is recorded at most this often.
TOUCH_SECONDS = 3600.0


class VersionRemover(Protocol):
    """Removes what a bucket with versions keeps of a deleted blob."""

    async def remove_versions(self, name: str) -> None:
        """Delete all versions and delete markers of a blob."""


class ObstoreBlobs:
    """Blobs in an obstore store."""

    def __init__(self, store: Store, versions: VersionRemover | None = None) -> None:
        self._store = store
        self._versions = versions

    async def write(self, name: str, parts: AsyncIterator[bytes], *, only_new: bool = False) -> None:
        """Store all of `parts`, or nothing.

        Raises `ResourceExhausted` when the store is full, and `Conflict` when `only_new` is set and the blob exists.
        """
        with store_errors(name):
            if only_new:
                await self._create(name, parts)
            else:
                await self._stream(name, parts)
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            await asyncio.to_thread(_fsync, Path(self._store.prefix) / name)

    async def _stream(self, name: str, parts: AsyncIterator[bytes]) -> None:
        # When an error or a cancellation leaves this context, the writer removes what it wrote.
        async with obstore.open_writer_async(
            self._store, name, buffer_size=PART_BYTES, max_concurrency=MAX_CONCURRENT_PARTS
        ) as writer:
            async for part in parts:
                await writer.write(part)

    async def _create(self, name: str, parts: AsyncIterator[bytes]) -> None:
        """Store a new blob. Of several writers at once, one succeeds: the store checks the condition."""
        if await self._exists(name):
            raise Conflict(f"the blob {name} exists already", reason="OBJECT_CONFLICT")
        begin = bytearray()
        async for part in parts:
            begin += part
            if len(begin) > PART_BYTES:
                break
        else:
            await obstore.put_async(self._store, name, bytes(begin), mode="create", use_multipart=False)
            return

        async def rest() -> AsyncIterator[bytes]:
            yield bytes(begin)
            begin.clear()
            async for part in parts:
                yield part

        # No store completes a streamed upload under a condition; all of them copy under one.
        temporary = f"{TEMPORARY}{uuid.uuid4().hex}!"
        await self._stream(temporary, rest())
        try:
            await obstore.copy_async(self._store, temporary, name, overwrite=False)
        finally:
            await self.delete(temporary)

    async def _exists(self, name: str) -> bool:
        try:
            await obstore.head_async(self._store, name)
        except FileNotFoundError:
            return False
        return True

    async def tail(self, name: str, length: int) -> tuple[bytes, int]:
        """Return the last `length` bytes, and the size of the blob. Raises `NotFound`."""
        with store_errors(name):
            if isinstance(self._store, AzureStore):
                # Azure has no ranges that count from the end.
                size = (await obstore.head_async(self._store, name))["size"]
                start = max(0, size - length)
                return bytes(await obstore.get_range_async(self._store, name, start=start, end=size)), size
            found = await obstore.get_async(self._store, name, options={"range": {"suffix": length}})
            if name.startswith(CACHE) and time.time() - found.meta["last_modified"].timestamp() > TOUCH_SECONDS:
                await self._touch(name)
            return bytes(await found.bytes_async()), found.meta["size"]

    async def _touch(self, name: str) -> None:
        """Record the use of a blob of the cache in its modification time. A bucket has no such time that can be set."""
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            with suppress(FileNotFoundError):
                await asyncio.to_thread(os.utime, Path(self._store.prefix) / name)

    async def read(self, name: str, start: int, length: int) -> memoryview:
        """Return `length` bytes from `start`. Raises `NotFound`."""
        with store_errors(name):
            return memoryview(await obstore.get_range_async(self._store, name, start=start, length=length))

    async def delete(self, name: str) -> None:
        """Delete a blob, if it exists, and its versions, where the bucket keeps them and this service may list them."""
        with suppress(NotFound), store_errors(name):
            await obstore.delete_async(self._store, name)
        if self._versions is not None:
            await self._versions.remove_versions(name)

    async def entries(self, folder: str) -> AsyncIterator[Sequence[BlobEntry]]:
        """Yield batches of the blobs below a folder, in no order."""
        with store_errors(folder):
            if isinstance(self._store, LocalStore) and self._store.prefix is not None:
                root = Path(self._store.prefix)
                walk = _walk(root / folder, root)
                while batch := await asyncio.to_thread(lambda: list(islice(walk, ENTRY_BATCH))):
                    yield batch
                return
            async for metas in obstore.list(self._store, folder, chunk_size=ENTRY_BATCH):
                yield [
                    BlobEntry(meta["path"], meta["last_modified"].timestamp())
                    for meta in metas
                    # Other tools may keep objects of their own in a bucket.
                    if meta["path"].endswith("!")
                ]

    async def names_after(self, name: str, count: int) -> Sequence[str]:
        """Return the first `count` names that follow `name` in the order of the store; empty: from the beginning."""
        with store_errors(name):
            if isinstance(self._store, LocalStore) and self._store.prefix is not None:
                root, after = Path(self._store.prefix), tuple(name.split("/")) if name else ()
                return await asyncio.to_thread(lambda: list(islice(_walk_sorted(root, "", after), count)))
            found: list[str] = []
            is_sorted = not isinstance(self._store, MemoryStore)
            # The order of a bucket is its own: SeaweedFS lists `a/b!` before `a!`.
            async for metas in obstore.list(self._store, offset=name or None, chunk_size=count):
                found += [meta["path"] for meta in metas if meta["path"].endswith("!")]
                if is_sorted and len(found) >= count:
                    break
            return (found if is_sorted else sorted(found))[:count]


def _walk_sorted(folder: Path, prefix: str, after: tuple[str, ...]) -> Iterator[str]:
    """Yield the names of blobs below a folder, in the order of the parts of their paths, that follow `after`."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, is_folder in entries:
        if after and name < after[0]:
            continue
        rest = after[1:] if after and name == after[0] else ()
        if is_folder:
            yield from _walk_sorted(folder / name, f"{prefix}{name}/", rest)
        elif name.endswith("!") and not (after and name == after[0]):
            yield f"{prefix}{name}"


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


async def delete_abandoned(root: Path, before: float) -> None:
    """Delete the temporary files of puts whose process died, last written before a time."""

    def delete() -> None:
        # obstore writes to `<name>#<number>`, and renames. The name of a blob ends with `!` and has no `#`.
        for path in root.rglob("*!#*"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    await asyncio.to_thread(delete)

"""Clips: receive a file from a user, check that it is a usable clip, and store it for the other services."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from moneyprinter.errors import InvalidArgument
from services.runtime.progress import OnProgress, ignore_progress, part_of
from services.validation import sounds
from services.validation.probe import ClipFacts, ProbeLimits, TimeRange, probe

# The progress when the file has been received, and when it has been probed.
RECEIVED, PROBED = 0.8, 0.9
PROGRESS_STEP = 0.01


@dataclass(frozen=True)
class StoredObject:
    """A stored object."""

    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ValidatedClip:
    """A usable clip that is stored."""

    stored: StoredObject
    facts: ClipFacts


@dataclass(frozen=True)
class ProbedClip:
    """A usable clip that is not stored."""

    sha256: str
    size_bytes: int
    facts: ClipFacts


@dataclass(frozen=True)
class Download:
    """A file that is being received."""

    size_bytes: int | None
    """The size that the sender declares; None when it declares none."""
    chunks: AsyncIterator[bytes]


class Fetcher(Protocol):
    """Fetches clips from the web."""

    def open(self, address: str) -> AbstractAsyncContextManager[Download]:
        """Open the file at an address. Raises `InvalidArgument` when it cannot be fetched."""


class Objects(Protocol):
    """The object store."""

    async def head(self, key: str) -> Any | None:
        """Describe an object; None when there is none."""

    async def get_file(self, source: Any, path: Path) -> None:
        """Write an object to a file. Raises `DataLoss` when its checksum is another one."""

    async def put_file(self, key: str, path: Path) -> Any:
        """Store a file."""


@dataclass(frozen=True)
class ReceivedFile:
    """A file that has been received."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ClipValidator:
    """Checks clips from the web, from the object store and from streams of bytes."""

    fetcher: Fetcher
    objects: Objects
    scratch: Callable[[], AbstractAsyncContextManager[Path]]
    limits: ProbeLimits
    max_bytes: int
    probe_turn: Callable[[], AbstractAsyncContextManager[None]]
    """Waits for a turn to probe a clip, and holds it while the context is open."""

    async def validate(
        self, source: str | StoredObject, time_range: TimeRange, on_progress: OnProgress = ignore_progress
    ) -> ValidatedClip:
        """Check a clip and store it. Returns the stored clip.

        Args:
            source: The address of the clip, or the upload.
            time_range: The part of the clip that is requested.
            on_progress: Receives the progress, from 0 to 1.

        Raises `InvalidArgument` with one of the CLIP reasons when the clip cannot be used, and `NotFound` when there is
        no such upload.
        """
        async with self.scratch() as folder:
            probed = await self._check(source, time_range, folder / "clip", on_progress)
            on_progress(PROBED)
            return ValidatedClip(await self._store(source, probed, folder / "clip"), probed.facts)

    async def probe(self, source: str | StoredObject | AsyncIterator[bytes], time_range: TimeRange) -> ProbedClip:
        """Check a clip at an address, an upload, or a stream of bytes, and store nothing.

        Raises what `validate` raises.
        """
        async with self.scratch() as folder:
            return await self._check(source, time_range, folder / "clip", ignore_progress)

    async def probe_sound(self, source: StoredObject, start_seconds: float) -> float:
        """Check the sound of an upload. Returns its seconds from a start to its end.

        Raises `InvalidArgument` with one of the SOUND reasons when it cannot be used, and `NotFound` when there is no
        such upload.
        """
        _check_size(source.size_bytes, self.max_bytes)
        async with self.scratch() as folder, self.probe_turn():
            await self.objects.get_file(source, folder / "sound")
            return await sounds.probe_sound(folder / "sound", start_seconds, self.limits)

    async def _check(
        self,
        source: str | StoredObject | AsyncIterator[bytes],
        time_range: TimeRange,
        path: Path,
        on_progress: OnProgress,
    ) -> ProbedClip:
        """Write a clip to a file and probe it."""
        _check_order(time_range)
        if isinstance(source, StoredObject):
            _check_size(source.size_bytes, self.max_bytes)
            # The turn covers both steps, so that some clips are probed while others are received.
            async with self.probe_turn():
                await self.objects.get_file(source, path)
                on_progress(RECEIVED)
                facts = await probe(path, time_range, self.limits)
            return ProbedClip(source.sha256, source.size_bytes, facts)
        async with self._download(source) as download:
            received = await _receive(download, path, self.max_bytes, part_of(on_progress, 0, RECEIVED))
        async with self.probe_turn():
            facts = await probe(path, time_range, self.limits)
        return ProbedClip(received.sha256, received.size_bytes, facts)

    def _download(self, source: str | AsyncIterator[bytes]) -> AbstractAsyncContextManager[Download]:
        return self.fetcher.open(source) if isinstance(source, str) else nullcontext(Download(None, source))

    async def _store(self, source: str | StoredObject, probed: ProbedClip, path: Path) -> StoredObject:
        """Store a fetched clip under the hash of its bytes. An upload stays where it is."""
        if isinstance(source, StoredObject):
            return source
        key = f"cache/validation/{probed.sha256}.bin"
        if await self.objects.head(key) is None:
            await self.objects.put_file(key, path)
        return StoredObject(key, probed.sha256, probed.size_bytes)


def _check_order(time_range: TimeRange) -> None:
    if time_range.end_seconds is not None and time_range.end_seconds <= time_range.start_seconds:
        raise InvalidArgument(
            f"the requested part ends at {time_range.end_seconds:.2f} s, before it starts at "
            f"{time_range.start_seconds:.2f} s",
            reason="CLIP_RANGE_INVALID",
        )


async def _receive(download: Download, path: Path, max_bytes: int, on_progress: OnProgress) -> ReceivedFile:
    """Write a download to a file, and report the fraction that has arrived."""
    _check_size(download.size_bytes or 0, max_bytes)
    expected = download.size_bytes or max_bytes
    digest, size_bytes, reported = hashlib.sha256(), 0, 0.0
    with path.open("xb") as file:
        async for chunk in download.chunks:
            size_bytes += len(chunk)
            _check_size(size_bytes, max_bytes)
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
            fraction = min(1.0, size_bytes / expected)
            if fraction >= reported + PROGRESS_STEP:
                reported = fraction
                on_progress(fraction)
    return ReceivedFile(digest.hexdigest(), size_bytes)


def _check_size(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise InvalidArgument(
            f"the clip is larger than {max_bytes / 1e6:.0f} MB, which is the limit; shorten or compress it",
            reason="CLIP_TOO_LARGE",
        )

"""Clips: take what a user handed in, check it, and keep it where the other services find it."""

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
from services.validation.probe import Bounds, Facts, Part, probe

# The parts of the work that are done when the bytes are here, and when they were read.
FETCHED, PROBED = 0.8, 0.9
PROGRESS_STEP = 0.01


@dataclass(frozen=True)
class Stored:
    """A stored object."""

    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Clip:
    """A clip that was found good."""

    stored: Stored
    facts: Facts


@dataclass(frozen=True)
class Probed:
    """A clip that was found good, and was not kept."""

    sha256: str
    size_bytes: int
    facts: Facts


@dataclass(frozen=True)
class Download:
    """Bytes that are on their way here."""

    size_bytes: int | None
    """How many, as far as their sender says."""
    chunks: AsyncIterator[bytes]


class Web(Protocol):
    """Where clips are fetched from."""

    def open(self, address: str) -> AbstractAsyncContextManager[Download]:
        """Open what is at an address. Raises InvalidArgument."""


class Objects(Protocol):
    """Where clips are kept."""

    async def head(self, key: str) -> Any | None:
        """Describe an object; None when there is none."""

    async def get_file(self, source: Any, path: Path) -> None:
        """Write an object to a file. Raises DataLoss when it is not the one that is meant."""

    async def put_file(self, key: str, path: Path) -> Any:
        """Store a file."""


@dataclass(frozen=True)
class Landed:
    """What has arrived."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Desk:
    """What clips are checked with."""

    web: Web
    objects: Objects
    scratch: Callable[[], AbstractAsyncContextManager[Path]]
    bounds: Bounds
    max_bytes: int
    reading: Callable[[], AbstractAsyncContextManager[None]]
    """Waits for its turn to read a clip, and holds it while the context is open."""

    async def validate(self, source: str | Stored, part: Part, on_progress: OnProgress = ignore_progress) -> Clip:
        """Check a clip at an address, or an uploaded one. Returns the clip.

        Raises `InvalidArgument` with one of the CLIP reasons, `NotFound` when there is no such upload.
        """
        async with self.scratch() as folder:
            probed = await self._checked(source, part, folder / "clip", on_progress)
            on_progress(PROBED)
            return Clip(await self._kept(source, probed, folder / "clip"), probed.facts)

    async def probe(self, source: str | Stored | AsyncIterator[bytes], part: Part) -> Probed:
        """Check a clip at an address, an uploaded one, or one whose bytes come, and keep nothing of it.

        Raises what `validate` raises.
        """
        async with self.scratch() as folder:
            return await self._checked(source, part, folder / "clip", ignore_progress)

    async def _checked(
        self, source: str | Stored | AsyncIterator[bytes], part: Part, path: Path, on_progress: OnProgress
    ) -> Probed:
        """Write a clip to a file, and read it."""
        _check_order(part)
        if isinstance(source, Stored):
            _check_size(source.size_bytes, self.max_bytes)
            # A slot for both: some are read while others are on their way.
            async with self.reading():
                await self.objects.get_file(source, path)
                on_progress(FETCHED)
                facts = await probe(path, part, self.bounds)
            return Probed(source.sha256, source.size_bytes, facts)
        async with self._download(source) as download:
            landed = await _land(download, path, self.max_bytes, part_of(on_progress, 0, FETCHED))
        async with self.reading():
            facts = await probe(path, part, self.bounds)
        return Probed(landed.sha256, landed.size_bytes, facts)

    def _download(self, source: str | AsyncIterator[bytes]) -> AbstractAsyncContextManager[Download]:
        return self.web.open(source) if isinstance(source, str) else nullcontext(Download(None, source))

    async def _kept(self, source: str | Stored, probed: Probed, path: Path) -> Stored:
        """Where the clip is kept: an upload where it is, what was fetched under the hash of its bytes."""
        if isinstance(source, Stored):
            return source
        key = f"cache/validation/{probed.sha256}.bin"
        if await self.objects.head(key) is None:
            await self.objects.put_file(key, path)
        return Stored(key, probed.sha256, probed.size_bytes)


def _check_order(part: Part) -> None:
    if part.end_seconds is not None and part.end_seconds <= part.start_seconds:
        raise InvalidArgument(
            f"the wanted part ends at {part.end_seconds:.2f} s, before it starts at {part.start_seconds:.2f} s",
            reason="CLIP_RANGE_INVALID",
        )


async def _land(download: Download, path: Path, max_bytes: int, on_progress: OnProgress) -> Landed:
    """Write bytes to a file. Returns what has arrived."""
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
    return Landed(digest.hexdigest(), size_bytes)


def _check_size(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise InvalidArgument(
            f"the clip is larger than {max_bytes / 1e6:.0f} MB, the most that is taken; shorten or compress it",
            reason="CLIP_TOO_LARGE",
        )

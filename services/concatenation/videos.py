"""Videos: fetch segments, join them and keep the joined video, or find one that was joined before."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from itertools import islice, starmap
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from moneyprinter.errors import NotFound
from services.concatenation import join
from services.concatenation.segments import Formats, Segment, check_alike, inspect
from services.runtime.progress import OnProgress, ignore_progress, part_of

# The parts of the work that are done when the segments are here, and when they are joined.
FETCHED, JOINED = 0.6, 0.9
# So many segments are on their way at once.
AT_ONCE = 4


class Stored(Protocol):
    """A stored object."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of its bytes."""


T = TypeVar("T", bound=Stored)


class Objects(Protocol[T]):
    """Where segments and videos are kept."""

    async def head(self, key: str) -> T | None:
        """Describe an object; None when there is none."""

    async def get_file(self, source: T, path: Path) -> None:
        """Write an object to a file."""

    async def put_file(self, key: str, path: Path) -> T:
        """Store a file."""


@dataclass(frozen=True)
class Video(Generic[T]):
    """A joined video."""

    stored: T
    frame_count: int


@dataclass(frozen=True)
class Joiner(Generic[T]):
    """What segments are joined with."""

    objects: Objects[T]
    scratch: Callable[[], AbstractAsyncContextManager[Path]]
    ffmpeg: Path
    version: str
    """What ffmpeg says of itself."""

    async def join(self, segments: Sequence[T], on_progress: OnProgress = ignore_progress) -> Video[T]:
        """Join stored segments. Returns the video.

        Raises `FailedPrecondition` when they cannot be joined without encoding them again.
        """
        key = f"cache/concatenation/{self._hash(segments)}.mp4"
        async with self.scratch() as folder:
            if found := await self.objects.head(key):
                try:
                    await self.objects.get_file(found, folder / join.JOINED)
                except NotFound:
                    # It was damaged, and is joined again.
                    (folder / join.JOINED).unlink()
                else:
                    return Video(found, await asyncio.to_thread(join.count, folder / join.JOINED))
            on_progress(0.0)
            opened: list[Segment] = []
            async with aclosing(self._opened(segments, folder)) as opening:
                async for segment in opening:
                    opened.append(segment)
                    on_progress(FETCHED * len(opened) / len(segments))
            check_alike(opened)
            await join.join(opened, folder, self.ffmpeg, part_of(on_progress, FETCHED, JOINED))
            stored = await self.objects.put_file(key, folder / join.JOINED)
            return Video(stored, sum(segment.frames for segment in opened))

    async def _opened(self, segments: Sequence[T], folder: Path) -> AsyncGenerator[Segment, None]:
        """Fetch segments, some at once, and look what each is; in their order."""
        formats: Formats = {}

        async def opened(place: int, segment: T) -> Segment:
            path = folder / join.name(place)
            await self.objects.get_file(segment, path)
            return await asyncio.to_thread(inspect, path, place, formats)

        left = starmap(opened, enumerate(segments, 1))
        coming = deque(map(asyncio.ensure_future, islice(left, AT_ONCE)))
        try:
            while coming:
                yield await coming[0]
                coming.popleft()
                coming.extend(map(asyncio.ensure_future, islice(left, 1)))
        finally:
            for task in coming:
                task.cancel()
            await asyncio.gather(*coming, return_exceptions=True)

    def _hash(self, segments: Sequence[T]) -> str:
        lines = [f"{join.VERSION} {self.version}", *(segment.sha256 for segment in segments)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

"""Videos: fetch segments, join them and store the joined video, or find a video that was joined before."""

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
from services.concatenation.segments import PixelFormats, Segment, check_compatible, read_segment
from services.runtime.progress import OnProgress, ignore_progress, part_of

# The parts of the whole work that are done when the segments are fetched, and when they are joined.
FETCHED, JOINED = 0.6, 0.9
# How many segments are fetched at once.
PARALLEL_FETCHES = 4


class Stored(Protocol):
    """A stored object."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of its bytes."""


T = TypeVar("T", bound=Stored)


class Objects(Protocol[T]):
    """The store of segments and videos."""

    async def head(self, key: str) -> T | None:
        """Returns the description of an object, or None when there is none."""

    async def get_file(self, source: T, path: Path) -> None:
        """Write an object to a file."""

    async def put_file(self, key: str, path: Path) -> T:
        """Store a file."""


@dataclass(frozen=True)
class JoinedVideo(Generic[T]):
    """A joined video."""

    stored: T
    frame_count: int


@dataclass(frozen=True)
class Joiner(Generic[T]):
    """Joins stored segments."""

    objects: Objects[T]
    scratch: Callable[[], AbstractAsyncContextManager[Path]]
    ffmpeg: Path
    version: str
    """The version line of ffmpeg."""

    async def join(self, segments: Sequence[T], on_progress: OnProgress = ignore_progress) -> JoinedVideo[T]:
        """Join stored segments, or find the joined video. `on_progress` receives the part that is done, 0 to 1.

        Raises `FailedPrecondition` when they cannot be joined without another encode.
        """
        key = self._cache_key(segments)
        async with self.scratch() as folder:
            if found := await self.objects.head(key):
                try:
                    await self.objects.get_file(found, folder / join.JOINED)
                except NotFound:
                    # The stored video was damaged; it is joined again.
                    (folder / join.JOINED).unlink()
                else:
                    return JoinedVideo(found, await asyncio.to_thread(join.count_frames, folder / join.JOINED))
            on_progress(0.0)
            fetched: list[Segment] = []
            async with aclosing(self._fetch_segments(segments, folder)) as fetching:
                async for segment in fetching:
                    fetched.append(segment)
                    on_progress(FETCHED * len(fetched) / len(segments))
            check_compatible(fetched)
            await join.join_segments(fetched, folder, self.ffmpeg, part_of(on_progress, FETCHED, JOINED))
            stored = await self.objects.put_file(key, folder / join.JOINED)
            return JoinedVideo(stored, sum(segment.frame_count for segment in fetched))

    async def _fetch_segments(self, segments: Sequence[T], folder: Path) -> AsyncGenerator[Segment, None]:
        """Fetch segments, `PARALLEL_FETCHES` at once. Yields their properties, in order."""
        pixel_formats: PixelFormats = {}

        async def fetch(number: int, segment: T) -> Segment:
            path = folder / join.segment_file(number)
            await self.objects.get_file(segment, path)
            return await asyncio.to_thread(read_segment, path, number, pixel_formats)

        pending = starmap(fetch, enumerate(segments, 1))
        fetches = deque(map(asyncio.ensure_future, islice(pending, PARALLEL_FETCHES)))
        try:
            while fetches:
                yield await fetches[0]
                fetches.popleft()
                fetches.extend(map(asyncio.ensure_future, islice(pending, 1)))
        finally:
            for task in fetches:
                task.cancel()
            await asyncio.gather(*fetches, return_exceptions=True)

    def _cache_key(self, segments: Sequence[T]) -> str:
        lines = [f"{join.VERSION} {self.version}", *(segment.sha256 for segment in segments)]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        return f"cache/concatenation/{digest}.mp4"

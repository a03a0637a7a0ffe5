"""Segments: find a segment that was rendered before, or fetch its sources, render it and store it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog

from moneyprinter.errors import Error, NotFound
from services.processing import command, fragment, graph, streaming
from services.processing.fragment import Fragment
from services.processing.render import Tool, render
from services.processing.scheduler import RenderScheduler, estimate_memory
from services.processing.source import Source
from services.processing.source_cache import SourceCache, Stored
from services.processing.spec import Spec
from services.processing.streaming import Encoder
from services.runtime.progress import OnProgress, ignore_progress, part_of, rising

log = structlog.get_logger()

# The part of the work that is done when the segment is rendered but not yet stored.
RENDERED = 0.98

T = TypeVar("T", bound=Stored)
T_co = TypeVar("T_co", bound=Stored, covariant=True)


class Objects(Protocol[T_co]):
    """The store of segments."""

    async def head(self, key: str) -> T_co | None:
        """Returns the description of an object, or None when there is none."""

    async def get_bytes(self, key: str, offset: int = 0, length: int = 0) -> bytes:
        """Returns `length` bytes of an object from `offset` on; 0: up to its end."""

    async def put_file(self, key: str, path: Path) -> T_co:
        """Store a file."""


@dataclass(frozen=True)
class RenderRequest(Generic[T]):
    """The request for a segment."""

    sources: tuple[tuple[T, Source], ...]
    """The distinct sources. The spec refers to them by their index."""
    spec: Spec
    identity: bytes
    """All that the bytes of the segment depend on, with the hashes of its sources, and nothing else."""
    priority: int = 0
    """Requests with a higher priority are rendered first."""
    is_first: bool = False
    """Whether it is the first segment of its video: viewers of an unfinished video wait for it."""


@dataclass(frozen=True)
class Segment(Generic[T]):
    """A rendered segment."""

    videos: tuple[T, ...]
    """In the size of the canvas, then in the other sizes."""
    fragment: Fragment
    reused: bool
    """Whether it was found in the store instead of rendered."""


@dataclass(frozen=True)
class SegmentRenderer(Generic[T]):
    """Renders segments and stores them."""

    objects: Objects[T]
    sources: SourceCache[T]
    scratch: Callable[[], AbstractAsyncContextManager[Path]]
    tool: Tool
    scheduler: RenderScheduler
    encoder: Encoder | None = None

    async def render(self, request: RenderRequest[T], on_progress: OnProgress = ignore_progress) -> Segment[T]:
        """Render a segment, or find it in the store. `on_progress` receives the part that is done, 0 to 1.

        Raises `ResourceExhausted` when too many renders are admitted, `FailedPrecondition` when it cannot be rendered.
        """
        sources = [source for _, source in request.sources]
        need_bytes = estimate_memory(request.spec, sources)
        niceness = 0 if request.is_first else self.tool.niceness
        threads = self.scheduler.threads(need_bytes, is_first=request.is_first)
        tool = replace(self.tool, threads=threads, niceness=niceness)
        with ExitStack() as stack:
            # The first segment queues before its sources are here, so that renders which have theirs do not pass it.
            turn = stack.enter_context(self._queued(request)) if request.is_first else None
            keys = await asyncio.to_thread(_object_keys, request, tool)
            if stored := await self._find_stored(keys):
                return stored
            stack.enter_context(self.scheduler.admission(request.priority))
            on_progress(0.0)
            async with self.scratch() as folder:
                for index, (stored_source, _) in enumerate(request.sources):
                    await self.sources.link(stored_source, folder / graph.source_name(index))
                turn = turn or stack.enter_context(self._queued(request))
                report = part_of(on_progress, 0, RENDERED)
                async with self.scheduler.slot(need_bytes, turn, is_first=request.is_first):
                    rendered = await self._render(request.spec, sources, folder, tool, report)
                # The first file is stored last: where it is found, the others are there too.
                files = list(zip(keys, command.segment_files(request.spec), strict=True))
                videos = [await self.objects.put_file(key, folder / name) for key, name in reversed(files)]
        return Segment(tuple(reversed(videos)), rendered, reused=False)

    def _queued(self, request: RenderRequest[T]) -> AbstractContextManager[asyncio.Event]:
        return self.scheduler.queued(is_first=request.is_first, priority=request.priority)

    async def _render(
        self, spec: Spec, sources: Sequence[Source], folder: Path, tool: Tool, on_progress: OnProgress
    ) -> Fragment:
        """Render with the encoder service where it is free, and otherwise, or when it fails, in this service alone."""
        report = rising(on_progress)
        if self.encoder and await self.encoder.is_free(spec.codec):
            try:
                return await streaming.render(spec, sources, folder, tool, self.encoder, report)
            except Error as failure:
                log.warning("encoder failed, encoding here", reason=failure.reason, message=failure.message)
        return await render(spec, sources, folder, tool, report)

    async def _find_stored(self, keys: Sequence[str]) -> Segment[T] | None:
        first = await self.objects.head(keys[0])
        if first is None:
            return None
        try:
            head = fragment.parse_fragment(await self.objects.get_bytes(keys[0], 0, fragment.HEAD_BYTES))
        except NotFound:
            # The stored file was damaged; the segment is rendered again.
            return None
        others = await asyncio.gather(*map(self.objects.head, keys[1:]))
        videos = (first, *(other for other in others if other is not None))
        return Segment(videos, head, reused=True) if head and len(videos) == len(keys) else None


def _object_keys(request: RenderRequest[T], tool: Tool) -> list[str]:
    digest = hashlib.sha256(tool.identity(request.spec.captions_ass).encode() + b"\0" + request.identity).hexdigest()
    name = f"cache/processing/{digest}"
    return [f"{name}.mp4", *(f"{name}-{size.width}x{size.height}.mp4" for size in request.spec.renditions)]

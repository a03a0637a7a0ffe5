"""Segments: find a segment that was rendered before, or fetch its sources, render it and keep it."""

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
from services.processing import fragment, graph, picture, streaming
from services.processing.cores import Cores, need
from services.processing.fragment import Fragment
from services.processing.render import Tool, render
from services.processing.source import Source
from services.processing.sources import Sources, Stored
from services.processing.spec import Spec
from services.processing.streaming import Encoder
from services.runtime.progress import OnProgress, ignore_progress, part_of, rising

log = structlog.get_logger()

# The part of the work that is done when the segment is rendered, and only to be stored.
RENDERED = 0.98

T = TypeVar("T", bound=Stored)
T_co = TypeVar("T_co", bound=Stored, covariant=True)


class Objects(Protocol[T_co]):
    """Where segments are kept."""

    async def head(self, key: str) -> T_co | None:
        """Describe an object; None when there is none."""

    async def get_bytes(self, key: str, offset: int = 0, length: int = 0) -> bytes:
        """A part of an object."""

    async def put_file(self, key: str, path: Path) -> T_co:
        """Store a file."""


@dataclass(frozen=True)
class Order(Generic[T]):
    """A segment that is wanted."""

    sources: tuple[tuple[T, Source], ...]
    """What the spec means when it names a source by its place; each once."""
    spec: Spec
    identity: bytes
    """All that the segment's bytes depend on, its sources' hashes among it, and nothing else."""
    priority: int = 0
    """Before which others it is rendered: before those with lower numbers."""
    is_first: bool = False
    """Whether the video begins with it: who watches while it renders waits for this one."""


@dataclass(frozen=True)
class Segment(Generic[T]):
    """A rendered segment."""

    videos: tuple[T, ...]
    """In the canvas's size, then in the other sizes."""
    fragment: Fragment
    reused: bool
    """Whether it was found, not rendered."""


@dataclass(frozen=True)
class Studio(Generic[T]):
    """What segments are rendered with."""

    objects: Objects[T]
    sources: Sources[T]
    scratch: Callable[[], AbstractAsyncContextManager[Path]]
    tool: Tool
    cores: Cores
    encoder: Encoder | None = None

    async def render(self, order: Order[T], on_progress: OnProgress = ignore_progress) -> Segment[T]:
        """Render a segment. Returns it.

        Raises `ResourceExhausted` when too much is under way, `FailedPrecondition` when it cannot be rendered.
        """
        looks = [source for _, source in order.sources]
        need_bytes = need(order.spec, looks)
        niceness = 0 if order.is_first else self.tool.niceness
        tool = replace(self.tool, threads=self.cores.threads(need_bytes, is_first=order.is_first), niceness=niceness)
        with ExitStack() as standing:
            # Not behind those that happen to have their sources sooner.
            turn = standing.enter_context(self._in_line(order)) if order.is_first else None
            keys = await asyncio.to_thread(_keys, order, tool)
            if found := await self._found(keys):
                return found
            standing.enter_context(self.cores.admitted(order.priority))
            on_progress(0.0)
            async with self.scratch() as folder:
                for place, (stored, _) in enumerate(order.sources):
                    await self.sources.link(stored, folder / graph.source_name(place))
                turn = turn or standing.enter_context(self._in_line(order))
                report = part_of(on_progress, 0, RENDERED)
                async with self.cores.taken(need_bytes, turn, is_first=order.is_first):
                    made = await self._rendered(order.spec, looks, folder, tool, report)
                # The first comes last: who finds it finds the others.
                files = list(zip(keys, picture.files(order.spec), strict=True))
                videos = [await self.objects.put_file(key, folder / name) for key, name in reversed(files)]
        return Segment(tuple(reversed(videos)), made, reused=False)

    def _in_line(self, order: Order[T]) -> AbstractContextManager[asyncio.Event]:
        return self.cores.in_line(is_first=order.is_first, priority=order.priority)

    async def _rendered(
        self, spec: Spec, looks: Sequence[Source], folder: Path, tool: Tool, on_progress: OnProgress
    ) -> Fragment:
        """Have an encoder with a GPU do its part, if there is one; do without it when there is none, or it fails."""
        report = rising(on_progress)
        if self.encoder and await self.encoder.is_free(spec.codec):
            try:
                return await streaming.render(spec, looks, folder, tool, self.encoder, report)
            except Error as failure:
                log.warning("encoder failed, encoding here", reason=failure.reason, message=failure.message)
        return await render(spec, looks, folder, tool, report)

    async def _found(self, keys: Sequence[str]) -> Segment[T] | None:
        first = await self.objects.head(keys[0])
        if first is None:
            return None
        try:
            made = fragment.read(await self.objects.get_bytes(keys[0], 0, fragment.HEAD_BYTES))
        except NotFound:
            # It was damaged, and is rendered again.
            return None
        others = await asyncio.gather(*map(self.objects.head, keys[1:]))
        videos = (first, *(other for other in others if other is not None))
        return Segment(videos, made, reused=True) if made and len(videos) == len(keys) else None


def _keys(order: Order[T], tool: Tool) -> list[str]:
    digest = hashlib.sha256(tool.identity(order.spec.captions_ass).encode() + b"\0" + order.identity).hexdigest()
    name = f"cache/processing/{digest}"
    return [f"{name}.mp4", *(f"{name}-{size.width}x{size.height}.mp4" for size in order.spec.renditions)]

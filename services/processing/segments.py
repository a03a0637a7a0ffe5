"""Segments: find a segment that was rendered before, or fetch its sources, render it and keep it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from moneyprinter.errors import ResourceExhausted
from services.processing import graph, picture
from services.processing.render import Tool, render
from services.processing.source import Source, look
from services.processing.spec import Spec

# How many sources are remembered, so that each is looked at once, not once a segment.
KNOWN_SOURCES = 1000

# The part of the work that is done when the segment is rendered, and only to be stored.
RENDERED = 0.98


class Stored(Protocol):
    """A stored object."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of its bytes."""


T = TypeVar("T", bound=Stored)


class Objects(Protocol[T]):
    """Where sources and segments are kept."""

    async def head(self, key: str) -> T | None:
        """Describe an object; None when there is none."""

    async def get_file(self, source: T, path: Path) -> None:
        """Write an object to a file."""

    async def put_file(self, key: str, path: Path) -> T:
        """Store a file."""


@dataclass(frozen=True)
class Order(Generic[T]):
    """A segment that is wanted."""

    sources: tuple[T, ...]
    """What the spec means when it names a source by its place; each once."""
    spec: Spec
    identity: bytes
    """All that the segment's bytes depend on, its sources' hashes among it, and nothing else."""


@dataclass(frozen=True)
class Segment(Generic[T]):
    """A rendered segment."""

    video: T
    frame_count: int
    reused: bool
    """Whether it was found, not rendered."""


class Studio(Generic[T]):
    """Renders at most `slots` segments at once."""

    def __init__(
        self,
        objects: Objects[T],
        scratch: Callable[[], AbstractAsyncContextManager[Path]],
        tool: Tool,
        slots: int,
    ) -> None:
        self._objects = objects
        self._scratch = scratch
        self._tool = tool
        self._slots = slots
        self._busy = 0
        self._sources: dict[str, Source] = {}

    async def render(self, order: Order[T]) -> AsyncGenerator[float | Segment[T], None]:
        """Render a segment: yields the part of the work that is done, then the segment.

        Raises ResourceExhausted when all slots are taken, FailedPrecondition when it cannot be rendered.
        """
        key = f"cache/processing/{self._hash(order.identity)}.mp4"
        if found := await self._objects.head(key):
            yield Segment(found, order.spec.frame_count, reused=True)
            return
        with self._slot():
            yield 0.0
            async with self._scratch() as folder:
                sources = [
                    await self._fetch(source, folder / graph.source_name(place))
                    for place, source in enumerate(order.sources)
                ]
                async with aclosing(render(order.spec, sources, folder, self._tool)) as rendering:
                    async for fraction in rendering:
                        yield fraction * RENDERED
                stored = await self._objects.put_file(key, folder / picture.SEGMENT)
        yield Segment(stored, order.spec.frame_count, reused=False)

    def _hash(self, identity: bytes) -> str:
        return hashlib.sha256(self._tool.identity.encode() + b"\0" + identity).hexdigest()

    async def _fetch(self, stored: T, file: Path) -> Source:
        await self._objects.get_file(stored, file)
        source = self._sources.get(stored.sha256)
        if source is None:
            source = self._sources[stored.sha256] = await look(file, self._tool.max_pixels)
            if len(self._sources) > KNOWN_SOURCES:
                del self._sources[next(iter(self._sources))]
        return source

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if self._busy >= self._slots:
            raise ResourceExhausted(
                f"all {self._slots} slots for rendering are taken; try again in a second",
                reason="BUSY",
                retry_after_seconds=1.0,
            )
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

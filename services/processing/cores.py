"""Cores: how much is rendered at once, by the cores and the memory of the instance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from moneyprinter.errors import ResourceExhausted
from services.media.encoding import LEVELS
from services.processing.source import Source
from services.processing.spec import Spec

# A process of ffmpeg without frames, and what it has of each source's frames and of those that it encodes.
BASE_BYTES = 60 << 20
SOURCE_FRAMES = 8
# A frame in planar YUV 4:2:0 with 8 bits, and one that an encoder has prepared to look for motion in.
FRAME_BYTES, HELD_FRAME_BYTES = 1.5, 3.15

# A video's first segment has the cores of so many, for somebody waits for it.
FIRST_SLOTS = 4


def need(spec: Spec, sources: Sequence[Source]) -> int:
    """About how many bytes of memory it takes to render a segment."""
    pixels = spec.canvas.pixels + sum(size.width * size.height for size in spec.renditions)
    encoded = LEVELS[spec.codec, spec.quality].held_frames * pixels * HELD_FRAME_BYTES
    decoded = SOURCE_FRAMES * FRAME_BYTES * sum(source.width * source.height for source in sources)
    return int(BASE_BYTES + encoded + decoded)


class Cores:
    """At most `slots` segments are rendered at once, by `threads` each; together they need at most `memory_bytes`.

    One that needs more than that is rendered alone. As many more wait for their turn, those of a higher priority
    first, then first come, first served; what comes then is refused. Of a priority above 0, as many again may wait:
    several callers who always have others ready would keep them out.
    """

    def __init__(self, slots: int, threads: int, memory_bytes: int) -> None:
        self._slots = slots
        self._threads = threads
        self._memory_bytes = memory_bytes
        self._taken: list[tuple[int, int]] = []
        """The slots and bytes of those that are at work."""
        self._line: list[asyncio.Event] = []
        self._ranks: dict[asyncio.Event, tuple[int, bool]] = {}
        """Of those in the line: the priority, and whether it is a video's first segment."""
        self._here = 0

    def threads(self, need_bytes: int, *, is_first: bool = False) -> int:
        """How many threads a render has that needs so much: where few fit, each has more.

        A video's first has two a core that it takes: its decoder, filters and encoder wait for each other. Not where
        memory is short, for each thread of an encoder holds frames of its own.
        """
        if is_first and 2 * need_bytes <= self._memory_bytes:
            return 2 * self._threads * min(self._slots, FIRST_SLOTS)
        return self._threads * self._slots // max(1, min(self._slots, self._memory_bytes // need_bytes))

    @contextmanager
    def admitted(self, priority: int = 0) -> Iterator[None]:
        """Be here, at work or waiting. Raises ResourceExhausted when there are too many already."""
        if self._here >= (3 if priority > 0 else 2) * self._slots:
            raise ResourceExhausted(
                f"{self._slots} segments are being rendered and as many wait; try again in a second",
                reason="BUSY",
                retry_after_seconds=1.0,
            )
        self._here += 1
        try:
            yield
        finally:
            self._here -= 1

    @contextmanager
    def in_line(self, *, is_first: bool = False, priority: int = 0) -> Iterator[asyncio.Event]:
        """Stand in the line until one is at work, or the context ends.

        A video's first stands in front of its priority, and may do so before it can begin: then nobody else does.
        """
        turn = asyncio.Event()
        rank = priority, is_first
        # Of several firsts, the last that came stands in front.
        ranks = [self._ranks[other] for other in self._line]
        self._line.insert(sum(other > rank or (other == rank and not is_first) for other in ranks), turn)
        self._ranks[turn] = rank
        try:
            yield turn
        finally:
            del self._ranks[turn]
            if turn in self._line:
                self._line.remove(turn)
                self._next()

    @asynccontextmanager
    async def taken(self, need_bytes: int, turn: asyncio.Event, *, is_first: bool = False) -> AsyncIterator[None]:
        """Be at work while the context is open; waits until it is one's turn in the line and there is room.

        A video's first begins where one fits, and nothing begins beside it that would take its cores.
        """
        share = FIRST_SLOTS if is_first else 1, need_bytes
        while self._line[0] is not turn or not self._fits(need_bytes):
            turn.clear()
            await turn.wait()
        self._line.remove(turn)
        self._taken.append(share)
        self._next()
        try:
            yield
        finally:
            self._taken.remove(share)
            self._next()

    def _fits(self, need_bytes: int) -> bool:
        slots = sum(slots for slots, _ in self._taken)
        taken_bytes = sum(taken_bytes for _, taken_bytes in self._taken)
        room = slots < self._slots and taken_bytes + need_bytes <= self._memory_bytes
        return room or not self._taken

    def _next(self) -> None:
        if self._line:
            self._line[0].set()

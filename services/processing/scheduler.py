"""Scheduler: which renders run at once, by the cores and the memory of the instance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from moneyprinter.errors import ResourceExhausted
from services.media.encoding import LEVELS
from services.processing.source import Source
from services.processing.spec import Spec

# The memory of an ffmpeg process without frames, and how many frames of each source it holds.
BASE_BYTES = 60 << 20
SOURCE_FRAMES = 8
# Bytes a pixel: of a frame in planar YUV 4:2:0 with 8 bits, and of one that an encoder prepared for motion estimation.
FRAME_BYTES, HELD_FRAME_BYTES = 1.5, 3.15

# The slots of a video's first segment, because a viewer waits for it.
FIRST_SLOTS = 4


def estimate_memory(spec: Spec, sources: Sequence[Source]) -> int:
    """Returns about how many bytes of memory the render of a segment takes."""
    pixels = spec.canvas.pixels + sum(size.width * size.height for size in spec.renditions)
    encoded = LEVELS[spec.codec, spec.quality].held_frames * pixels * HELD_FRAME_BYTES
    decoded = SOURCE_FRAMES * FRAME_BYTES * sum(source.width * source.height for source in sources)
    return int(BASE_BYTES + encoded + decoded)


class RenderScheduler:
    """Admits renders, queues them by priority, and starts them within the slots and the memory of the instance.

    At most `slots` renders run at once, with `threads` each, and need at most `memory_bytes` together. A render that
    needs more memory runs alone. As many more renders wait: first by priority, then in the order of their arrival.
    Further ones are refused. With a priority above 0, as many again may wait; otherwise several callers with renders
    always at hand would keep them out.
    """

    def __init__(self, slots: int, threads: int, memory_bytes: int) -> None:
        self._slots = slots
        self._threads = threads
        self._memory_bytes = memory_bytes
        self._running: list[tuple[int, int]] = []
        """The slots and the bytes of each running render."""
        self._queue: list[asyncio.Event] = []
        """The turn of each queued render."""
        self._ranks: dict[asyncio.Event, tuple[int, bool]] = {}
        """Of each queued render: its priority, and whether it is a video's first segment."""
        self._admitted = 0

    def threads(self, need_bytes: int, *, is_first: bool = False) -> int:
        """Returns the threads of a render that needs so much memory. Where few renders fit, each has more threads.

        A video's first segment has two threads for each core of its slots, because its decoder, filters and encoder
        wait for each other. Where memory is short it has no more than others: each thread of an encoder holds frames.
        """
        if is_first and 2 * need_bytes <= self._memory_bytes:
            return 2 * self._threads * min(self._slots, FIRST_SLOTS)
        return self._threads * self._slots // max(1, min(self._slots, self._memory_bytes // need_bytes))

    @contextmanager
    def admission(self, priority: int = 0) -> Iterator[None]:
        """Admit a render while the context is open. Raises `ResourceExhausted` when too many are admitted already."""
        if self._admitted >= (3 if priority > 0 else 2) * self._slots:
            raise ResourceExhausted(
                f"{self._slots} segments are being rendered and as many wait; try again in a second",
                reason="BUSY",
                retry_after_seconds=1.0,
            )
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    @contextmanager
    def queued(self, *, is_first: bool = False, priority: int = 0) -> Iterator[asyncio.Event]:
        """Queue a render until it starts or the context ends. The value is its turn, for `slot`.

        A video's first segment precedes others of its priority. It may queue before it can start, and then no other
        render starts.
        """
        turn = asyncio.Event()
        rank = priority, is_first
        # Of several first segments, the last to arrive precedes the others.
        ranks = [self._ranks[other] for other in self._queue]
        self._queue.insert(sum(other > rank or (other == rank and not is_first) for other in ranks), turn)
        self._ranks[turn] = rank
        try:
            yield turn
        finally:
            del self._ranks[turn]
            if turn in self._queue:
                self._queue.remove(turn)
                self._wake_next()

    @asynccontextmanager
    async def slot(self, need_bytes: int, turn: asyncio.Event, *, is_first: bool = False) -> AsyncIterator[None]:
        """Hold a slot while the context is open. Waits until the turn comes, and a slot and the memory are free.

        A video's first segment starts where one slot is free. Nothing starts beside it that would take its cores.
        """
        share = FIRST_SLOTS if is_first else 1, need_bytes
        while self._queue[0] is not turn or not self._fits(need_bytes):
            turn.clear()
            await turn.wait()
        self._queue.remove(turn)
        self._running.append(share)
        self._wake_next()
        try:
            yield
        finally:
            self._running.remove(share)
            self._wake_next()

    def _fits(self, need_bytes: int) -> bool:
        slots = sum(slots for slots, _ in self._running)
        used_bytes = sum(used_bytes for _, used_bytes in self._running)
        has_room = slots < self._slots and used_bytes + need_bytes <= self._memory_bytes
        return has_room or not self._running

    def _wake_next(self) -> None:
        if self._queue:
            self._queue[0].set()

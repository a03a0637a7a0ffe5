"""Load: how many streams may be encoded at once, and what has been encoded."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from moneyprinter.errors import ResourceExhausted

WINDOW_SECONDS = 10


@dataclass
class Work:
    """What a backend does, and has done."""

    streams: int = 0
    """Streams that it encodes now."""
    frame_count: int = 0
    """Frames that it has encoded."""
    _seconds: deque[tuple[int, int]] = field(default_factory=deque)
    """Frames of each of the last seconds."""

    def add(self, now: float) -> None:
        """Count a frame."""
        self.frame_count += 1
        second, frames = self._seconds.pop() if self._seconds and self._seconds[-1][0] == int(now) else (int(now), 0)
        self._seconds.append((second, frames + 1))
        self._forget(now)

    def frames_per_second(self, now: float) -> float:
        """Of the last `WINDOW_SECONDS`."""
        self._forget(now)
        return sum(frames for _, frames in self._seconds) / WINDOW_SECONDS

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW_SECONDS:
            self._seconds.popleft()


class Load:
    """The slots, and the work of each backend by its name."""

    def __init__(self, slots: int, clock: Callable[[], float]) -> None:
        self.slots = slots
        self._clock = clock
        self._work: defaultdict[str, Work] = defaultdict(Work)

    @property
    def free(self) -> int:
        """How many more streams may be encoded now."""
        return self.slots - sum(work.streams for work in self._work.values())

    def work(self, backend: str) -> Work:
        """The work of a backend."""
        return self._work[backend]

    def frames_per_second(self, backend: str) -> float:
        """The frames that a backend encoded lately, each second."""
        return self._work[backend].frames_per_second(self._clock())

    @contextmanager
    def slot(self, backend: str) -> Iterator[Callable[[], None]]:
        """Hold a slot while the context is open; gives what counts a frame. Raises ResourceExhausted without one."""
        if self.free < 1:
            raise ResourceExhausted(
                "the encoder has as much work as it can do; try again in a second",
                reason="BUSY",
                retry_after_seconds=1.0,
            )
        work = self._work[backend]
        work.streams += 1
        try:
            yield lambda: work.add(self._clock())
        finally:
            work.streams -= 1

"""Load: the slots for streams that are encoded at once, and the work of each backend."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from moneyprinter.errors import ResourceExhausted

WINDOW_SECONDS = 10


@dataclass
class BackendLoad:
    """The streams of a backend now, and its frames so far."""

    streams: int = 0
    """The streams that it encodes now."""
    frame_count: int = 0
    """The frames that it has encoded."""
    _seconds: deque[tuple[int, int]] = field(default_factory=deque)
    """Of each of the last seconds: its number, and the frames in it."""

    def count_frame(self, now: float) -> None:
        """Count one frame. `now` is in seconds on any clock that does not go back."""
        self.frame_count += 1
        second, frames = self._seconds.pop() if self._seconds and self._seconds[-1][0] == int(now) else (int(now), 0)
        self._seconds.append((second, frames + 1))
        self._drop_old(now)

    def frames_per_second(self, now: float) -> float:
        """Returns the average of the last `WINDOW_SECONDS`."""
        self._drop_old(now)
        return sum(frames for _, frames in self._seconds) / WINDOW_SECONDS

    def _drop_old(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW_SECONDS:
            self._seconds.popleft()


class Load:
    """The slots of this encoder, and the load of each backend by its name."""

    def __init__(self, slots: int, clock: Callable[[], float]) -> None:
        """`clock` returns seconds, and does not go back."""
        self.slots = slots
        self._clock = clock
        self._backends: defaultdict[str, BackendLoad] = defaultdict(BackendLoad)

    @property
    def free_slots(self) -> int:
        """How many more streams may be encoded now."""
        return self.slots - sum(backend.streams for backend in self._backends.values())

    def backend(self, name: str) -> BackendLoad:
        """Returns the load of a backend."""
        return self._backends[name]

    def frames_per_second(self, backend: str) -> float:
        """Returns the frames a second of a backend, as the average of the last `WINDOW_SECONDS`."""
        return self._backends[backend].frames_per_second(self._clock())

    @contextmanager
    def slot(self, backend: str) -> Iterator[Callable[[], None]]:
        """Hold a slot while the context is open. Its value is a function that counts one frame.

        Raises `ResourceExhausted` when no slot is free.
        """
        if self.free_slots < 1:
            raise ResourceExhausted(
                "the encoder has as much work as it can do; try again in a second",
                reason="BUSY",
                retry_after_seconds=1.0,
            )
        load = self._backends[backend]
        load.streams += 1
        try:
            yield lambda: load.count_frame(self._clock())
        finally:
            load.streams -= 1

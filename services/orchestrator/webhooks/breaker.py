"""Breaker: whom we call outside, and fails again and again, is left alone for a while."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Breaker:
    """Stops calls to somebody outside who fails again and again, and lets one through now and then to see.

    5 failures within 60 s open it; 30 s later one call may try, whose outcome closes it or opens it again. A call that
    was let through earlier says nothing any more. `clock` gives seconds.
    """

    FAILURES = 5
    WINDOW_SECONDS = 60.0
    RECOVERY_SECONDS = 30.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=self.FAILURES)
        self._opened = 0.0
        self._round = 0
        self.state = "closed"
        """`closed`, `open`, or `half_open` while one call tries; for logs and metrics."""

    def admit(self) -> int | None:
        """Let a call through; it is then told of with the ticket that this returns. None: it is not let through."""
        if self.state == "open" and self._clock() - self._opened >= self.RECOVERY_SECONDS:
            self._go("half_open")
        elif self.state != "closed":
            return None
        return self._round

    @property
    def wait_seconds(self) -> float:
        """How long to wait before it makes sense to ask again."""
        return 0.0 if self.state == "closed" else max(1.0, self.RECOVERY_SECONDS - (self._clock() - self._opened))

    def succeeded(self, ticket: int) -> None:
        """A call has shown that all is well."""
        if ticket == self._round and self.state == "half_open":
            self._go("closed")

    def failed(self, ticket: int) -> None:
        """A call has failed by who was called."""
        if ticket != self._round:
            return
        now = self._clock()
        self._failures.append(now)
        many = len(self._failures) == self.FAILURES and now - self._failures[0] <= self.WINDOW_SECONDS
        if many or self.state == "half_open":
            self._opened = now
            self._go("open")

    def abandoned(self, ticket: int) -> None:
        """A call came to nothing by no fault of who was called: another one may try in its place."""
        if ticket == self._round and self.state == "half_open":
            self._go("open")

    def _go(self, state: str) -> None:
        self.state = state
        self._round += 1
        if state != "half_open":
            self._failures.clear()

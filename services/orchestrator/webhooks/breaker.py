"""Circuit breaker: stops calls to an external host that keeps failing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Breaker:
    """Stops calls to an external host that keeps failing, and admits one call now and then as a probe.

    5 failures within 60 s open it; 30 s later it admits one call, whose outcome closes it or opens it again. Outcomes
    of calls that it admitted in an earlier state are ignored. `clock` returns seconds of a monotonic clock.
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
        """`closed`, `open`, or `half_open` while one call probes the host; for logs and metrics."""

    def admit(self) -> int | None:
        """Admit a call, and return the ticket with which its outcome is recorded; None when the call is refused."""
        if self.state == "open" and self._clock() - self._opened >= self.RECOVERY_SECONDS:
            self._enter("half_open")
        elif self.state != "closed":
            return None
        return self._round

    @property
    def wait_seconds(self) -> float:
        """The time until the breaker may admit a call."""
        return 0.0 if self.state == "closed" else max(1.0, self.RECOVERY_SECONDS - (self._clock() - self._opened))

    def record_success(self, ticket: int) -> None:
        """Record that the host has answered."""
        if ticket == self._round and self.state == "half_open":
            self._enter("closed")

    def record_failure(self, ticket: int) -> None:
        """Record that the host has failed."""
        if ticket != self._round:
            return
        now = self._clock()
        self._failures.append(now)
        many = len(self._failures) == self.FAILURES and now - self._failures[0] <= self.WINDOW_SECONDS
        if many or self.state == "half_open":
            self._opened = now
            self._enter("open")

    def release(self, ticket: int) -> None:
        """Record that a call ended without an outcome of the host: another call may probe in its place."""
        if ticket == self._round and self.state == "half_open":
            self._enter("open")

    def _enter(self, state: str) -> None:
        self.state = state
        self._round += 1
        if state != "half_open":
            self._failures.clear()

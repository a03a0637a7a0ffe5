"""Circuit breaker: stops calls to a provider that keeps failing, and admits one call now and then as a probe."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from services.providers.failures import FailureKind, ProviderFailure

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"
# A provider cannot keep itself closed for longer than this with Retry-After.
MAX_PAUSE = timedelta(hours=1)
# The kinds that only a person can repair: further calls are pointless, and at some providers they cost.
_FINAL = (FailureKind.UNAUTHORIZED, FailureKind.QUOTA_EXHAUSTED)


class Breaker:
    """A circuit breaker of one provider.

    It opens after `failures` failures within `window`, and at once after a failure whose kind is UNAUTHORIZED or
    QUOTA_EXHAUSTED or that has a `retry_after`. After `pause`, or `retry_after` where that is longer, it admits one
    call, whose outcome closes it or opens it again. Failures of the kind REFUSED count as successes: the provider
    works. Outcomes of calls that it admitted in an earlier state are ignored.

    Args:
        provider: The name of the provider, for errors.
        clock: Returns seconds of a monotonic clock.
        failures: How many failures open it.
        window: The time within which they count.
        pause: The time until a probe.
    """

    def __init__(
        self,
        provider: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        failures: int = 5,
        window: timedelta = timedelta(seconds=60),
        pause: timedelta = timedelta(seconds=30),
    ) -> None:
        self.provider = provider
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=failures)
        self._window, self._pause = window.total_seconds(), pause.total_seconds()
        self._until = 0.0
        self._round = 0
        self._cause: ProviderFailure | None = None
        self.state = CLOSED
        """`closed`, `open`, or `half_open` while one call probes the provider."""
        self.last_error = ""
        """Why the last call failed; empty when it succeeded."""

    @property
    def reason(self) -> str:
        """Why it is open; empty when it is closed."""
        return self._cause.message if self._cause and self.state != CLOSED else ""

    @property
    def kind(self) -> FailureKind | None:
        """The kind of the failure that opened it; None when it is closed."""
        return self._cause.kind if self._cause and self.state != CLOSED else None

    @property
    def wait(self) -> timedelta:
        """The time until it may admit a call; zero when it admits calls now."""
        return timedelta(seconds=max(0.0, self._until - self._clock()) if self.state == OPEN else 0.0)

    def check(self) -> int:
        """Admit a call, and return the ticket with which its outcome is recorded.

        Raises `ProviderFailure` with the kind of the failure that opened it while it is open, or while another call
        probes the provider.
        """
        if self.state == CLOSED:
            return self._round
        if self.state == OPEN and self._clock() >= self._until:
            self._enter(HALF_OPEN)
            return self._round
        kind = self._cause.kind if self._cause else FailureKind.UNAVAILABLE
        message = f"{self.provider} is not called for now: {self.reason}"
        raise ProviderFailure(self.provider, kind, message, self.wait)

    def record_success(self, ticket: int | None = None) -> None:
        """Record that the provider has answered. Without a ticket, the call belongs to the present state."""
        self.last_error = ""
        if ticket in (None, self._round) and self.state == HALF_OPEN:
            self._enter(CLOSED)

    def record_failure(self, failure: ProviderFailure, ticket: int | None = None) -> None:
        """Record that a call has failed. Without a ticket, the call belongs to the present state."""
        self.last_error = failure.message
        if ticket not in (None, self._round) or self.state == OPEN:
            return
        if failure.kind is FailureKind.REFUSED:
            self.record_success(ticket)
            return
        now = self._clock()
        self._failures.append(now)
        many = len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._window
        if many or self.state == HALF_OPEN or failure.kind in _FINAL or failure.retry_after:
            asked = min(failure.retry_after or timedelta(), MAX_PAUSE).total_seconds()
            self._until = now + max(self._pause, asked)
            self._cause = failure
            self._enter(OPEN)

    def release(self, ticket: int) -> None:
        """Record that a call ended without an outcome: another call may probe in its place."""
        if ticket == self._round and self.state == HALF_OPEN:
            self._enter(OPEN)

    def reset(self) -> None:
        """Close it, for example because the operator replaced the keys."""
        self.last_error = ""
        self._enter(CLOSED)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Admit the call that the body makes, and record its outcome.

        Raises `ProviderFailure` while it is open, and whatever the body raises. Only `ProviderFailure` counts.
        """
        ticket = self.check()
        try:
            yield
        except ProviderFailure as failure:
            self.record_failure(failure, ticket)
            raise
        except BaseException:
            self.release(ticket)
            raise
        self.record_success(ticket)

    def _enter(self, state: str) -> None:
        self.state = state
        self._round += 1
        if state != HALF_OPEN:
            self._failures.clear()

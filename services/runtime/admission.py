"""Admission: limits on the calls that a server serves at once, in all and per client, and on slow clients.

A client is the user for whom a call is served, or the address of an anonymous client (`identity.client`). The limit of
one client is lower than the total, so that slots remain for others. Calls that stream to or from a client may last for
hours, so they have slots of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.api import httpbody_pb2

from moneyprinter.errors import ResourceExhausted, Unavailable
from services.runtime.turns import Turns, request_weight

# One client gets at most this fraction of a limit: 1/4.
SHARE = 4

STREAMS_EXHAUSTED = "STREAMS_EXHAUSTED"


def client_share(limit: int) -> int:
    """Return the part of a limit that one client can take: a quarter, and at least one."""
    return max(1, limit // SHARE)


@dataclass(eq=False)
class ConcurrencyLimit:
    """At most `limit` calls at once, and at most `per_client` of them for one client."""

    limit: int
    per_client: int
    name: str = "calls"
    """What is limited, as error messages name it."""
    reason: str = "BUSY"
    """The error reason for a client that has reached its limit."""
    until_response: bool = False
    """Whether a call releases its slot when its response begins, which is sent at the client's pace."""
    taken: int = 0
    by_client: Counter[str] = field(default_factory=Counter)

    def acquire(self, client: str) -> None:
        """Take a slot. Raises `ResourceExhausted` when the client has reached its limit, or no slot is free."""
        if client and self.by_client[client] >= self.per_client:
            raise ResourceExhausted(
                f"you have {self.per_client} {self.name} open at once, the most that one client can have; "
                "wait until one has ended, or end one",
                reason=self.reason,
                retry_after_seconds=1.0,
            )
        if self.taken >= self.limit:
            raise ResourceExhausted(
                f"all places for {self.name} are taken; try again in a second", reason="BUSY", retry_after_seconds=1.0
            )
        self.taken += 1
        if client:
            self.by_client[client] += 1

    def release(self, client: str) -> None:
        """Release a slot."""
        self.taken -= 1
        if client:
            self.by_client[client] -= 1
            if not self.by_client[client]:
                del self.by_client[client]


class Slots:
    """The slots that one call holds."""

    def __init__(self) -> None:
        self._held: list[tuple[ConcurrencyLimit, str]] = []

    def acquire(self, limit: ConcurrencyLimit, client: str) -> None:
        """Take a slot of a limit for a client. Raises `ResourceExhausted` when none is free."""
        limit.acquire(client)
        self._held.append((limit, client))

    def begin_response(self) -> None:
        """Release the slots that a call holds only until its response begins."""
        self._release([held for held in self._held if held[0].until_response])

    def release(self) -> None:
        """Release all slots."""
        self._release(list(self._held))

    def _release(self, slots: Sequence[tuple[ConcurrencyLimit, str]]) -> None:
        for limit, client in slots:
            self._held.remove((limit, client))
            limit.release(client)


class Admission:
    """The concurrency limits of one server."""

    def __init__(self, max_calls: int, max_streams: int, streams_per_client: int) -> None:
        self.calls = ConcurrencyLimit(max_calls, client_share(max_calls))
        self.streams = ConcurrencyLimit(max_streams, streams_per_client, "streams", STREAMS_EXHAUSTED)
        self.methods: dict[str, ConcurrencyLimit] = {}
        self.weights: dict[str, int] = {}
        """The methods whose calls take turns, each with the least weight of a request."""
        self._turns = Turns()

    @asynccontextmanager
    async def turn(self, method: str, request: Any, client: str) -> AsyncIterator[None]:
        """Hold a turn of the client while the context is open, when the calls of the method take turns.

        Raises `ResourceExhausted` (BUSY) when the turn has not come in time.
        """
        if least := self.weights.get(method):
            async with self._turns.turn(client, request_weight(len(request), least)):
                yield
        else:
            yield

    @contextmanager
    def admit(self, method: str, client: str, *, directly: bool, streams: bool) -> Iterator[Slots]:
        """Hold the slots of a call while the context is open.

        `directly` means that the client makes the call itself; calls that a service makes for a client are limited
        there. `streams` means that the call streams. Raises `ResourceExhausted` when no slot is free.
        """
        slots = Slots()
        try:
            slots.acquire(self.streams if streams and directly else self.calls, client if directly else "")
            if limit := self.methods.get(method):
                slots.acquire(limit, client)
            yield slots
        finally:
            slots.release()


class StallTimeout:
    """A budget of seconds in which a call waits for its client; bytes that the client sends or takes refill it.

    A client that has stopped is cut off after `seconds`, one below `bytes_per_second` some time later, and a slow one
    above that rate is never cut off.
    """

    def __init__(self, seconds: float, bytes_per_second: float) -> None:
        self._seconds = self._left = seconds
        self._rate = bytes_per_second

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Spend the budget while the context is open. Raises `ResourceExhausted` when it is used up."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._left):
                yield
        except TimeoutError:
            raise ResourceExhausted(
                f"the client sent or took less than {self._rate / 1000:.0f} kB/s for {self._seconds:.0f} seconds; "
                "go on where it stopped: a download with a `range`, an upload from its start",
                reason="CLIENT_TOO_SLOW",
                retry_after_seconds=1.0,
            ) from None
        self._left -= time.monotonic() - began

    def refill(self, size_bytes: int) -> None:
        """Refill the budget for bytes that the client sent or took."""
        self._left = min(self._seconds, self._left + size_bytes / self._rate)


class MessageFlow:
    """The messages of one call, which arrive and leave at the client's pace."""

    def __init__(self, slots: Slots, timeout: StallTimeout | None) -> None:
        self._slots = slots
        self._timeout = timeout
        self.has_begun = False
        """Whether a part of the response may have been sent."""
        self.sends_file = False
        """Whether the response is the bytes of a file."""

    async def receive(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield the messages of a request. Raises `ResourceExhausted` when the client is too slow."""
        messages = aiter(requests)
        while True:
            try:
                if self._timeout is None:
                    message = await anext(messages)
                else:
                    async with self._timeout.waiting():
                        message = await anext(messages)
                    self._timeout.refill(_size(message))
            except StopAsyncIteration:
                return
            yield message

    async def send(self, message: Any, context: Any) -> None:
        """Send a message of the response.

        Raises `ResourceExhausted` when the client is too slow, and `Unavailable` when it has disconnected.
        """
        self._slots.begin_response()
        if not self.has_begun:
            kinds = [field.message_type for field in message.DESCRIPTOR.fields]
            self.has_begun, self.sends_file = True, httpbody_pb2.HttpBody.DESCRIPTOR in kinds
        try:
            if self._timeout is None:
                await context.write(message)
                return
            async with self._timeout.waiting():
                await context.write(message)
            self._timeout.refill(_size(message))
        except grpc.aio.InternalError:
            # gRPC raises this before it cancels the call of a client that has disconnected.
            raise Unavailable("the client left before its answer ended", reason="SERVICE_UNAVAILABLE") from None


def _size(message: Any) -> int:
    # Requests arrive as bytes, because they are parsed only after the call is authorized.
    return len(message) if isinstance(message, bytes) else message.ByteSize()


class FairSemaphore:
    """A semaphore of `limit` slots, of which one client can hold `per_client`, by default half.

    `client` returns the client for whom the running task works; empty when it works for none, which is not limited.
    """

    def __init__(self, limit: int, client: Callable[[], str], per_client: int | None = None) -> None:
        self._all = asyncio.Semaphore(limit)
        self._client = client
        self._per_client = per_client or max(1, limit // 2)
        self._by_client: dict[str, tuple[asyncio.Semaphore, int]] = {}

    async def acquire(self) -> Callable[[], None]:
        """Wait for a slot, and return the function that releases it."""
        client = self._client()
        if not client:
            await self._all.acquire()
            return self._all.release
        own, users = self._by_client.get(client, (asyncio.Semaphore(self._per_client), 0))
        self._by_client[client] = own, users + 1
        try:
            await own.acquire()
            try:
                await self._all.acquire()
            except BaseException:
                own.release()
                raise
        except BaseException:
            self._forget(client)
            raise

        def release() -> None:
            self._all.release()
            own.release()
            self._forget(client)

        return release

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, and hold it while the context is open."""
        release = await self.acquire()
        try:
            yield
        finally:
            release()

    def _forget(self, client: str) -> None:
        own, users = self._by_client[client]
        if users > 1:
            self._by_client[client] = own, users - 1
        else:
            del self._by_client[client]

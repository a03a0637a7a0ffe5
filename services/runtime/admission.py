"""Admission: how many calls a server serves at once, in all and for one client, and how long a client keeps it waiting.

A client is the user, or the address without one, that a call is served for (`access.client`). What one client can hold
is less than there is, so that another one finds a place. Calls that stream to or from a client last for as long as the
client pleases: they have places of their own, and do not take those of calls that work.
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

# The part of a limit that one client can take.
SHARE = 4

STREAMS_EXHAUSTED = "STREAMS_EXHAUSTED"


def share(most: int) -> int:
    """How much of a limit one client can take: a quarter, and at least one."""
    return max(1, most // SHARE)


@dataclass(eq=False)
class ConcurrencyLimit:
    """So many calls at once, and so many of them for one client."""

    most: int
    each: int
    what: str = "calls"
    """What is limited, as messages name it."""
    reason: str = "BUSY"
    """Why a client is refused that has its share."""
    while_working: bool = False
    """Whether a call leaves its place when its answer begins, which is sent at the client's pace."""
    taken: int = 0
    by_client: Counter[str] = field(default_factory=Counter)

    def take(self, client: str) -> None:
        """Take a place. Raises ResourceExhausted when the client has as many as it can have, or none is left."""
        if client and self.by_client[client] >= self.each:
            raise ResourceExhausted(
                f"you have {self.each} {self.what} open at once, the most that one client can have; "
                "wait until one has ended, or end one",
                reason=self.reason,
                retry_after_seconds=1.0,
            )
        if self.taken >= self.most:
            raise ResourceExhausted(
                f"all places for {self.what} are taken; try again in a second", reason="BUSY", retry_after_seconds=1.0
            )
        self.taken += 1
        if client:
            self.by_client[client] += 1

    def leave(self, client: str) -> None:
        """Leave a place that was taken."""
        self.taken -= 1
        if client:
            self.by_client[client] -= 1
            if not self.by_client[client]:
                del self.by_client[client]


class Places:
    """The places that one call holds."""

    def __init__(self) -> None:
        self._held: list[tuple[ConcurrencyLimit, str]] = []

    def take(self, limit: ConcurrencyLimit, client: str) -> None:
        """Take a place under a limit for a client. Raises ResourceExhausted."""
        limit.take(client)
        self._held.append((limit, client))

    def answering(self) -> None:
        """The work is done, and its answer is sent: leave the places that are for work."""
        self._leave([held for held in self._held if held[0].while_working])

    def leave(self) -> None:
        """Leave all of them."""
        self._leave(list(self._held))

    def _leave(self, places: Sequence[tuple[ConcurrencyLimit, str]]) -> None:
        for limit, client in places:
            self._held.remove((limit, client))
            limit.leave(client)


class Admission:
    """The limits of one server."""

    def __init__(self, max_calls: int, max_streams: int, streams_each: int) -> None:
        self.calls = ConcurrencyLimit(max_calls, share(max_calls))
        self.streams = ConcurrencyLimit(max_streams, streams_each, "streams", STREAMS_EXHAUSTED)
        self.methods: dict[str, ConcurrencyLimit] = {}

    @contextmanager
    def admitted(self, method: str, client: str, *, directly: bool, streams: bool) -> Iterator[Places]:
        """Hold the places of a call while the context is open.

        `directly` when the client itself makes it, and no other service for the client, whose calls are bounded there;
        `streams` when it streams. Raises ResourceExhausted when there is no place.
        """
        places = Places()
        try:
            places.take(self.streams if streams and directly else self.calls, client if directly else "")
            if limit := self.methods.get(method):
                places.take(limit, client)
            yield places
        finally:
            places.leave()


class Patience:
    """How long a call waits for its client: some seconds, which are gained again by what the client sends or takes.

    So a client that has stopped is left after `seconds`, one that is slower than `bytes_per_second` some time later,
    and one that is slow but moves is served for as long as it takes.
    """

    def __init__(self, seconds: float, bytes_per_second: float) -> None:
        self._seconds = self._left = seconds
        self._rate = bytes_per_second

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Wait for the client while the context is open. Raises ResourceExhausted when that takes too long."""
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

    def moved(self, size_bytes: int) -> None:
        """Count bytes that the client sent or took."""
        self._left = min(self._seconds, self._left + size_bytes / self._rate)


class Flow:
    """The messages of one call, which arrive and leave at its client's pace."""

    def __init__(self, places: Places, patience: Patience | None) -> None:
        self._places = places
        self._patience = patience
        self.has_begun = False
        """Whether a part of the answer may have been sent."""
        self.sends_file = False
        """Whether the answer is the bytes of a file."""

    async def received(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The messages of a request, as they come. Raises ResourceExhausted when the client is too slow."""
        messages = aiter(requests)
        while True:
            try:
                if self._patience is None:
                    message = await anext(messages)
                else:
                    async with self._patience.waiting():
                        message = await anext(messages)
                    self._patience.moved(_size(message))
            except StopAsyncIteration:
                return
            yield message

    async def send(self, message: Any, context: Any) -> None:
        """Send a message of the answer.

        Raises ResourceExhausted when the client is too slow, and Unavailable when it left.
        """
        self._places.answering()
        if not self.has_begun:
            kinds = [field.message_type for field in message.DESCRIPTOR.fields]
            self.has_begun, self.sends_file = True, httpbody_pb2.HttpBody.DESCRIPTOR in kinds
        try:
            if self._patience is None:
                await context.write(message)
                return
            async with self._patience.waiting():
                await context.write(message)
            self._patience.moved(_size(message))
        except grpc.aio.InternalError:
            # gRPC's word for it that comes before it cancels the call.
            raise Unavailable("the client left before its answer ended", reason="SERVICE_UNAVAILABLE") from None


def _size(message: Any) -> int:
    # Requests come as bytes, and are parsed once the caller is known to be allowed to send them.
    return len(message) if isinstance(message, bytes) else message.ByteSize()


class Turns:
    """Turns for work that waits in line: so many at once, and so many of them for one client.

    `client` returns the client for whom the running task works; empty: for none, and its share is not limited.
    """

    def __init__(self, most: int, client: Callable[[], str], each: int | None = None) -> None:
        self._all = asyncio.Semaphore(most)
        self._client = client
        self._each = each or max(1, most // 2)
        self._of_clients: dict[str, tuple[asyncio.Semaphore, int]] = {}

    async def acquire(self) -> Callable[[], None]:
        """Wait for a turn; call what is returned when it is over."""
        client = self._client()
        if not client:
            await self._all.acquire()
            return self._all.release
        own, users = self._of_clients.get(client, (asyncio.Semaphore(self._each), 0))
        self._of_clients[client] = own, users + 1
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

        def over() -> None:
            self._all.release()
            own.release()
            self._forget(client)

        return over

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while the context is open."""
        over = await self.acquire()
        try:
            yield
        finally:
            over()

    def _forget(self, client: str) -> None:
        own, users = self._of_clients[client]
        if users > 1:
            self._of_clients[client] = own, users - 1
        else:
            del self._of_clients[client]

"""Turns: requests of one client that take much CPU time are worked on a few at a time, and the others wait.

All clients share an event loop and an interpreter lock. A hundred requests that are worked on at once slow each call of
another client a hundredfold, however short the single steps are. A request that waits for its turn is not even parsed.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moneyprinter.errors import ResourceExhausted

LIGHT, MEDIUM, HEAVY = 1, 3, 4
"""The weights of a request of a few kilobytes, of one that works on whole jobs, beside which only a light one of its
client is worked on, and of one that is worked on alone."""
# The size of a light request. One of 100,000 characters takes 50 ms of CPU time.
_LIGHT_BYTES = 4096
# The weight of the requests in work at once, of one client and of all clients.
_CLIENT_WEIGHT, _TOTAL_WEIGHT = HEAVY, 4 * HEAVY
# The time for which a request waits for its turn.
TURN_SECONDS = 4.0


def request_weight(size_bytes: int, least: int = LIGHT) -> int:
    """Return the weight of a request of a size, which is at least `least`."""
    return min(HEAVY, max(least, -(-size_bytes // _LIGHT_BYTES)))


class Turns:
    """Gives turns to the requests of clients: those of one client in their order, clients in rotation."""

    def __init__(self) -> None:
        self._taken = 0
        self._by_client: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[tuple[int, asyncio.Future[None]]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, client: str, weight: int) -> AsyncIterator[None]:
        """Wait for a turn of a client, and hold it while the context is open.

        Raises `ResourceExhausted` (BUSY) when it has not come after TURN_SECONDS.
        """
        if not self._waiting and self._fits(client, weight):
            self._take(client, weight)
        else:
            await self._wait(client, weight)
        try:
            yield
        finally:
            self._give_back(client, weight)

    async def _wait(self, client: str, weight: int) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append((weight, granted))
        self._grant()
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await granted
        except BaseException as failure:
            if granted.done() and not granted.cancelled():
                self._give_back(client, weight)
            else:
                granted.cancel()
                self._grant()
            if not isinstance(failure, TimeoutError):
                raise
            raise ResourceExhausted(
                f"requests of one client are worked on a few at a time, and those before this one took over "
                f"{TURN_SECONDS:.0f} seconds; send fewer at once",
                reason="BUSY",
                retry_after_seconds=1.0,
            ) from None

    def _fits(self, client: str, weight: int) -> bool:
        return self._fits_client(client, weight) and self._taken + weight <= _TOTAL_WEIGHT

    def _fits_client(self, client: str, weight: int) -> bool:
        return self._by_client[client] + weight <= _CLIENT_WEIGHT

    def _take(self, client: str, weight: int) -> None:
        self._taken += weight
        self._by_client[client] += weight

    def _give_back(self, client: str, weight: int) -> None:
        self._taken -= weight
        self._by_client[client] -= weight
        if not self._by_client[client]:
            del self._by_client[client]
        self._grant()

    def _grant(self) -> None:
        """Grant all turns that can be had now."""
        while (client := self._next_client()) is not None:
            weight, granted = self._waiting[client].popleft()
            self._take(client, weight)
            granted.set_result(None)
            # The other clients come first.
            self._waiting.move_to_end(client)

    def _next_client(self) -> str | None:
        """Return the client whose turn it is; None when no request may begin."""
        for client, queue in list(self._waiting.items()):
            while queue and queue[0][1].done():
                queue.popleft()  # Its call has ended.
            if not queue:
                del self._waiting[client]
            elif self._fits_client(client, queue[0][0]):
                # Lighter requests of other clients do not overtake it, or it would wait for ever.
                return client if self._taken + queue[0][0] <= _TOTAL_WEIGHT else None
        return None

"""Feed: the events of a user's jobs in one order, for those who follow them, and how far each of those has come.

Events are written with the changes that they tell of, by many instances at once; which of them was committed first
is not known then. So each is given its position afterwards, by one instance at a time: whoever has seen a position
misses nothing before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from moneyprinter.errors import FailedPrecondition, Unavailable
from services.orchestrator.events.change_poller import ChangePoller
from services.runtime.tasks import wait_any

KEEP = timedelta(days=7)
"""How long events are kept."""
PAGE_SIZE = 100
# What another instance wrote before it died is found without being told of.
IDLE_SECONDS = 5.0
RETRY_SECONDS = 1.0
BETWEEN_SECONDS = 0.05
SWEEP_SECONDS = 3600.0
# A proxy takes a stream that is silent for long for a dead one.
LONGEST_SILENCE = timedelta(minutes=1)
NOW = "now"

log = structlog.get_logger()


@dataclass(frozen=True)
class Placed:
    """An event that has its place."""

    position: int
    id: str
    sequence: int
    """Its place among the events of its job: 1, 2, 3 and so on."""
    envelope: Mapping[str, Any]
    """What is published."""


@dataclass(frozen=True)
class Arrived:
    """Events that were just given positions."""

    user_ids: Sequence[str]
    """Whose they are."""
    deliveries: bool
    """Whether some are to be posted somewhere."""


@dataclass(frozen=True)
class Found:
    """What is kept of a user's events at a position and before it."""

    known: bool
    """Whether an event has that position."""
    older: bool
    """Whether there are events before it."""


class Positions(Protocol):
    """Where events are kept."""

    async def place(self) -> Arrived | None:
        """Give positions to some events that have none, in an order that has those of a job in theirs.

        Also notes to which webhooks they are to be posted. None: there were none.
        """

    async def after(self, user_id: str, position: int, size: int) -> Sequence[Placed]:
        """The events of a user that follow a position, the oldest first."""

    async def find(self, user_id: str, position: int) -> Found:
        """What is kept of a user's events at a position and before it."""

    async def newest(self, user_id: str) -> int:
        """The position of a user's newest event; 0 when there is none."""

    async def newest_of(self, user_ids: Sequence[str]) -> Mapping[str, int]:
        """The same of several users; those without any event are left out."""

    async def consumer(self, user_id: str, name: str) -> int:
        """How far a consumer is; 0 when it has acknowledged nothing."""

    async def acknowledge(self, user_id: str, name: str, position: int) -> int:
        """Remember that a consumer is so far, or further; returns how far it is."""

    async def sweep(self, keep: timedelta) -> bool:
        """Remove some of what is older than is kept; whether there may be more."""


class Feed:
    """The events of all users, as far as this instance is asked for them."""

    def __init__(self, positions: Positions, now: Callable[[], datetime]) -> None:
        self._positions = positions
        self._now = now
        self._watchers = ChangePoller(positions.newest_of, IDLE_SECONDS)

    def arrived(self, user_ids: Iterable[str]) -> None:
        """There are events of these users."""
        for user_id in user_ids:
            self._watchers.wake(user_id)

    async def watch(
        self, user_id: str, consumer: str, after: str, stopping: asyncio.Event
    ) -> AsyncGenerator[Placed | None, None]:
        """A user's events after `after`, a position or `now`, then each as it comes. None: nothing came for long.

        Raises Unavailable when the service shuts down.
        """
        came = asyncio.Event()
        with self._watchers.watching(user_id, came):
            position = await self._begin(user_id, consumer, after)
            shown_at = self._now()
            while True:
                came.clear()
                while found := await self._positions.after(user_id, position, PAGE_SIZE):
                    for event in found:
                        yield event
                    position, shown_at = found[-1].position, self._now()
                if stopping.is_set():
                    raise Unavailable("the service restarts; watch again", reason="SERVICE_UNAVAILABLE")
                if self._now() - shown_at > LONGEST_SILENCE:
                    yield None
                    shown_at = self._now()
                # An older copy of the database may have taken the place of the one that the stream began with.
                position = position if await self._is_known(user_id, position) else 0
                silence = shown_at + LONGEST_SILENCE - self._now()
                await wait_any(came, stopping, seconds=max(0.0, silence.total_seconds()) + 0.1)

    async def acknowledge(self, user_id: str, consumer: str, position: str) -> int:
        """Remember how far a consumer is; returns how far it is.

        Raises FailedPrecondition (CURSOR_EXPIRED) for a position that no event has.
        """
        before = await self._positions.consumer(user_id, consumer)
        if int(position) <= before or not await self._is_known(user_id, int(position)):
            return before
        return await self._positions.acknowledge(user_id, consumer, int(position))

    async def check(self, user_id: str, after: str) -> None:
        """Raise FailedPrecondition (CURSOR_EXPIRED) when `watch` cannot begin after a position."""
        if after not in ("", NOW):
            await self._is_known(user_id, int(after))

    async def _begin(self, user_id: str, consumer: str, after: str) -> int:
        if after == NOW:
            return await self._positions.newest(user_id)
        if after:
            return int(after) if await self._is_known(user_id, int(after)) else 0
        return await self._positions.consumer(user_id, consumer) if consumer else 0

    async def _is_known(self, user_id: str, position: int) -> bool:
        """Whether an event has a position, or had it and is not kept any more; False when that cannot be known.

        In that case all events that are kept are newer. Raises FailedPrecondition (CURSOR_EXPIRED) when no event had
        it: it was given before an older copy of the database was restored, which gave others to what happened since.
        """
        if position == 0:
            return True
        found = await self._positions.find(user_id, position)
        if not found.known and found.older:
            raise FailedPrecondition(
                f"no event has the position {position}: the events were restored from an older copy; begin without a"
                " position, which gives every event that is kept",
                reason="CURSOR_EXPIRED",
            )
        return found.known


async def place(positions: Positions, written: asyncio.Event, tell: Callable[[Arrived], Awaitable[None]]) -> None:
    """Give events their positions as soon as `written` is set, and `tell` of them, until cancelled."""
    while True:
        written.clear()
        try:
            while arrived := await positions.place():
                await tell(arrived)
        except Unavailable as failure:
            log.warning("events wait", error=str(failure))
            await asyncio.sleep(RETRY_SECONDS)
            continue
        # What comes within a moment gets its positions together.
        await asyncio.sleep(BETWEEN_SECONDS)
        await wait_any(written, seconds=IDLE_SECONDS)


async def sweep(positions: Positions) -> None:
    """Remove what is older than is kept, now and then, until cancelled."""
    while True:
        with suppress(Unavailable):
            while await positions.sweep(KEEP):
                pass
        await asyncio.sleep(SWEEP_SECONDS)

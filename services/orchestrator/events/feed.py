"""Event feed: the events of a user's jobs in one order, and the positions that consumers have acknowledged.

Many instances write events at once, in the transactions of the changes. Their order of commit is not known then. So
one instance at a time assigns the positions afterwards: a client that has read a position misses nothing before it.
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

EVENT_RETENTION = timedelta(days=7)
PAGE_SIZE = 100
# Events of an instance that died before it notified the others are found by polling.
POLL_SECONDS = 5.0
RETRY_SECONDS = 1.0
BATCH_SECONDS = 0.05
DELETE_PERIOD_SECONDS = 3600.0
# Proxies close a stream that is silent for longer.
MAX_SILENCE = timedelta(minutes=1)
NOW = "now"

log = structlog.get_logger()


@dataclass(frozen=True)
class FeedEvent:
    """An event with its position in the feed."""

    position: int
    id: str
    sequence: int
    """Its number among the events of its job, from 1, without gaps."""
    envelope: Mapping[str, Any]
    """The published message, as JSON."""


@dataclass(frozen=True)
class NewEvents:
    """Events that were just assigned positions."""

    user_ids: Sequence[str]
    """The users of their jobs."""
    deliveries: bool
    """Whether some of them are due for delivery to webhooks."""


@dataclass(frozen=True)
class PositionLookup:
    """What is stored of a user's events at a position and before it."""

    exists: bool
    """Whether an event has that position."""
    has_older: bool
    """Whether there are events before it."""


class FeedStore(Protocol):
    """The stored events of all users, and the positions of their consumers."""

    async def assign_positions(self) -> NewEvents | None:
        """Assign positions to a batch of events that have none, those of one job in their order.

        Also records to which webhooks they are delivered. Returns None when there were no such events.
        """

    async def list_after(self, user_id: str, position: int, size: int) -> Sequence[FeedEvent]:
        """Return the events of a user that follow a position, oldest first."""

    async def look_up(self, user_id: str, position: int) -> PositionLookup:
        """Return what is stored of a user's events at a position and before it."""

    async def newest_position(self, user_id: str) -> int:
        """Return the position of a user's newest event; 0 when there is none."""

    async def newest_positions(self, user_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the position of each user's newest event; users without events are left out."""

    async def consumer_position(self, user_id: str, name: str) -> int:
        """Return the position that a consumer has acknowledged; 0 when it has acknowledged none."""

    async def acknowledge(self, user_id: str, name: str, position: int) -> int:
        """Raise the acknowledged position of a consumer to `position`. Return the acknowledged position."""

    async def delete_older_than(self, age: timedelta) -> bool:
        """Delete a batch of old events. Return whether there may be more."""


class Feed:
    """The events of all users, as the clients of this instance follow them."""

    def __init__(self, store: FeedStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._watchers = ChangePoller(store.newest_positions, POLL_SECONDS)

    def wake(self, user_ids: Iterable[str]) -> None:
        """Wake the streams of users that have new events."""
        for user_id in user_ids:
            self._watchers.wake(user_id)

    async def watch(
        self, user_id: str, consumer: str, after: str, stopping: asyncio.Event
    ) -> AsyncGenerator[FeedEvent | None, None]:
        """Yield a user's events after `after`, a position or `now`, then each new one; None after a silent minute.

        Raises `Unavailable` when the service shuts down, `FailedPrecondition` (CURSOR_EXPIRED) for a position that no
        event has.
        """
        has_new = asyncio.Event()
        with self._watchers.watching(user_id, has_new):
            position = await self._first_position(user_id, consumer, after)
            sent_at = self._now()
            while True:
                has_new.clear()
                while found := await self._store.list_after(user_id, position, PAGE_SIZE):
                    for event in found:
                        yield event
                    position, sent_at = found[-1].position, self._now()
                if stopping.is_set():
                    raise Unavailable("the service restarts; watch again", reason="SERVICE_UNAVAILABLE")
                if self._now() - sent_at > MAX_SILENCE:
                    yield None
                    sent_at = self._now()
                # An older copy of the database may have been restored since the stream began.
                position = position if await self._exists(user_id, position) else 0
                silence = sent_at + MAX_SILENCE - self._now()
                await wait_any(has_new, stopping, seconds=max(0.0, silence.total_seconds()) + 0.1)

    async def acknowledge(self, user_id: str, consumer: str, position: str) -> int:
        """Record the position that a consumer has acknowledged, and return it. It never decreases.

        Raises `FailedPrecondition` (CURSOR_EXPIRED) for a position that no event has.
        """
        before = await self._store.consumer_position(user_id, consumer)
        if int(position) <= before or not await self._exists(user_id, int(position)):
            return before
        return await self._store.acknowledge(user_id, consumer, int(position))

    async def check(self, user_id: str, after: str) -> None:
        """Raise `FailedPrecondition` (CURSOR_EXPIRED) when `watch` cannot start after a position."""
        if after not in ("", NOW):
            await self._exists(user_id, int(after))

    async def _first_position(self, user_id: str, consumer: str, after: str) -> int:
        if after == NOW:
            return await self._store.newest_position(user_id)
        if after:
            return int(after) if await self._exists(user_id, int(after)) else 0
        return await self._store.consumer_position(user_id, consumer) if consumer else 0

    async def _exists(self, user_id: str, position: int) -> bool:
        """Return whether an event has a position; False when the event may have been deleted by age.

        In that case all stored events are newer. Raises `FailedPrecondition` (CURSOR_EXPIRED) when no event ever had
        the position here: it was assigned before an older copy of the database was restored, in which later events
        have other positions.
        """
        if position == 0:
            return True
        found = await self._store.look_up(user_id, position)
        if not found.exists and found.has_older:
            raise FailedPrecondition(
                f"no event has the position {position}: the events were restored from an older copy; begin without a"
                " position, which gives every event that is kept",
                reason="CURSOR_EXPIRED",
            )
        return found.exists


async def assign_positions(
    store: FeedStore, written: asyncio.Event, on_new_events: Callable[[NewEvents], Awaitable[None]]
) -> None:
    """Assign positions to new events whenever `written` is set, and call `on_new_events`, until cancelled."""
    while True:
        written.clear()
        try:
            while new_events := await store.assign_positions():
                await on_new_events(new_events)
        except Unavailable as failure:
            log.warning("assignment of event positions postponed", error=str(failure))
            await asyncio.sleep(RETRY_SECONDS)
            continue
        # Events that are written within this time get their positions in one batch.
        await asyncio.sleep(BATCH_SECONDS)
        await wait_any(written, seconds=POLL_SECONDS)


async def delete_old_events(store: FeedStore) -> None:
    """Delete events older than `EVENT_RETENTION`, once an hour, until cancelled."""
    while True:
        with suppress(Unavailable):
            while await store.delete_older_than(EVENT_RETENTION):
                pass
        await asyncio.sleep(DELETE_PERIOD_SECONDS)

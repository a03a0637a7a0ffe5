"""After an older copy of the database is restored, followers get an error or start again: none misses events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection, sql

from moneyprinter.errors import FailedPrecondition
from services.embedded.postgres import SUPERUSER, create_schemas
from services.orchestrator.events import feed as feeding
from services.orchestrator.events.feed import Feed, FeedEvent
from services.orchestrator.postgres.feed import PostgresFeedStore
from services.orchestrator.postgres.store import PostgresStore
from services.runtime import db
from tests.databases import Databases, open_pool
from tests.orchestrator.samples import job

USER = "user_1"


class Copy:
    """A database with its events."""

    def __init__(self, pool: db.Pool) -> None:
        self.pool = pool
        self.store = PostgresStore(pool, lambda: None)
        self.feed_store = PostgresFeedStore(pool)
        self.feed = Feed(self.feed_store, lambda: datetime.now(UTC))

    async def happen(self, events: int) -> list[FeedEvent]:
        """Let some events happen; returns all that there are."""
        for _ in range(events):
            await self.store.create(job(USER))
            await self.store.claim(timedelta(hours=1))
        while await self.feed_store.assign_positions():
            pass
        return list(await self.feed_store.list_after(USER, 0, 1000))

    async def read(self, number: int, consumer: str = "", after: str = "") -> list[str]:
        """The ids of some events that follow."""
        found: list[str] = []
        async with asyncio.timeout(10), aclosing(self.feed.watch(USER, consumer, after, asyncio.Event())) as events:
            while len(found) < number:
                event = await anext(events)
                found += [event.id] if event else []
        return found


@asynccontextmanager
async def opened(conninfo: str) -> AsyncIterator[Copy]:
    async with open_pool("orchestrator", conninfo) as pool:
        yield Copy(pool)


@pytest.fixture
async def restored(postgres: Databases) -> AsyncIterator[tuple[Copy, Sequence[FeedEvent], Sequence[FeedEvent]]]:
    """A copy of a database from when it had 3 events, in which 4 others happened, the events that there were in the
    database before it was replaced, and those of the copy."""
    lost = await postgres.fresh("orchestrator")
    async with opened(lost) as first:
        await first.happen(3)
    name = lost.split("dbname=")[1].split()[0]
    superuser = postgres.server.conninfo(SUPERUSER, SUPERUSER)
    async with await AsyncConnection.connect(superuser, autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        await connection.execute(statement.format(sql.Identifier(f"{name}_copy"), sql.Identifier(name)))
    await create_schemas(postgres.server, ["orchestrator"], f"{name}_copy")
    async with opened(lost) as first:
        before = await first.happen(5)
    async with opened(postgres.server.conninfo("orchestrator", f"{name}_copy")) as copy:
        yield copy, before, await copy.happen(4)


async def test_a_position_of_a_lost_event_is_refused(
    restored: tuple[Copy, Sequence[FeedEvent], Sequence[FeedEvent]],
) -> None:
    copy, before, now = restored
    assert [event.position for event in before[:3]] == [event.position for event in now[:3]]
    for event in before[3:]:
        with pytest.raises(FailedPrecondition) as refused:
            await copy.read(1, after=str(event.position))
        assert refused.value.reason == "CURSOR_EXPIRED"
        assert "begin without a position" in refused.value.message
    for place, event in enumerate(before[:3], 1):
        assert await copy.read(4, after=str(event.position)) == [each.id for each in now[place : place + 4]]


async def test_a_consumer_continues_at_its_position_in_the_copy_and_cannot_skip(
    restored: tuple[Copy, Sequence[FeedEvent], Sequence[FeedEvent]],
) -> None:
    copy, before, now = restored
    assert await copy.feed.acknowledge(USER, "billing", str(now[1].position)) == now[1].position
    for event in before[3:]:
        with pytest.raises(FailedPrecondition) as refused:
            await copy.feed.acknowledge(USER, "billing", str(event.position))
        assert refused.value.reason == "CURSOR_EXPIRED"
    assert await copy.read(5, "billing") == [event.id for event in now[2:]]


async def test_a_position_of_expired_events_gives_all_stored_events(postgres: Databases) -> None:
    async with opened(await postgres.fresh("orchestrator")) as here:
        first = await here.happen(2)
        async with here.pool.connection() as connection:
            await connection.execute("UPDATE outbox SET publish_time = now(), create_time = now() - interval '8 days'")
        while await here.feed_store.delete_older_than(feeding.EVENT_RETENTION):
            pass
        again = await here.happen(2)
        for event in first:
            assert await here.read(2, after=str(event.position)) == [event.id for event in again]
        assert await here.feed.acknowledge(USER, "billing", str(first[0].position)) == 0, "nothing is skipped by it"


async def test_a_stream_ends_with_the_reason_when_its_database_is_replaced(
    restored: tuple[Copy, Sequence[FeedEvent], Sequence[FeedEvent]],
) -> None:
    copy, _, now = restored
    stale = Feed(copy.feed_store, lambda: datetime.now(UTC))
    async with asyncio.timeout(20), aclosing(stale.watch(USER, "", str(now[-1].position), asyncio.Event())) as events:
        following = asyncio.ensure_future(anext(events))
        # In the copy that takes its place, the last event has another position.
        async with copy.pool.connection() as connection:
            await connection.execute(
                "UPDATE outbox SET position = position - 1 WHERE id = (SELECT max(id) FROM outbox)"
            )
        stale.wake([USER])
        with pytest.raises(FailedPrecondition):
            await following

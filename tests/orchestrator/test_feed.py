"""On real PostgreSQL: the events of a user's jobs in one order, without gaps, each once, wherever the reader begins."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.orchestrator.events import feed as feeding
from services.orchestrator.events.feed import Feed, FeedEvent, NewEvents
from services.orchestrator.jobs.model import Failure, Job, JobProgress
from services.orchestrator.jobs.progress import ProgressWriter
from services.orchestrator.jobs.stages import STAGES
from services.orchestrator.jobs.store import DueEvents
from services.orchestrator.postgres.feed import PostgresFeedStore
from services.orchestrator.postgres.store import PostgresStore
from services.runtime.db import Pool
from services.runtime.tasks import cancel
from tests.databases import Databases, open_pool
from tests.orchestrator.memory import MemoryStore
from tests.orchestrator.samples import RESULT, job

LEASE = timedelta(seconds=10)
SOON = datetime(2030, 1, 1, tzinfo=UTC)


class Watched(PostgresFeedStore):
    """Sets `looked` when the newest position has been read."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.looked = asyncio.Event()

    async def newest_position(self, user_id: str) -> int:
        found = await super().newest_position(user_id)
        self.looked.set()
        return found


class World:
    """A job store, and a feed of its events."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.written = asyncio.Event()
        self.store = PostgresStore(pool, self.written.set)
        self.feed_store = Watched(pool)
        self.feed = Feed(self.feed_store, lambda: datetime.now(UTC))
        self.batches = 0

    async def on_new_events(self, events: NewEvents) -> None:
        self.batches += 1
        self.feed.wake(events.user_ids)

    async def list_events(self, user_id: str = "user_1", position: int = 0) -> list[FeedEvent]:
        while await self.feed_store.assign_positions():
            pass
        return list(await self.feed_store.list_after(user_id, position, 1000))

    async def claim(self, user_id: str = "user_1") -> Job:
        made = job(user_id)
        await self.store.create(made)
        claimed = await self.store.claim(LEASE)
        assert claimed is not None
        assert claimed.id == made.id
        return claimed


@pytest.fixture
async def world(postgres: Databases) -> AsyncIterator[World]:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield World(pool)


def done(number: int) -> dict[str, str]:
    """So many stages are completed."""
    return {name: "completed" if place < number else "pending" for place, name in enumerate(STAGES)}


async def advance(world: World, claimed: Job, percent: int, stages: int) -> None:
    due = DueEvents(progress=True, stages=True)
    await world.store.advance(claimed, percent, done(stages), JobProgress(), SOON, due)


def event_types(events: list[FeedEvent]) -> list[tuple[int, str]]:
    return [(event.sequence, event.envelope["event_type"].removeprefix("video.processing.")) for event in events]


async def test_sequence_numbers_have_no_gaps_over_retries_and_resumed_attempts(world: World) -> None:
    claimed = await world.claim()
    await advance(world, claimed, 10, 1)
    # The answer was lost, and it is written again; then another instance goes on, and does the stage again.
    await advance(world, claimed, 10, 1)
    again = await world.store.claim(timedelta(seconds=-1))
    assert again is not None
    await advance(world, again, 10, 1)
    await advance(world, again, 30, 2)
    await world.store.cancel(claimed.id, "user_1")
    await world.store.retry(claimed.id, "user_1", SOON)
    third = await world.store.claim(LEASE)
    assert third is not None
    await world.store.fail(third, Failure("rendering", "RENDER_FAILED", "x"), done(3))
    await world.store.retry(claimed.id, "user_1", SOON)
    fourth = await world.store.claim(LEASE)
    assert fourth is not None
    await world.store.complete(fourth, RESULT, done(5), JobProgress())
    events = await world.list_events()
    assert event_types(events) == list(
        enumerate(
            [
                *("started", "stage_completed", "progress", "stage_completed", "progress", "cancelled"),
                *("started", "stage_completed", "failed"),
                *("started", "stage_completed", "stage_completed", "completed"),
            ],
            start=1,
        )
    )
    stages = [event.envelope["payload"]["stage"] for event in events if "stage" in event.envelope["event_type"]]
    assert stages == list(STAGES)
    assert [event.id for event in events] == [f"{claimed.id}-event-{event.sequence}" for event in events]
    payloads = [event.envelope["payload"] for event in events if event.envelope["event_type"].endswith("progress")]
    assert payloads == [{"progress": 10}, {"progress": 30}]


async def test_a_follower_misses_no_event_of_concurrent_writers(world: World) -> None:
    """Each reader goes on from the last position that it has seen, while positions are given by two at once."""
    users = ["user_1", "user_2"]
    claimed = [await world.claim(user) for user in users for _ in range(4)]

    async def work(each: Job) -> None:
        for percent in range(1, 16):
            await advance(world, each, percent, percent // 4)
        await world.store.complete(each, RESULT, done(5), JobProgress())

    async def follow(user: str) -> list[FeedEvent]:
        found: list[FeedEvent] = []
        ended = 0
        async with aclosing(world.feed.watch(user, "", "", asyncio.Event())) as events:
            async for event in events:
                assert event is not None
                found.append(event)
                ended += event.envelope["event_type"].endswith(".completed")
                if ended == 4:
                    break
        return found

    assigning = [
        asyncio.create_task(feeding.assign_positions(PostgresFeedStore(world.pool), world.written, world.on_new_events))
        for _ in range(2)
    ]
    try:
        async with asyncio.timeout(60):
            followed = await asyncio.gather(*(follow(user) for user in users), *(work(each) for each in claimed))
    finally:
        for task in assigning:
            await cancel(task)
    for user, found in zip(users, followed[:2], strict=True):
        assert found is not None
        assert {event.envelope["user_id"] for event in found} == {user}
        assert found == await world.list_events(user)
        of_job: dict[str, list[int]] = defaultdict(list)
        for event in found:
            of_job[event.envelope["job_id"]].append(event.sequence)
        assert len(of_job) == 4
        assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in of_job.values())


async def test_repeated_and_reordered_events_give_the_same_state(world: World) -> None:
    """A consumer that heeds ids and numbers: what it has seen, and what came before its time, changes nothing."""
    jobs = [await world.claim() for _ in range(3)]
    for percent in (5, 20, 40, 60):
        for each in jobs:
            await advance(world, each, percent, percent // 20)
    await world.store.complete(jobs[0], RESULT, done(5), JobProgress())
    await world.store.fail(jobs[1], Failure("rendering", "RENDER_FAILED", "x"), jobs[1].stages)
    await world.store.cancel(jobs[2].id, "user_1")
    events = await world.list_events()

    def state(delivered: list[FeedEvent]) -> dict[str, Any]:
        seen: set[str] = set()
        newest: dict[str, int] = {}
        found: dict[str, dict[str, Any]] = defaultdict(lambda: {"stages": set()})
        for event in delivered:
            if event.id in seen:
                continue
            seen.add(event.id)
            what, payload = found[event.envelope["job_id"]], event.envelope["payload"]
            if "stage_completed" in event.envelope["event_type"]:
                what["stages"].add(payload["stage"])
            if event.sequence > newest.get(event.envelope["job_id"], 0):
                newest[event.envelope["job_id"]] = event.sequence
                what["last"] = event.envelope["event_type"]
        return dict(found)

    expected = state(events)
    assert sorted(each["last"].rpartition(".")[2] for each in expected.values()) == ["cancelled", "completed", "failed"]
    chance = random.Random(7)
    for _ in range(20):
        delivered = events * 3
        chance.shuffle(delivered)
        assert state(delivered) == expected


async def test_a_consumer_continues_after_its_acknowledged_position(world: World) -> None:
    claimed = await world.claim()
    await advance(world, claimed, 10, 1)
    events = await world.list_events()
    stopping = asyncio.Event()

    async def first(consumer: str, after: str = "", user: str = "user_1") -> FeedEvent:
        async with aclosing(world.feed.watch(user, consumer, after, stopping)) as found:
            event = await anext(found)
            assert event is not None
            return event

    assert await first("billing") == events[0]
    assert await world.feed.acknowledge("user_1", "billing", str(events[1].position)) == events[1].position
    assert await world.feed.acknowledge("user_1", "billing", str(events[0].position)) == events[1].position
    assert await first("billing") == events[2]
    assert await first("audit") == events[0], "each name has a place of its own"
    assert await first("", str(events[0].position)) == events[1]
    newest = asyncio.create_task(first("", "now"))
    other_user = asyncio.create_task(first("billing", user="user_2"))
    await world.feed_store.looked.wait()
    await advance(world, claimed, 20, 1)
    (latest,) = await world.list_events(position=events[-1].position)
    world.feed.wake(["user_1", "user_2"])
    assert await newest == latest
    assert not other_user.done(), "no user sees the events of another one"
    await cancel(other_user)


async def test_old_events_are_deleted(world: World) -> None:
    claimed = await world.claim()
    await advance(world, claimed, 10, 1)
    await world.list_events()
    async with world.pool.connection() as connection:
        await connection.execute("UPDATE outbox SET create_time = now() - interval '8 days' WHERE sequence = 1")
        await connection.execute("UPDATE outbox SET publish_time = now() WHERE sequence <> 2")
    assert not await world.feed_store.delete_older_than(feeding.EVENT_RETENTION)
    assert [event.sequence for event in await world.list_events()] == [2, 3]
    await advance(world, claimed, 20, 1)
    assert [event.sequence for event in await world.list_events()] == [2, 3, 4]


async def test_progress_is_published_when_it_grows_and_about_once_a_second() -> None:
    store = MemoryStore()
    made = replace(job())
    await store.create(made)
    claimed = await store.claim(LEASE)
    assert claimed is not None
    written = asyncio.Event()

    async def changed() -> None:
        written.set()

    writer = ProgressWriter(store, claimed, changed, lambda: datetime.now(UTC), time.monotonic)
    writing = asyncio.create_task(writer.run())
    began = time.monotonic()
    for fraction in range(1, 21):
        written.clear()
        writer.report("validation", fraction / 1000)
        writer.report("audio_generation", fraction / 100)
        await written.wait()
    writer.close()
    await writing
    subjects = [subject for subject, _ in store.published]
    # The first at once; twenty writes a tenth of a second apart last about two seconds.
    assert 2 <= subjects.count("video.processing.progress") <= time.monotonic() - began + 1

"""Deliveries on real PostgreSQL, with the clock in hand: retried for a day, by one instance at a time, in turns."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moneyprinter.errors import InvalidArgument, Unavailable
from services.orchestrator.postgres.deliveries import PostgresPosts
from services.orchestrator.postgres.feed import PostgresPositions
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.postgres.webhooks import PostgresEndpoints
from services.orchestrator.webhooks import deliveries
from services.orchestrator.webhooks.deliveries import Answer, Busy, Claimed, Courier
from services.orchestrator.webhooks.webhooks import Delivery, Try, Webhook
from services.runtime import db
from services.runtime.db import Pool
from services.runtime.server import cancel
from tests.databases import Databases
from tests.orchestrator.samples import job

LEASE = timedelta(seconds=30)


class World:
    """Webhooks of a user's, and the couriers that post to them; `answer` is what is said, or raised."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.time = datetime.now(UTC)
        self.posts = PostgresPosts(pool, self.now)
        self.endpoints = PostgresEndpoints(pool)
        self.posted: list[tuple[str, str]] = []
        self.answer: Any = 204
        self.hang = asyncio.Event()
        self.came = asyncio.Event()
        self.due = asyncio.Event()

    def now(self) -> datetime:
        return self.time

    def courier(self) -> Courier:
        async def sign(post: Claimed, now: datetime) -> Mapping[str, str]:
            return {"webhook-id": post.event_id}

        return Courier(self.posts, self.post, sign, self.now, lambda: self.time.timestamp())

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.posted.append((url, headers["webhook-id"]))
        self.came.set()
        if "slow" in url:
            await self.hang.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return Answer(self.answer, 0.01)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of what was posted."""
        async with asyncio.timeout(30):
            while not holds():
                self.came.clear()
                await self.came.wait()

    async def webhook(self, url: str, user: str = "user_1") -> str:
        webhook_id = f"whk_{url}"
        await self.endpoints.add(Webhook(webhook_id, user, f"https://{url}/", (), self.now()), 100)
        return webhook_id

    async def events(self, number: int, user: str = "user_1") -> None:
        """Make events, and note where they are to be posted."""
        store = PostgresStore(self.pool, lambda: None)
        for _ in range(number):
            made = job(user)
            await store.create(made)
            await store.cancel(made.id, user)
        await PostgresPositions(self.pool).place()
        self.time = datetime.now(UTC) + timedelta(seconds=1)
        self.due.set()

    async def listed(self) -> list[Delivery]:
        return list(await self.endpoints.deliveries("user_1", 1000, None, "", ""))

    async def step(self, courier: Courier) -> int:
        """Post what is due now, of each webhook one; how many that were."""
        claimed = await self.posts.claim(100, Busy(), LEASE)
        for each in claimed:
            await courier.deliver(each)
        return len(claimed)

    @asynccontextmanager
    async def running(self, number: int = 1) -> AsyncIterator[None]:
        """Couriers of so many instances at work."""
        tasks = [asyncio.create_task(self.courier().run(self.due)) for _ in range(number)]
        try:
            yield
        finally:
            for task in tasks:
                await cancel(task)


@pytest.fixture
async def world(postgres: Databases) -> AsyncIterator[World]:
    async with db.open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield World(pool)


@pytest.mark.parametrize("answer", [500, 404, 302, InvalidArgument("no answer", reason="WEBHOOK_UNREACHABLE")], ids=str)
async def test_it_is_posted_again_after_longer_and_longer_pauses_for_a_day(world: World, answer: Any) -> None:
    await world.webhook("a.example")
    await world.events(1)
    world.answer, courier, began = answer, world.courier(), world.time
    pauses: list[float] = []
    while True:
        assert await world.step(courier) == 1
        (delivery,) = await world.listed()
        if delivery.status != "pending":
            break
        assert delivery.due_time > world.time
        assert await world.step(courier) == 0, "not before its time"
        pauses.append((delivery.due_time - world.time).total_seconds())
        world.time = delivery.due_time
    assert delivery.status == "failed"
    assert timedelta(hours=21) < world.time - began < timedelta(hours=24)
    for tries, pause in enumerate(pauses, start=1):
        longest = min(7200, 5 * 3 ** (tries - 1))
        assert longest / 2 <= pause <= longest
    assert len(set(pauses)) == len(pauses), "chance is in it"
    assert delivery.tries == len(delivery.history) == len(world.posted) == len(pauses) + 1
    assert {event_id for _, event_id in world.posted} == {delivery.event_id}
    again = await world.endpoints.replay("user_1", delivery.id, world.time)
    assert again is not None
    world.answer = 200
    assert await world.step(courier) == 1
    assert (await world.listed())[0].status == "delivered"


async def test_many_instances_post_each_event_once(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.webhook(f"{name}.example")
    await world.events(15)
    async with world.running(4):
        await world.until(lambda: len(world.posted) >= 45)
        async with asyncio.timeout(30):
            while {each.status for each in await world.listed()} != {"delivered"}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert len(world.posted) == 45
    assert set(Counter(world.posted).values()) == {1}
    assert {each.tries for each in await world.listed()} == {1}


async def test_a_webhook_that_is_slow_does_not_hold_up_another(world: World) -> None:
    await world.webhook("slow.example")
    await world.events(30)
    await world.webhook("quick.example")
    async with world.running():
        await world.until(lambda: len(world.posted) >= deliveries.AT_ONCE_EACH)
        await world.events(1)
        await world.until(lambda: any("quick" in url for url, _ in world.posted))
    assert sum("slow" in url for url, _ in world.posted) == deliveries.AT_ONCE_EACH


async def test_the_many_slow_webhooks_of_a_user_do_not_hold_up_those_of_another(world: World) -> None:
    for number in range(20):
        await world.webhook(f"slow-{number}.example")
    await world.events(3)
    async with world.running():
        await world.until(lambda: len(world.posted) >= deliveries.AT_ONCE_USER)
        await world.webhook("quick.example", "user_2")
        await world.events(1, "user_2")
        await world.until(lambda: any("quick" in url for url, _ in world.posted))
    assert sum("slow" in url for url, _ in world.posted) < deliveries.AT_ONCE


async def test_whoever_died_is_followed_by_another_and_counts_for_nothing(world: World) -> None:
    await world.webhook("a.example")
    await world.events(1)
    (dead,) = await world.posts.claim(1, Busy(), LEASE)
    assert not await world.posts.claim(1, Busy(), LEASE)
    world.time += timedelta(seconds=31)
    assert await world.step(world.courier()) == 1
    await world.posts.tried(dead, Try(world.time, 500, "", 0.0), "failed", world.time)
    await world.posts.postpone(dead, world.time)
    (delivery,) = await world.listed()
    assert (delivery.status, delivery.tries) == ("delivered", 1)


async def test_a_host_that_fails_again_and_again_is_left_alone_for_a_while(world: World) -> None:
    for name in ("a.example/1", "a.example/2", "b.example"):
        await world.webhook(name)
    await world.events(4)
    courier, world.answer = world.courier(), 503
    while await world.step(courier):
        pass
    assert sum("a.example" in url for url, _ in world.posted) == 5
    assert courier.breakers == {"a.example": "open"}
    assert sum(each.tries for each in await world.listed() if "a.example" in each.url) == 5
    world.time += timedelta(seconds=46)
    world.answer = 204
    while await world.step(courier):
        pass
    assert courier.breakers == {}


async def test_that_nobody_can_post_is_no_fault_of_the_webhooks(world: World) -> None:
    await world.webhook("a.example")
    await world.events(1)
    courier, world.answer = world.courier(), Unavailable("away", reason="SERVICE_UNAVAILABLE")
    for _ in range(10):
        assert await world.step(courier) == 1
        world.time += timedelta(seconds=4)
    assert ((await world.listed())[0].tries, courier.breakers) == (0, {})
    world.answer = 200
    assert await world.step(courier) == 1
    assert (await world.listed())[0].status == "delivered"

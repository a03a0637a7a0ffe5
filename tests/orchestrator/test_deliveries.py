"""Webhook deliveries on a real PostgreSQL with an injected clock: retries for a day, claims, fairness."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moneyprinter.errors import InvalidArgument, Unavailable
from services.orchestrator.postgres.deliveries import PostgresDeliveryQueue
from services.orchestrator.postgres.feed import PostgresFeedStore
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.postgres.webhooks import PostgresWebhookStore
from services.orchestrator.webhooks import deliveries
from services.orchestrator.webhooks.deliveries import BusyTargets, ClaimedDelivery, WebhookDispatcher, WebhookResponse
from services.orchestrator.webhooks.webhooks import Delivery, DeliveryAttempt, Webhook
from services.runtime.db import Pool
from services.runtime.tasks import cancel
from tests.databases import Databases, open_pool
from tests.orchestrator.samples import job

LEASE = timedelta(seconds=30)


class World:
    """A user's webhooks, and dispatchers that post to them. `answer`: the HTTP status of responses, or an error."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.time = datetime.now(UTC)
        self.queue = PostgresDeliveryQueue(pool, self.now)
        self.webhooks = PostgresWebhookStore(pool)
        self.posted: list[tuple[str, str]] = []
        self.answer: Any = 204
        self.hang = asyncio.Event()
        self.came = asyncio.Event()
        self.due = asyncio.Event()

    def now(self) -> datetime:
        return self.time

    def dispatcher(self) -> WebhookDispatcher:
        async def sign(delivery: ClaimedDelivery, now: datetime) -> Mapping[str, str]:
            return {"webhook-id": delivery.event_id}

        return WebhookDispatcher(self.queue, self.post, sign, self.now, lambda: self.time.timestamp())

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        self.posted.append((url, headers["webhook-id"]))
        self.came.set()
        if "slow" in url:
            await self.hang.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return WebhookResponse(self.answer, 0.01)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition on the posted requests holds."""
        async with asyncio.timeout(30):
            while not holds():
                self.came.clear()
                await self.came.wait()

    async def webhook(self, url: str, user: str = "user_1") -> str:
        webhook_id = f"whk_{url}"
        await self.webhooks.add(Webhook(webhook_id, user, f"https://{url}/", (), self.now()), 100)
        return webhook_id

    async def events(self, number: int, user: str = "user_1") -> None:
        """Create events, and record their deliveries."""
        store = PostgresStore(self.pool, lambda: None)
        for _ in range(number):
            made = job(user)
            await store.create(made)
            await store.cancel(made.id, user)
        await PostgresFeedStore(self.pool).assign_positions()
        self.time = datetime.now(UTC) + timedelta(seconds=1)
        self.due.set()

    async def list_deliveries(self) -> list[Delivery]:
        return list(await self.webhooks.list_deliveries("user_1", 1000, None, "", ""))

    async def step(self, dispatcher: WebhookDispatcher) -> int:
        """Deliver what is due now, one delivery of each webhook. Return how many were due."""
        claimed = await self.queue.claim(100, BusyTargets(), LEASE)
        for each in claimed:
            await dispatcher.deliver(each)
        return len(claimed)

    @asynccontextmanager
    async def running(self, number: int = 1) -> AsyncIterator[None]:
        """Run the dispatchers of `number` instances."""
        tasks = [asyncio.create_task(self.dispatcher().run(self.due)) for _ in range(number)]
        try:
            yield
        finally:
            for task in tasks:
                await cancel(task)


@pytest.fixture
async def world(postgres: Databases) -> AsyncIterator[World]:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield World(pool)


@pytest.mark.parametrize("answer", [500, 404, 302, InvalidArgument("no answer", reason="WEBHOOK_UNREACHABLE")], ids=str)
async def test_a_failing_delivery_is_retried_with_growing_pauses_for_a_day(world: World, answer: Any) -> None:
    await world.webhook("a.example")
    await world.events(1)
    world.answer, dispatcher, began = answer, world.dispatcher(), world.time
    pauses: list[float] = []
    while True:
        assert await world.step(dispatcher) == 1
        (delivery,) = await world.list_deliveries()
        if delivery.status != "pending":
            break
        assert delivery.due_time > world.time
        assert await world.step(dispatcher) == 0, "not before its time"
        pauses.append((delivery.due_time - world.time).total_seconds())
        world.time = delivery.due_time
    assert delivery.status == "failed"
    assert timedelta(hours=21) < world.time - began < timedelta(hours=24)
    for tries, pause in enumerate(pauses, start=1):
        longest = min(7200, 5 * 3 ** (tries - 1))
        assert longest / 2 <= pause <= longest
    assert len(set(pauses)) == len(pauses), "the pauses have jitter"
    assert delivery.attempt_count == len(delivery.history) == len(world.posted) == len(pauses) + 1
    assert {event_id for _, event_id in world.posted} == {delivery.event_id}
    again = await world.webhooks.replay("user_1", delivery.id, world.time)
    assert again is not None
    world.answer = 200
    assert await world.step(dispatcher) == 1
    assert (await world.list_deliveries())[0].status == "delivered"


async def test_many_instances_post_each_event_once(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.webhook(f"{name}.example")
    await world.events(15)
    async with world.running(4):
        await world.until(lambda: len(world.posted) >= 45)
        async with asyncio.timeout(30):
            while {each.status for each in await world.list_deliveries()} != {"delivered"}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert len(world.posted) == 45
    assert set(Counter(world.posted).values()) == {1}
    assert {each.attempt_count for each in await world.list_deliveries()} == {1}


async def test_a_slow_webhook_does_not_delay_another_one(world: World) -> None:
    await world.webhook("slow.example")
    await world.events(30)
    await world.webhook("quick.example")
    async with world.running():
        await world.until(lambda: len(world.posted) >= deliveries.MAX_CONCURRENT_PER_WEBHOOK)
        await world.events(1)
        await world.until(lambda: any("quick" in url for url, _ in world.posted))
    assert sum("slow" in url for url, _ in world.posted) == deliveries.MAX_CONCURRENT_PER_WEBHOOK


async def test_slow_webhooks_of_one_user_do_not_delay_those_of_another(world: World) -> None:
    for number in range(20):
        await world.webhook(f"slow-{number}.example")
    await world.events(3)
    async with world.running():
        await world.until(lambda: len(world.posted) >= deliveries.MAX_CONCURRENT_PER_USER)
        await world.webhook("quick.example", "user_2")
        await world.events(1, "user_2")
        await world.until(lambda: any("quick" in url for url, _ in world.posted))
    assert sum("slow" in url for url, _ in world.posted) < deliveries.MAX_CONCURRENT


async def test_another_instance_takes_over_after_the_lease_and_the_first_one_records_nothing(world: World) -> None:
    await world.webhook("a.example")
    await world.events(1)
    (dead,) = await world.queue.claim(1, BusyTargets(), LEASE)
    assert not await world.queue.claim(1, BusyTargets(), LEASE)
    world.time += timedelta(seconds=31)
    assert await world.step(world.dispatcher()) == 1
    await world.queue.record_attempt(dead, DeliveryAttempt(world.time, 500, "", 0.0), "failed", world.time)
    await world.queue.postpone(dead, world.time)
    (delivery,) = await world.list_deliveries()
    assert (delivery.status, delivery.attempt_count) == ("delivered", 1)


async def test_a_host_that_keeps_failing_opens_its_circuit_breaker(world: World) -> None:
    for name in ("a.example/1", "a.example/2", "b.example"):
        await world.webhook(name)
    await world.events(4)
    dispatcher, world.answer = world.dispatcher(), 503
    while await world.step(dispatcher):
        pass
    assert sum("a.example" in url for url, _ in world.posted) == 5
    assert dispatcher.breakers == {"a.example": "open"}
    assert sum(each.attempt_count for each in await world.list_deliveries() if "a.example" in each.url) == 5
    world.time += timedelta(seconds=46)
    world.answer = 204
    while await world.step(dispatcher):
        pass
    assert dispatcher.breakers == {}


async def test_an_outage_of_the_validation_service_does_not_count_as_an_attempt(world: World) -> None:
    await world.webhook("a.example")
    await world.events(1)
    dispatcher, world.answer = world.dispatcher(), Unavailable("away", reason="SERVICE_UNAVAILABLE")
    for _ in range(10):
        assert await world.step(dispatcher) == 1
        world.time += timedelta(seconds=4)
    assert ((await world.list_deliveries())[0].attempt_count, dispatcher.breakers) == (0, {})
    world.answer = 200
    assert await world.step(dispatcher) == 1
    assert (await world.list_deliveries())[0].status == "delivered"

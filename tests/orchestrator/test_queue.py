"""On real PostgreSQL and NATS: an accepted job ends, and its events are published, whatever dies between."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from nats.aio.client import Client

from moneyprinter.errors import InvalidArgument, Unavailable
from services.orchestrator.events import messages
from services.orchestrator.jetstream.job_queue import consume_jobs
from services.orchestrator.jetstream.notifications import Notifications
from services.orchestrator.jetstream.relay import relay_outbox
from services.orchestrator.jetstream.streams import EVENTS, JOBS, make_streams
from services.orchestrator.jobs import cleanup, workflow
from services.orchestrator.jobs.driver import Driver
from services.orchestrator.jobs.model import Failure, Job
from services.orchestrator.jobs.scenes import Approval, SceneRequest
from services.orchestrator.postgres.cleanup import PostgresCleanupQueue
from services.orchestrator.postgres.outbox import PostgresOutbox
from services.orchestrator.postgres.store import PostgresStore
from services.runtime import events
from services.runtime.config import RuntimeConfig
from services.runtime.db import Pool
from services.runtime.tasks import cancel
from tests.databases import Databases, open_pool
from tests.orchestrator.samples import StraightWorkers, job

LEASE_SECONDS = 1.0


class Platform:
    """A database, NATS, and instances of the orchestrator's inside."""

    def __init__(self, pool: Pool, client: Client) -> None:
        self.pool = pool
        self.client = client
        self.stream = client.jetstream()
        self.written = asyncio.Event()
        self.store = PostgresStore(pool, self.written.set)
        self.notifications = Notifications(client)

    @asynccontextmanager
    async def instance(self, workers: workflow.Workers) -> AsyncIterator[None]:
        """An instance that takes jobs while the context is open."""

        async def make(made: Job, journal: Any) -> Any:
            return await workflow.make_video(made, workers, journal)

        driver = Driver(
            self.store, make, self.notifications.publish_change, lease_seconds=LEASE_SECONDS, max_attempts=5
        )
        await self.notifications.subscribe_cancellations(driver.stop)
        work = [
            asyncio.create_task(relay_outbox(PostgresOutbox(self.pool), self.stream, self.written)),
            asyncio.create_task(consume_jobs(self.stream, driver.drive, jobs_at_once=2, lease_seconds=LEASE_SECONDS)),
        ]
        try:
            yield
        finally:
            for task in work:
                await cancel(task)

    async def until(self, made: Job, holds: Callable[[Job], bool]) -> Job:
        """Wait until a condition on a job holds, woken by its change notifications."""
        changed = asyncio.Event()
        stop = await self.notifications.subscribe_changes(made.id, changed)
        async with asyncio.timeout(60):
            while True:
                changed.clear()
                found = await self.store.find(made.id, made.user_id)
                assert found is not None
                if holds(found):
                    await stop()
                    return found
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await changed.wait()


@pytest.fixture
async def platform(postgres: Databases, nats_url: str, config: RuntimeConfig) -> AsyncIterator[Platform]:
    async with (
        open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool,
        events.connect(config, "orchestrator", nats_url) as client,
    ):
        made = Platform(pool, client)
        await make_streams(made.stream)
        yield made


def ended(found: Job) -> bool:
    return found.status != "processing"


async def published(platform: Platform, number: int, *kinds: str) -> list[dict[str, Any]]:
    """The first events of some kinds, as a consumer gets them; their numbers have no gaps."""
    subscription = await platform.stream.pull_subscribe("video.processing.>", stream=EVENTS, durable="test")
    found: list[dict[str, Any]] = []
    sequences: Counter[str] = Counter()
    while len(found) < number:
        (message,) = await subscription.fetch(1, timeout=5)
        event = json.loads(message.data)
        sequences[event["job_id"]] += 1
        headers = message.headers or {}
        assert headers["Moneyprinter-Sequence"] == str(sequences[event["job_id"]])
        assert headers["Nats-Msg-Id"] == f"{event['job_id']}-event-{sequences[event['job_id']]}"
        assert message.subject == event["event_type"]
        if event["event_type"].rpartition(".")[2] in kinds:
            found.append(event)
    return found


async def test_an_accepted_job_ends_and_its_events_are_published(platform: Platform) -> None:
    made = job()
    async with platform.instance(StraightWorkers()):
        await platform.store.create(made)
        found = await platform.until(made, ended)
        started, completed = await published(platform, 2, "started", "completed")
    assert found.status == "completed"
    assert started == {
        "event_type": "video.processing.started",
        "job_id": made.id,
        "user_id": "user_1",
        "timestamp": started["timestamp"],
        "payload": {"clips_count": 2, "total_duration": 20, "quality_settings": "draft"},
    }
    assert list(completed) == ["event_type", "job_id", "user_id", "timestamp", "payload"]
    assert completed["event_type"] == "video.processing.completed"
    payload = completed["payload"]
    assert list(payload) == ["output_url", "duration", "file_size", "processing_time"]
    assert (payload["output_url"], payload["duration"], payload["file_size"]) == (f"/videos/{made.id}/file", 10, 7)


async def test_a_job_that_was_accepted_while_no_instance_ran_is_claimed(platform: Platform) -> None:
    made = job()
    await platform.store.create(made)
    async with platform.instance(StraightWorkers()):
        assert (await platform.until(made, ended)).status == "completed"


class Stuck(StraightWorkers):
    """Never joins."""

    def __init__(self) -> None:
        super().__init__()
        self.joining = asyncio.Event()
        self.stopped = asyncio.Event()

    async def join(self, *_: Any) -> Any:
        self.joining.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


async def test_another_instance_finishes_the_job_of_a_stopped_one(platform: Platform) -> None:
    made, stuck, next_one = job(), Stuck(), StraightWorkers()
    await platform.store.create(made)
    async with platform.instance(stuck):
        await stuck.joining.wait()
    async with platform.instance(next_one):
        found = await platform.until(made, ended)
    assert (found.status, found.attempt) == ("completed", 2)
    assert next_one.done[0] == "join"


async def test_another_instance_finishes_the_job_of_a_hanging_one(platform: Platform) -> None:
    """The instance gives no sign of life any more, and does not let the job go either."""
    made, next_one = job(), StraightWorkers()

    async def hang(*_: Any) -> None:
        taken.set()
        await platform.store.claim(timedelta(seconds=LEASE_SECONDS))
        await asyncio.Event().wait()

    taken = asyncio.Event()
    await platform.store.create(made)
    relay = asyncio.create_task(relay_outbox(PostgresOutbox(platform.pool), platform.stream, platform.written))
    hanging = asyncio.create_task(consume_jobs(platform.stream, hang, jobs_at_once=1, lease_seconds=LEASE_SECONDS))
    try:
        await taken.wait()
        async with platform.instance(next_one):
            found = await platform.until(made, ended)
        assert (found.status, found.attempt) == ("completed", 2)
    finally:
        for task in (relay, hanging):
            await cancel(task)


async def test_a_cancelled_job_is_stopped_wherever_it_runs(platform: Platform) -> None:
    made, stuck = job(), Stuck()
    async with platform.instance(stuck):
        await platform.store.create(made)
        await stuck.joining.wait()
        await platform.store.cancel(made.id, made.user_id)
        await platform.notifications.publish_cancellation(made.id)
        await asyncio.wait_for(stuck.stopped.wait(), 20)
        (event,) = await published(platform, 1, "cancelled")
    assert (event["job_id"], event["payload"]) == (made.id, {"progress": event["payload"]["progress"]})


async def test_a_retried_job_publishes_both_its_ends(platform: Platform) -> None:
    made = job()
    workers = StraightWorkers(fail={"join": [InvalidArgument("x", reason="SEGMENTS_MISMATCHED") for _ in range(2)]})
    async with platform.instance(workers):
        await platform.store.create(made)
        for status in ("failed", "failed", "completed"):
            await platform.until(made, lambda found, status=status: found.status == status)  # type: ignore[misc]
            if status == "failed":
                await platform.store.retry(made.id, made.user_id, made.create_time)
        ends = [each["event_type"] for each in await published(platform, 6, "started", "failed", "completed")]
    assert ends == [
        f"video.processing.{kind}" for kind in ("started", "failed", "started", "failed", "started", "completed")
    ]


async def test_a_job_waits_for_its_review_without_an_instance_and_survives_restarts(platform: Platform) -> None:
    """It waits with no queue message, across a restart; after the approval, one of two instances finishes it."""
    made = job()
    made = replace(made, request=replace(made.request, review="script"))
    workers = [StraightWorkers() for _ in range(3)]
    async with platform.instance(workers[0]):
        await platform.store.create(made)
        waiting = await platform.until(made, lambda found: found.review is not None)
        (event,) = await published(platform, 1, "review_requested")
        await until_empty(platform)
    assert waiting.review is not None
    assert event["payload"] == {
        "subject": "script",
        "video_url": f"/videos/{made.id}",
        "approve_url": f"/videos/{made.id}/approve",
        "expire_time": messages.format_timestamp(waiting.review.expire_time),
    }
    async with platform.instance(workers[1]), platform.instance(workers[2]):
        approval = Approval(tuple(SceneRequest(scene.script) for scene in waiting.review.scenes))
        answers = await asyncio.gather(
            *(platform.store.approve(made.id, made.user_id, approval, made.create_time) for _ in range(2))
        )
        assert [answer and answer[1] for answer in answers] == [approval, approval]
        assert (await platform.until(made, ended)).status == "completed"
    done = [step for each in workers for step in each.done]
    assert (done.count("write_script"), done.count("speak"), done.count("finish")) == (1, 1, 1)


async def until_empty(platform: Platform) -> None:
    """Wait until the queue of jobs holds no message."""
    async with asyncio.timeout(30):
        while (await platform.stream.stream_info(JOBS)).state.messages:
            pass


async def test_files_of_a_failed_job_are_removed_when_storage_is_back(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Objects:
        """Is away at first."""

        def __init__(self) -> None:
            self.deleted: list[str] = []
            self.fences: list[tuple[str, int]] = []
            self.failures = [Unavailable("away", reason="SERVICE_UNAVAILABLE")]
            self.done = asyncio.Event()

        async def delete(self, key: str) -> None:
            if self.failures:
                raise self.failures.pop()
            self.deleted.append(key)
            # Those in the folder itself are the files of earlier versions.
            if len(self.deleted) == len(made.request.file_names):
                self.done.set()

        async def fence(self, folder: str, up_to: int) -> None:
            self.fences.append((folder, up_to))

    monkeypatch.setattr(cleanup, "POLL_SECONDS", 0.05)
    made, objects = job(), Objects()
    await platform.store.create(made)
    taken = await platform.store.claim(timedelta(seconds=LEASE_SECONDS))
    assert taken is not None
    await platform.store.fail(taken, Failure("rendering", "RENDER_FAILED", "x"), taken.stages)
    sweeping = asyncio.create_task(cleanup.run_cleanup(PostgresCleanupQueue(platform.pool), objects, asyncio.Event()))
    try:
        await asyncio.wait_for(objects.done.wait(), 30)
    finally:
        await cancel(sweeping)
    assert f"jobs/{made.id}/video.mp4" in objects.deleted
    assert set(objects.fences) == {(made.folder, taken.attempt)}

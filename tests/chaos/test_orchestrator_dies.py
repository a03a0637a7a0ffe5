"""The orchestrator dies between any two state changes: every job ends once, with the same result."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

from services.orchestrator.jetstream.job_queue import consume_jobs
from services.orchestrator.jetstream.relay import relay_outbox
from services.orchestrator.jetstream.streams import EVENTS, make_streams
from services.orchestrator.jobs import failpoints, workflow
from services.orchestrator.jobs.driver import Driver
from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.store import Store
from services.orchestrator.postgres.outbox import PostgresOutbox
from services.orchestrator.postgres.store import PostgresStore
from services.runtime import db, events
from services.runtime.config import RuntimeConfig
from services.runtime.tasks import cancel
from tests.chaos.world import REQUEST, UNDERWAY, World, world
from tests.databases import Databases
from tests.orchestrator.samples import StraightWorkers, job

LEASE_SECONDS = 1.0
STEPS = 11
# Every state change of a job of the sample workers, in about this order.
POINTS = (
    "claim:1",
    # Changes within a short time are written together.
    "advance:1",
    *(f"record:{number}" for number in range(1, STEPS + 1)),
    "complete:1",
)


class MortalStore:
    """A store whose calls, after `die`, never return and change nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.dead = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            if self.dead.is_set():
                await asyncio.Event().wait()
            return await getattr(self._store, name)(*arguments)

        return call

    async def die(self) -> None:
        self.dead.set()
        await asyncio.Event().wait()


async def test_a_job_ends_once_at_every_point_of_death(
    postgres: Databases, nats_url: str, config: RuntimeConfig
) -> None:
    """One instance for each point, which starts one job and dies there; then one that survives."""
    async with (
        db.open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool,
        events.connect(config, "orchestrator", nats_url) as client,
        AsyncExitStack() as stack,
    ):
        running: list[asyncio.Task[None]] = []

        async def end() -> None:
            # Dead instances ignore cancellation for a while, so cancel them concurrently.
            await asyncio.gather(*map(cancel, running))

        stack.push_async_callback(end)
        stream, written = client.jetstream(), asyncio.Event()
        await make_streams(stream)
        store = PostgresStore(pool, written.set)
        jobs = [job() for _ in POINTS]
        workers = [StraightWorkers() for _ in (*POINTS, "alive")]

        def start(used: Store, done_by: workflow.Workers, jobs_at_once: int) -> None:
            async def make(made: Job, journal: Any) -> Any:
                return await workflow.make_video(made, done_by, journal)

            async def changed(_: str) -> None:
                pass

            driver = Driver(used, make, changed, lease_seconds=LEASE_SECONDS, max_attempts=5)
            consumer = consume_jobs(stream, driver.drive, jobs_at_once=jobs_at_once, lease_seconds=LEASE_SECONDS)
            running.append(asyncio.create_task(consumer))

        running.append(asyncio.create_task(relay_outbox(PostgresOutbox(pool), stream, written)))
        mortals = [MortalStore(store) for _ in POINTS]
        for point, mortal, done_by in zip(POINTS, mortals, workers, strict=False):
            start(failpoints.kill_at(cast(Store, mortal), point, mortal.die), done_by, 1)
        for made in jobs:
            await store.create(made)
        async with asyncio.timeout(30):
            await asyncio.gather(*(mortal.dead.wait() for mortal in mortals))
        start(store, workers[-1], 4)
        async with asyncio.timeout(60):
            while await store.active_jobs():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        found = [await store.find(made.id, made.user_id) for made in jobs]
        assert {each.status for each in found if each} == {"completed"}
        assert len({each.result.files for each in found if each and each.result}) == 1, "the same result"
        # Only the step that ran at the moment of death is repeated.
        done = Counter(step for each in workers for step in each.done)
        assert done["finish"] <= len(jobs) + 2
        assert done["render 1"] <= len(jobs) + len(POINTS) // 4
        published = await _published(client.jetstream(), 2 * len(jobs))
        assert set(published.values()) == {1}
        assert len(published) == 2 * len(jobs)


async def _published(stream: Any, number: int) -> Counter[str]:
    subscription = await stream.pull_subscribe("video.processing.>", stream=EVENTS)
    found: Counter[str] = Counter()
    while found.total() < number or (await subscription.consumer_info()).num_pending:
        for message in await subscription.fetch(100, timeout=5):
            if message.subject not in UNDERWAY:
                found[message.headers["Nats-Msg-Id"]] += 1
    return found


async def test_a_killed_process_is_replaced(tmp_path: Path) -> None:
    """With a real process, which is killed during a job."""
    async with world(tmp_path) as here:
        await here.instances["orchestrator-1"].stop()
        await here.serve("orchestrator", 1, {failpoints.VARIABLE: f"record:15@{tmp_path / 'died'}"})
        # At most twelve results can be recorded before the first rendered segment.
        here.stand_ins.open.clear()
        async with here.user() as http:
            jobs = [(await http.post("/v1/videos", json=REQUEST)).json()["job_id"] for _ in range(3)]
        here.stand_ins.open.set()
        assert set((await here.until_ended(jobs)).values()) == {"completed"}
        assert (tmp_path / "died").exists()
        assert len(set((await here.manifests(jobs)).values())) == 1
        assert set((await here.events(6)).values()) == {1}


async def test_the_late_result_of_a_stopped_instance_is_refused(two: World) -> None:
    """SIGSTOP, until another instance has finished the job; then SIGCONT."""
    two.stand_ins.open.clear()
    async with two.user() as http:
        made = (await http.post("/v1/videos", json=REQUEST)).json()["job_id"]
        await two.stand_ins.rendering.wait()
        first = next(name for name in ("orchestrator-1", "orchestrator-2") if made in two.log(name))
        async with two.stopped(first):
            two.stand_ins.open.set()
            assert await two.until_ended([made]) == {made: "completed"}
            before = await two.rows("SELECT attempt, result, end_time FROM jobs")
        async with asyncio.timeout(20):
            while "job was claimed by another instance" not in two.log(first):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert await two.rows("SELECT attempt, result, end_time FROM jobs") == before
    assert before[0][0] == 2
    assert await two.events(2) == {(made, "video.processing.started"): 1, (made, "video.processing.completed"): 1}

"""NATS dies, or loses its data: requests are accepted nevertheless, and every accepted job ends once."""

from __future__ import annotations

import asyncio
import json
import random

from services.orchestrator.jetstream.streams import JOBS
from services.runtime import events
from tests.chaos.world import REQUEST, World

CREATES = 10
PAUSE_SECONDS = 0.2


async def test_jobs_accepted_during_an_outage_of_nats_end(two: World) -> None:
    async with two.user() as http:
        answers = []
        async with two.killed(two.nats, "nats-server"):
            for _ in range(CREATES):
                answers.append(await http.post("/v1/videos", json=REQUEST))
                await asyncio.sleep(PAUSE_SECONDS)
    assert [answer.status_code for answer in answers] == [202] * CREATES
    jobs = [answer.json()["job_id"] for answer in answers]
    assert set((await two.until_ended(jobs)).values()) == {"completed"}
    published = await two.events(2 * CREATES)
    assert set(published.values()) == {1}
    assert len(published) == 2 * CREATES


async def test_jobs_lost_by_the_queue_are_queued_again(two: World) -> None:
    """The stream is deleted with all its messages, as when NATS loses its disk; the database still has the jobs."""
    two.stand_ins.open.clear()
    async with two.user() as http, events.connect(two.config, "orchestrator", two.nats_url) as client:
        answers = [await http.post("/v1/videos", json=REQUEST) for _ in range(6)]
        jobs = [answer.json()["job_id"] for answer in answers]
        await two.stand_ins.rendering.wait()
        await client.jetstream().delete_stream(JOBS)
        two.stand_ins.open.set()
        later = (await http.post("/v1/videos", json=REQUEST)).json()["job_id"]
        assert set((await two.until_ended([*jobs, later], 90)).values()) == {"completed"}


async def test_repeated_messages_in_any_order_change_nothing(two: World) -> None:
    two.stand_ins.open.clear()
    async with two.user() as http, events.connect(two.config, "orchestrator", two.nats_url) as client:
        jobs = [(await http.post("/v1/videos", json=REQUEST)).json()["job_id"] for _ in range(6)]
        copies = jobs * 3
        random.Random(4).shuffle(copies)
        for job in copies:
            await client.jetstream().publish("jobs.video", json.dumps({"job_id": job}).encode())
        two.stand_ins.open.set()
        states = await two.until_ended(jobs)
        # Also for ended jobs.
        for job in copies:
            await client.jetstream().publish("jobs.video", json.dumps({"job_id": job}).encode())
        async with asyncio.timeout(30):
            while (await client.jetstream().stream_info(JOBS)).state.messages:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    assert states == dict.fromkeys(jobs, "completed")
    assert await two.rows("SELECT DISTINCT status, attempt FROM jobs") == [("completed", 1)]
    assert len(set((await two.manifests(jobs)).values())) == 1
    assert two.stand_ins.call_counts["finish"] == len(jobs), "nothing is done twice"
    published = await two.events(2 * len(jobs))
    assert set(published.values()) == {1}

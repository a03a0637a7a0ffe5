"""Long chaos runs: outages, hung processes and full disks."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import httpx
import psutil

from services.orchestrator.jetstream.streams import JOBS
from services.runtime import events
from tests import media
from tests.chaos import world as worlds
from tests.chaos.long_jobs import LEASE_SECONDS, ONE_EACH, REAL, TWICE, create, request, until_progress
from tests.chaos.world import World, world

CREATES_A_SECOND = 5
ANSWER_SECONDS = 2.0
SMALL_BYTES = 200_000


async def nats_killed(folder: Path, times: int) -> str:
    async with world(folder, instances={"orchestrator": 2}, lease_seconds=LEASE_SECONDS) as here, here.user() as http:
        answers: list[httpx.Response] = []
        async with here.killed(here.nats, "nats-server"):
            began = time.monotonic()
            for number in range(times * CREATES_A_SECOND):
                answers.append(await http.post("/v1/videos", json=worlds.REQUEST))
                await asyncio.sleep(max(0.0, began + (number + 1) / CREATES_A_SECOND - time.monotonic()))
        back = time.monotonic()
        codes = Counter(answer.status_code for answer in answers)
        assert set(codes) == {202}, codes
        jobs = [answer.json()["job_id"] for answer in answers]
        states = Counter((await here.until_ended(jobs, 300)).values())
        drained = time.monotonic() - back
        published = await here.events(2 * len(jobs))
        assert set(states) == {"completed"}, states
        assert set(published.values()) == {1}, published
        return f"{len(jobs)}/{len(jobs)} answered 202 and completed; backlog gone {drained:.0f} s after NATS was back"


async def postgres_stopped(folder: Path, times: int) -> str:
    return await _postgres_outage(folder, lambda here: here.stopped("postgres"), times)


async def postgres_killed(folder: Path, times: int) -> str:
    return await _postgres_outage(folder, lambda here: here.killed(here.database, "postgres"), times)


async def _postgres_outage(folder: Path, away: Callable[[World], AbstractAsyncContextManager[None]], times: int) -> str:
    async with world(folder, real=REAL, instances=TWICE, lease_seconds=LEASE_SECONDS, settings=ONE_EACH) as here:
        jobs = [await create(here, request(number)) for number in range(4)]
        await until_progress(here, jobs[0], 1)
        slowest, codes = 0.0, Counter[int]()
        async with here.user() as http, away(here):
            end = time.monotonic() + times
            while time.monotonic() < end:
                for method, path, body in (
                    ("GET", f"/v1/videos/{jobs[0]}/status", None),
                    ("POST", "/v1/videos", request(99)),
                ):
                    asked = time.monotonic()
                    answer = await http.request(method, path, json=body)
                    slowest = max(slowest, time.monotonic() - asked)
                    codes[answer.status_code] += 1
                    assert int(answer.headers.get("retry-after", 0)) >= 1, answer.text
                await asyncio.sleep(0.2)
        back = time.monotonic()
        async with here.user() as http, asyncio.timeout(30):
            while (await http.get("/v1/videos")).status_code != httpx.codes.OK:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        answers_again = time.monotonic() - back
        states = await here.until_ended(jobs, 300)
        figures = (
            f"{codes.total()} answers, all {set(codes)}, the slowest after {slowest:.2f} s; answers again"
            f" {answers_again:.2f} s after it was back; {list(states.values()).count('completed')}/4 jobs completed"
        )
        assert set(codes) == {503}, figures
        assert slowest <= ANSWER_SECONDS, figures
        assert set(states.values()) == {"completed"}, figures
        return figures


async def disk_full(folder: Path, times: int) -> str:
    async with world(folder, real=REAL, lease_seconds=LEASE_SECONDS) as here:
        noise = "nullsrc=s={w}x{h}:r={rate},geq=lum='random(1)*255':cb=128:cr=128"
        clip = media.clip(folder / "noise.mp4", noise, seconds=2, encode=("-c:v", "libx264", "-crf", "12"))
        assert clip.stat().st_size > 5 * SMALL_BYTES, clip.stat()
        async with here.user() as http:
            answer = await http.post("/v1/assets?filename=noise.mp4", content=clip.read_bytes())
            asset = {"asset_id": answer.json()["asset_id"]}
        found = []
        for number, name in enumerate(("processing-1", "storage-1")):
            wanted = {**request(number), "clips": [{**asset, "speed": 1 + number / 10}]}
            process = here.process(name)
            before = process.rlimit(psutil.RLIMIT_FSIZE)
            # Larger than the log, which the process keeps writing, and smaller than a segment.
            process.rlimit(psutil.RLIMIT_FSIZE, (SMALL_BYTES, before[1]))
            failed = await create(here, wanted)
            states = await here.until_ended([failed], 300)
            left = [path for path in here.config.scratch.rglob("*") if path.is_file() and len(path.name) != 64]
            [(error,)] = await here.rows("SELECT error FROM jobs WHERE id = %s", failed)
            process.rlimit(psutil.RLIMIT_FSIZE, before)
            again = await create(here, wanted)
            ended = await here.until_ended([again], 180)
            assert (states[failed], error and error["reason"]) == ("failed", "STORAGE_FULL"), (name, states, error)
            assert not left, left
            assert ended[again] == "completed", ended
            found.append(f"{name}: {error['reason']}, nothing left in scratch, the next job completed")
        return "; ".join(found)


async def orchestrator_stopped(folder: Path, times: int) -> str:
    async with world(folder, real=REAL, instances=TWICE, lease_seconds=LEASE_SECONDS, settings=ONE_EACH) as here:
        job = await create(here, request(1))
        await until_progress(here, job, 20)
        first = next(name for name in ("orchestrator-1", "orchestrator-2") if job in here.log(name))
        began = time.monotonic()
        async with here.stopped(first):
            states = await here.until_ended([job], 180)
            finished = time.monotonic() - began
            before = await here.rows("SELECT attempt, result, end_time FROM jobs")
            await asyncio.sleep(max(0.0, times - finished))
        async with asyncio.timeout(60):
            while "job was claimed by another instance" not in here.log(first):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert states == {job: "completed"}
        assert await here.rows("SELECT attempt, result, end_time FROM jobs") == before
        assert set((await here.events(2)).values()) == {1}
        return (
            f"another instance finished the job {finished:.0f} s after the stop (attempt {before[0][0]}); late: refused"
        )


async def processing_stopped(folder: Path, times: int) -> str:
    async with world(folder, real=REAL, instances=TWICE, lease_seconds=LEASE_SECONDS, settings=ONE_EACH) as here:
        job = await create(here, request(1))
        await until_progress(here, job, 10)
        began = time.monotonic()
        async with here.stopped("processing-1"):
            with suppress(TimeoutError):
                await here.until_ended([job], times)
            [(status,)] = await here.rows("SELECT status FROM jobs")
            during = f"{status} after {time.monotonic() - began:.0f} s of the stop"
            await asyncio.sleep(max(0.0, times - (time.monotonic() - began)))
        states = await here.until_ended([job], 180)
        took = time.monotonic() - began
        assert states == {job: "completed"}
        assert set((await here.events(2)).values()) == {1}
        return f"{during}; ended within {took:.0f} s of the stop"


async def triple_delivery(folder: Path, times: int) -> str:
    async with (
        world(folder, instances={"orchestrator": 2}, lease_seconds=LEASE_SECONDS) as here,
        events.connect(here.config, "orchestrator", here.nats_url) as client,
        here.user() as http,
    ):
        stream = client.jetstream()
        here.stand_ins.open.clear()
        jobs = [(await http.post("/v1/videos", json=worlds.REQUEST)).json()["job_id"] for _ in range(times)]
        copies = jobs * 3
        random.Random(1).shuffle(copies)
        for job in copies:
            await stream.publish("jobs.video", json.dumps({"job_id": job}).encode())
        here.stand_ins.open.set()
        states = Counter((await here.until_ended(jobs, 600)).values())
        async with asyncio.timeout(120):
            while (await stream.stream_info(JOBS)).state.messages:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        attempts = await here.rows("SELECT attempt, count(*) FROM jobs GROUP BY attempt")
        manifests = set((await here.manifests(jobs)).values())
        published = await here.events(2 * times)
        assert states == {"completed": times}, states
        assert attempts == [(1, times)], attempts
        assert len(manifests) == 1
        assert here.stand_ins.call_counts["finish"] == times, here.stand_ins.call_counts
        assert set(published.values()) == {1}, published
        return f"{times} jobs, {4 * times} messages: each done once, {published.total()} events, no copy among them"

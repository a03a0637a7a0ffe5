"""Many concurrent jobs of many users over two instances, one of which dies: all jobs end, fairly between users."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.chaos.world import World, world

USERS = 4
JOBS_OF_EACH = 3


def request(number: int) -> dict[str, object]:
    """A short video with segments that no other job has."""
    return {
        "title": f"Job {number}",
        "clips": [{"colour": f"#{number * 7:02x}40{number * 5:02x}", "duration": 2}],
        "audio": {"script": "One two."},
        "settings": {"resolution": "480p", "quality": "draft"},
    }


async def create(http: httpx.AsyncClient, numbers: Sequence[int]) -> list[str]:
    answers = [await http.post("/v1/videos", json=request(number)) for number in numbers]
    assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
    return [answer.json()["job_id"] for answer in answers]


async def test_all_jobs_end_when_an_instance_dies(tmp_path: Path) -> None:
    twice = {"orchestrator": 2, "processing": 2}
    slots = {"MONEYPRINTER_PROCESSING_SLOTS": "1", "MONEYPRINTER_PROCESSING_THREADS": "1"}
    async with world(tmp_path, real=("config", "storage", "processing"), instances=twice, settings=slots) as here:
        jobs = {}
        for user in range(USERS):
            async with here.user(f"user_{user}") as http:
                numbers = range(user * JOBS_OF_EACH, (user + 1) * JOBS_OF_EACH)
                jobs[user] = await create(http, numbers)
        await rendered(here, 3)
        here.process("processing-1").kill()
        slowest = await latency(here, [job for owned in jobs.values() for job in owned])
        every = [job for owned in jobs.values() for job in owned]
        assert await here.until_ended(every, 120) == dict.fromkeys(every, "completed")
        assert await here.rows("SELECT DISTINCT attempt FROM jobs") == [(1,)], "no job was restarted"
        published = await here.events(2 * len(every))
        assert set(published.values()) == {1}
        assert slowest < 2.0, "the API responds meanwhile"
        for name in ("processing-1", "processing-2"):
            assert "RenderSegment" in here.log(name), "both are used"


async def rendered(here: World, number: int) -> None:
    """Wait until `number` segments are rendered."""
    async with asyncio.timeout(60):
        while len(await here.rows("SELECT 1 FROM steps WHERE name LIKE 'render %%'")) < number:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def latency(here: World, jobs: Sequence[str]) -> float:
    """Return the median response time of a status call, in seconds."""
    times = []
    async with here.user("user_0") as http:
        for job in [*jobs[:JOBS_OF_EACH]] * 3:
            began = time.monotonic()
            answer = await http.get(f"/v1/videos/{job}/status")
            assert answer.status_code == 200
            times.append(time.monotonic() - began)
    return sorted(times)[len(times) // 2]

"""Segments are rendered by priority, then by turns of the users, then by age; no turn is lost when waiters leave."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.segment_scheduler import SegmentScheduler
from services.runtime.tasks import cancel
from tests.orchestrator.samples import job

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def made(user: str, priority: str = "normal", minute: int = 0) -> Job:
    return replace(job(user), priority=priority, create_time=BEGAN + timedelta(minutes=minute))


class Line:
    """Segments that wait for turns; tests end each of them."""

    def __init__(self, at_once: int = 1) -> None:
        self.scheduler = SegmentScheduler(at_once)
        self.order: list[str] = []
        self.running: dict[str, asyncio.Event] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def wait(self, name: str, of: Job) -> asyncio.Task[None]:
        async def work() -> None:
            async with self.scheduler.slot(of):
                self.order.append(name)
                self.running[name] = asyncio.Event()
                try:
                    await self.running[name].wait()
                finally:
                    del self.running[name]

        self.tasks.append(asyncio.create_task(work()))
        await asyncio.sleep(0)
        return self.tasks[-1]

    async def finish(self) -> list[str]:
        """End them one after the other. Returns the order in which they began."""
        while self.running:
            next(iter(self.running.values())).set()
            for _ in range(4):
                await asyncio.sleep(0)
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.order


async def test_segments_of_a_high_job_overtake_those_of_a_long_one() -> None:
    line, long, urgent = Line(2), made("user_1"), made("user_1", "high", 5)
    for number in range(49):
        await line.wait(f"long {number}", long)
    for number in range(3):
        await line.wait(f"urgent {number}", urgent)
    order = await line.finish()
    assert order[:5] == ["long 0", "long 1", "urgent 0", "urgent 1", "urgent 2"]
    assert order[5:] == [f"long {number}" for number in range(2, 49)]


async def test_a_low_job_waits_for_all_others() -> None:
    line = Line()
    await line.wait("first", made("user_1"))
    await line.wait("low", made("user_1", "low"))
    await line.wait("other", made("user_2", minute=9))
    assert await line.finish() == ["first", "other", "low"]


async def test_users_share_evenly_although_one_has_more_and_older_segments() -> None:
    line, old, young = Line(), made("user_1"), made("user_2", minute=9)
    for number in range(6):
        await line.wait(f"old {number}", old)
    for number in range(3):
        await line.wait(f"young {number}", young)
    order = await line.finish()
    assert order == ["old 0", "young 0", "old 1", "young 1", "old 2", "young 2", "old 3", "old 4", "old 5"]


async def test_a_user_with_two_jobs_has_one_share_and_the_older_job_first() -> None:
    line = Line()
    await line.wait("x", made("user_3"))
    for name, of in (
        ("a2", made("user_1", minute=2)),
        ("a1", made("user_1", minute=1)),
        ("b", made("user_2", minute=3)),
    ):
        for number in range(2):
            await line.wait(f"{name}.{number}", of)
    order = await line.finish()
    assert order == ["x", "a1.0", "b.0", "a1.1", "b.1", "a2.0", "a2.1"]


@pytest.mark.parametrize("seed", range(5))
async def test_turns_are_neither_lost_nor_given_twice_when_waiters_leave(seed: int) -> None:
    chance, scheduler, running, most, done = random.Random(seed), SegmentScheduler(3), 0, 0, 0
    jobs = [made(f"user_{number}", priority) for number in range(3) for priority in ("low", "normal", "high")]

    async def work() -> None:
        nonlocal running, most, done
        async with scheduler.slot(chance.choice(jobs)):
            running += 1
            most = max(most, running)
            try:
                for _ in range(chance.randrange(5)):
                    await asyncio.sleep(0)
            finally:
                running -= 1
        done += 1

    tasks = [asyncio.create_task(work()) for _ in range(200)]
    for _ in range(100):
        chance.choice(tasks).cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 3
    assert done == sum(not task.cancelled() for task in tasks) > 50
    line = Line()
    line.scheduler = scheduler
    for number in range(3):
        await line.wait(str(number), jobs[0])
    assert len(line.running) == 3, "all turns are free again"
    await cancel(line.tasks[0])
    await line.finish()

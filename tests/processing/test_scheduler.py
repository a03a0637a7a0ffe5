"""The scheduler starts renders by priority, within its slots and its memory."""

from __future__ import annotations

import asyncio

import pytest

from moneyprinter.errors import ResourceExhausted
from services.processing.scheduler import RenderScheduler


class Renders:
    """Renders that queue for a scheduler, and run until `finish`."""

    def __init__(self, scheduler: RenderScheduler) -> None:
        self._scheduler = scheduler
        self._started: list[str] = []
        self._finish: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, need_bytes: int = 10, *, is_first: bool = False) -> None:
        self._finish[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._work(name, need_bytes, is_first))

    async def _work(self, name: str, need_bytes: int, is_first: bool) -> None:
        with self._scheduler.queued(is_first=is_first) as turn:
            async with self._scheduler.slot(need_bytes, turn, is_first=is_first):
                self._started.append(name)
                await self._finish[name].wait()

    async def started(self) -> list[str]:
        """Returns the renders that have started, once all others wait."""
        for _ in range(5):
            await asyncio.sleep(0)
        return self._started

    async def finish(self, *names: str) -> None:
        for name in names:
            self._finish[name].set()
        await asyncio.gather(*(self._tasks[name] for name in names))

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)


async def test_renders_wait_for_their_turn_and_for_memory() -> None:
    scheduler = RenderScheduler(slots=2, threads=1, memory_bytes=100)
    renders = Renders(scheduler)
    for name, need_bytes in (("a", 60), ("b", 60), ("c", 10)):
        renders.start(name, need_bytes)
    assert await renders.started() == ["a"], "b waits for memory, and no other render passes it"
    await renders.cancel("a")
    assert await renders.started() == ["a", "b", "c"]
    await renders.finish("b", "c")
    with scheduler.queued() as turn:
        async with scheduler.slot(1000, turn):
            assert True, "a render that needs more than the memory runs alone"


async def test_renders_with_their_sources_do_not_pass_a_first_segment() -> None:
    scheduler, done, fetched = RenderScheduler(slots=1, threads=1, memory_bytes=100), [], asyncio.Event()

    async def work(name: str, *, is_first: bool = False) -> None:
        with scheduler.queued(is_first=is_first) as turn:
            if is_first:
                await fetched.wait()
            async with scheduler.slot(10, turn):
                done.append(name)

    running = [asyncio.create_task(work("a", is_first=True)), asyncio.create_task(work("b"))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == []
    fetched.set()
    await asyncio.gather(*running)
    assert done == ["a", "b"]
    leaving, other = asyncio.create_task(work("c", is_first=True)), asyncio.create_task(work("d"))
    fetched.clear()
    await asyncio.sleep(0)
    leaving.cancel()
    await other
    assert done == ["a", "b", "d"], "a first segment that is found in the store, or cancelled, holds up no other render"


async def test_nothing_starts_beside_a_first_segment_that_would_take_its_cores() -> None:
    renders = Renders(RenderScheduler(slots=2, threads=1, memory_bytes=100))
    renders.start("a")
    assert await renders.started() == ["a"]
    renders.start("b", is_first=True)
    renders.start("c")
    assert await renders.started() == ["a", "b"], (
        "it begins where one fits, and has the other scheduler as soon as they are free"
    )
    await renders.finish("a")
    assert await renders.started() == ["a", "b"]
    renders.start("d")
    await renders.finish("b")
    assert await renders.started() == ["a", "b", "c", "d"]
    await renders.finish("c", "d")


async def test_a_first_segment_takes_several_slots() -> None:
    renders = Renders(RenderScheduler(slots=6, threads=1, memory_bytes=100))
    renders.start("a", is_first=True)
    for name in "bcd":
        renders.start(name)
    assert await renders.started() == ["a", "b", "c"]
    await renders.finish("a", "b", "c", "d")


def test_renders_have_more_threads_where_few_fit() -> None:
    scheduler = RenderScheduler(slots=4, threads=2, memory_bytes=1000)
    assert [scheduler.threads(need) for need in (100, 250, 300, 600, 5000)] == [2, 2, 2, 8, 8]
    assert scheduler.threads(100, is_first=True) == 16, "a viewer waits for the first segment"
    assert scheduler.threads(600, is_first=True) == 8, "each thread holds frames, and there is no room for many"
    assert RenderScheduler(slots=16, threads=1, memory_bytes=1000).threads(10, is_first=True) == 8


async def test_renders_start_by_priority() -> None:
    scheduler, started = RenderScheduler(slots=1, threads=1, memory_bytes=100), []

    async def work(name: str, priority: int, *, is_first: bool = False) -> None:
        with scheduler.queued(priority=priority, is_first=is_first) as turn:
            async with scheduler.slot(10, turn):
                started.append(name)
                for _ in range(9):
                    await asyncio.sleep(0)

    coming = [("running", 0), ("low", -1), ("a", 0), ("b", 0), ("high", 1), ("c", 0), ("high too", 1)]
    tasks = []
    for name, priority in coming:
        tasks.append(asyncio.create_task(work(name, priority)))
        await asyncio.sleep(0)
    tasks.append(asyncio.create_task(work("first", 0, is_first=True)))
    await asyncio.gather(*tasks)
    assert started == ["running", "high", "high too", "first", "a", "b", "c", "low"]


def test_low_priorities_do_not_keep_out_high_ones() -> None:
    scheduler = RenderScheduler(slots=1, threads=1, memory_bytes=100)
    with scheduler.admission(), scheduler.admission():
        for priority in (0, -1):
            with pytest.raises(ResourceExhausted), scheduler.admission(priority):
                pass
        with scheduler.admission(1), pytest.raises(ResourceExhausted), scheduler.admission(1):
            pass


def test_as_many_renders_may_wait_as_run() -> None:
    scheduler = RenderScheduler(slots=1, threads=1, memory_bytes=100)
    with (
        scheduler.admission(),
        scheduler.admission(),
        pytest.raises(ResourceExhausted, match="as many wait"),
        scheduler.admission(),
    ):
        pass
    with scheduler.admission():
        pass

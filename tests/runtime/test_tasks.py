"""Task groups: results in order, one failure alone, and the first of several events."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from moneyprinter.errors import Internal, NotFound
from services.runtime.tasks import run_all, task_group, wait_any


async def wait_forever(cancelled: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        cancelled.append("cancelled")
        raise


async def fail(error: Exception) -> None:
    raise error


async def length(text: str) -> int:
    await asyncio.sleep(0)
    return len(text)


async def test_results_come_in_the_order_of_the_arguments() -> None:
    assert await run_all(*(length("x" * number) for number in range(4))) == (0, 1, 2, 3)
    nothing: list[Coroutine[Any, Any, int]] = []
    assert await run_all(*nothing) == ()


async def test_the_first_failure_cancels_the_rest_and_is_raised_alone() -> None:
    cancelled: list[str] = []
    cause = OSError("disk")
    error = Internal("failed", reason="RENDER_FAILED")
    error.__cause__ = cause
    with pytest.raises(Internal) as raised:
        await run_all(wait_forever(cancelled), fail(error), fail(NotFound("late", reason="OBJECT_UNKNOWN")))
    assert raised.value is error
    assert raised.value.__cause__ is cause
    assert cancelled == ["cancelled"]


async def test_a_cancelled_caller_cancels_all() -> None:
    cancelled: list[str] = []
    task = asyncio.create_task(run_all(wait_forever(cancelled), wait_forever(cancelled)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == ["cancelled", "cancelled"]


async def test_waiting_ends_with_any_event_or_after_the_time() -> None:
    first, second = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, second.set)
    async with asyncio.timeout(10):
        await wait_any(first, second, seconds=60)
    assert second.is_set()
    await wait_any(first, seconds=0.01)
    assert not first.is_set()


@pytest.mark.parametrize("failing", ["task", "body"])
async def test_a_failure_beside_the_body_or_in_it_cancels_the_rest_and_is_raised_alone(failing: str) -> None:
    cancelled: list[str] = []
    error = NotFound("gone", reason="OBJECT_NOT_FOUND")
    with pytest.raises(NotFound) as raised:
        async with task_group() as tasks:
            tasks.create_task(wait_forever(cancelled))
            await asyncio.sleep(0)
            if failing == "body":
                raise error
            await tasks.create_task(fail(error))
    assert raised.value is error
    assert cancelled == ["cancelled"]


async def test_a_group_ends_with_its_tasks() -> None:
    async with task_group() as tasks:
        counting = tasks.create_task(length("four"))
    assert counting.result() == 4

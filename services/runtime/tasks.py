"""Tasks: run coroutines at once, wait for the first of several events, cancel a task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar, overload

CANCEL_SECONDS = 3.0

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


@overload
async def run_all(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B], /) -> tuple[A, B]: ...


@overload
async def run_all(*work: Coroutine[Any, Any, T]) -> tuple[T, ...]: ...


async def run_all(*work: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """Run all coroutines at once and return their results, in the order of the arguments.

    On the first failure the others are cancelled and awaited, and that exception is raised alone, not in a group.
    """
    async with task_group() as group:
        tasks = [group.create_task(each) for each in work]
    return tuple(task.result() for task in tasks)


async def wait_any(*events: asyncio.Event, seconds: float) -> None:
    """Wait until one of the events is set, for at most `seconds`."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks beside the body of the context, and wait for them at its end.

    On the first failure of a task or the body, the others are cancelled and awaited, and that exception is raised
    alone.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
    else:
        return
    raise first


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end.

    The cancellation is repeated every CANCEL_SECONDS: `asyncio.wait_for` of Python 3.11, which nats-py uses, loses a
    cancellation that arrives at the moment in which the awaited future completes.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_SECONDS)

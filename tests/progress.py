"""Calls that report progress: interrupt one at its first report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from services.runtime.progress import OnProgress

T = TypeVar("T")


@asynccontextmanager
async def after_first_report(work: Callable[[OnProgress], Coroutine[Any, Any, T]]) -> AsyncIterator[asyncio.Task[T]]:
    """Run `work` until its first report, yield its task, and cancel the task when the context closes."""
    reported = asyncio.Event()
    task = asyncio.create_task(work(lambda _: reported.set()))
    task.add_done_callback(lambda _: reported.set())
    await reported.wait()
    assert not task.done(), "it ended before its first report"
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 30)

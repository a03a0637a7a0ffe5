"""Progress of long calls: report the part of the work that is done, and stream these reports before the response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

OnProgress = Callable[[float], None]
"""Receives the part of a piece of work that is done, from 0 to 1."""


def ignore_progress(fraction: float) -> None:
    """Drop a report."""


def part_of(on_progress: OnProgress, begin: float, end: float) -> OnProgress:
    """Returns a callback for one part of a larger piece of work: reports from 0 to 1 become `begin` to `end`."""

    def report(fraction: float) -> None:
        on_progress(begin + (end - begin) * fraction)

    return report


def rising(on_progress: OnProgress) -> OnProgress:
    """Returns a callback that raises each report to the highest one before it, such as after a retry."""
    highest = 0.0

    def report(fraction: float) -> None:
        nonlocal highest
        highest = max(highest, fraction)
        on_progress(highest)

    return report


async def stream_progress(
    work: Callable[[OnProgress], Awaitable[T]], to_response: Callable[[float], T]
) -> AsyncGenerator[T, None]:
    """Run `work` and yield its progress, each report as a response, and at last the response that `work` returns.

    Reports that do not exceed the previous one are dropped. A slow reader receives the newest report only. Raises what
    `work` raises. Closing the generator cancels `work` and waits for its end.
    """
    newest = sent = -1.0
    changed = asyncio.Event()

    def report(fraction: float) -> None:
        nonlocal newest
        newest = max(newest, fraction)
        changed.set()

    task = asyncio.ensure_future(work(report))
    task.add_done_callback(lambda _: changed.set())
    try:
        while not task.done():
            await changed.wait()
            changed.clear()
            if newest > sent:
                sent = newest
                yield to_response(sent)
        yield await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

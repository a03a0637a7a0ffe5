"""Checks of a request by other services, within the time in which a call is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from moneyprinter.errors import DeadlineExceeded, ResourceExhausted, Unavailable

# A check that ends with one of these is left to the job.
NOT_CHECKED = (Unavailable, DeadlineExceeded, ResourceExhausted)


async def run_checks(*checks: Awaitable[object], seconds: float) -> list[object]:
    """Await all checks at once, at most `seconds`, and return their results, or errors in their place.

    The job repeats a check that has no result by then.
    """
    tasks = [asyncio.ensure_future(check) for check in checks]
    try:
        await asyncio.wait(tasks, timeout=seconds)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, (*NOT_CHECKED, asyncio.CancelledError)):
            raise result
    return results

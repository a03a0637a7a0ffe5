"""Checks of a request by other services, within the time in which a call is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from moneyprinter.errors import DeadlineExceeded, ResourceExhausted, Unavailable

# CreateVideo responds within two seconds even when a service that checks the request hangs.
CHECK_SECONDS = 1.0
# A check that ends with one of these is left to the job.
NOT_CHECKED = (Unavailable, DeadlineExceeded, ResourceExhausted)


async def run_checks(*checks: Awaitable[object]) -> list[object]:
    """Await all checks at once, for `CHECK_SECONDS`, and return their results, or errors in their place.

    The job repeats a check that has no result by then.
    """
    tasks = [asyncio.ensure_future(check) for check in checks]
    try:
        await asyncio.wait(tasks, timeout=CHECK_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, (*NOT_CHECKED, asyncio.CancelledError)):
            raise result
    return results

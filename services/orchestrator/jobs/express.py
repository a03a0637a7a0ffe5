"""Express lane: a job of a higher priority than the running ones does not wait until one of them ends.

An instance drives a fixed number of jobs at once. When all these places are taken, it also drives waiting jobs of a
higher priority: the segments of all are rendered in the order of their priorities (`segment_scheduler`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from moneyprinter.errors import Unavailable
from services.orchestrator.jobs.driver import Driver
from services.orchestrator.jobs.model import PRIORITIES
from services.orchestrator.jobs.store import AllJobsHeld, StoreUnavailable, Superseded

POLL_SECONDS = 1.0

log = structlog.get_logger()


async def drive_express(driver: Driver, *, jobs_at_once: int) -> None:
    """Drive jobs of a higher priority while all `jobs_at_once` places are taken, at most as many again.

    Returns only when it is cancelled.
    """
    running: set[asyncio.Task[None]] = set()
    try:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            lowest = min(driver.priorities, default=len(PRIORITIES) - 1)
            # A task in `running` may be about to claim a job; the driver counts that job only afterwards.
            full = jobs_at_once <= driver.job_count < 2 * jobs_at_once and len(running) < jobs_at_once
            if full and lowest < len(PRIORITIES) - 1:
                task = asyncio.create_task(_drive(driver, lowest + 1))
                running.add(task)
                task.add_done_callback(running.discard)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _drive(driver: Driver, at_least: int) -> None:
    async def report_alive() -> None:
        """No message of the queue belongs to this claim: the job's own message finds the job done."""

    with suppress(AllJobsHeld):
        try:
            await driver.drive(report_alive, at_least=at_least)
        except Superseded as failure:
            log.warning("job was claimed by another instance, or ended", job_id=str(failure))
        except (StoreUnavailable, Unavailable) as failure:
            log.info("no express job claimed", error=type(failure).__name__)

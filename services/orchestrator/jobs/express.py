"""Express: a job that goes before those that are driven does not wait until one of them has ended.

An instance drives so many jobs at once. When it does, and one of a higher priority than theirs waits, it drives that
as well: the segments of both are rendered in the order of their priorities (`turns`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from moneyprinter.errors import Unavailable
from services.orchestrator.jobs.driver import Driver
from services.orchestrator.jobs.model import PRIORITIES
from services.orchestrator.jobs.store import AllJobsHeld, StoreUnavailable, Superseded

LOOK_SECONDS = 1.0

log = structlog.get_logger()


async def drive_express(driver: Driver, *, jobs_at_once: int) -> None:
    """Drive jobs of a higher priority beside those that take all places, as many again, until cancelled."""
    running: set[asyncio.Task[None]] = set()
    try:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            lowest = min(driver.priorities, default=len(PRIORITIES) - 1)
            # One that looks for a job may find it, and is counted by the driver then.
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
    async def alive() -> None:
        """No message of the queue stands for it: its own one finds it done."""

    with suppress(AllJobsHeld):
        try:
            await driver.drive(alive, at_least=at_least)
        except Superseded as failure:
            log.warning("job was claimed by another instance, or ended", job_id=str(failure))
        except (StoreUnavailable, Unavailable) as failure:
            log.info("no job driven before others", why=type(failure).__name__)

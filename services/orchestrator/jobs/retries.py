"""Retries: call a service or the store again while it fails with an error that may pass."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from moneyprinter.errors import DeadlineExceeded, Internal, ResourceExhausted, Unavailable
from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.store import StoreUnavailable

T = TypeVar("T")

# Errors that may pass; every other error fails the job at once.
TRANSIENT = (Unavailable, ResourceExhausted, DeadlineExceeded)
STEP_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
# A result waits this long for the database to come back; then the job is released.
STORE_PATIENCE_SECONDS = 300.0
STORE_PAUSE_SECONDS = 1.0

log = structlog.get_logger()


async def with_retries(work: Callable[[], Awaitable[T]], job: Job, step: str) -> T:
    """Run `work`, and run it again after a growing pause while it fails with an error that may pass.

    A service that is busy has not failed: these attempts do not count. When a child process was killed, its service has
    run it again already; one more attempt follows later, perhaps on an instance with more free memory. Raises the error
    of the last attempt.
    """
    attempt = 1
    while attempt < STEP_ATTEMPTS:
        try:
            return await work()
        except (*TRANSIENT, Internal) as failure:
            killed = failure.reason == "CHILD_KILLED"
            if isinstance(failure, Internal) and not killed:
                raise
            attempt += STEP_ATTEMPTS if killed else failure.reason != "BUSY"
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** max(0, attempt - 2))
            pause = max(failure.retry_after_seconds or 0.0, pause * random.uniform(0.5, 1.0))  # noqa: S311
            log.warning("step failed, retrying", job_id=job.id, step=step, reason=failure.reason, seconds=pause)
            await asyncio.sleep(pause)
    return await work()


async def with_store_retries(work: Callable[[], Awaitable[T]], job: Job, step: str) -> T:
    """Run `work`, which reads or writes the record of a job, and retry it while the database is unavailable.

    Raises `StoreUnavailable` when the database stays unavailable for `STORE_PATIENCE_SECONDS`.
    """
    waited = 0.0
    while True:
        try:
            return await work()
        except Unavailable as failure:
            if waited >= STORE_PATIENCE_SECONDS:
                raise StoreUnavailable(job.id) from failure
            log.warning("database unavailable", job_id=job.id, step=step, seconds=waited)
            await asyncio.sleep(STORE_PAUSE_SECONDS)
            waited += STORE_PAUSE_SECONDS

"""Driver: claims a job, runs its workflow, and ends the job once, completed or failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog

from moneyprinter.errors import Error, Unavailable
from services.orchestrator.jobs import recovery
from services.orchestrator.jobs.journal import Journal, StepLog
from services.orchestrator.jobs.model import PRIORITIES, Failure, Job, Result, StoredObject
from services.orchestrator.jobs.progress import ProgressWriter
from services.orchestrator.jobs.retries import with_retries, with_store_retries
from services.orchestrator.jobs.scenes import Review, ReviewRequested
from services.orchestrator.jobs.store import Store, Superseded
from services.runtime.tasks import cancel

# A job whose results the storage service loses more often than this fails.
RECOVERIES = 10
REVIEW_TIME = timedelta(days=7)

log = structlog.get_logger()


async def _all_stored(_: StoredObject) -> bool:
    return True


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Driver:
    """Drives jobs. `make` runs the workflow of a job with its workers; `on_change` publishes that a job has changed.

    A job waits for the review of its owner for at most `review_time`. `now` returns the time in UTC, `clock` the
    seconds of a monotonic clock.
    """

    def __init__(
        self,
        store: Store,
        make: Callable[[Job, Journal], Awaitable[Result]],
        on_change: Callable[[str], Awaitable[None]],
        *,
        lease_seconds: float,
        max_attempts: int,
        review_time: timedelta = REVIEW_TIME,
        is_stored: recovery.IsStored = _all_stored,
        now: Callable[[], datetime] = _utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._is_stored = is_stored
        self._make = make
        self._on_change = on_change
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._review_time = review_time
        self._now = now
        self._clock = clock
        self._stops: dict[str, asyncio.Event] = {}
        self._priorities: dict[str, int] = {}

    def stop(self, job_id: str) -> None:
        """Stop working on a cancelled job, if this instance drives it."""
        if job_id in self._stops:
            self._stops[job_id].set()

    @property
    def job_count(self) -> int:
        """The number of jobs that this instance drives."""
        return len(self._stops)

    @property
    def priorities(self) -> Collection[int]:
        """The priorities of the jobs that this instance drives, as indexes of `PRIORITIES`."""
        return self._priorities.values()

    async def drive(self, report_alive: Callable[[], Awaitable[None]], *, at_least: int = 0) -> None:
        """Claim the next job and bring it to its end, or to a review; without one, return at once.

        `report_alive` runs at intervals while the job is worked on. `at_least` is the lowest priority to claim, as an
        index of `PRIORITIES`. Raises `AllJobsHeld` when other instances work on all jobs, `Superseded` when another
        instance claimed this job, `Unavailable` or `StoreUnavailable` when the record of the job cannot be read or
        written.
        """
        lease = timedelta(seconds=self._lease_seconds)
        job = await (self._store.claim(lease, at_least) if at_least else self._store.claim(lease))
        if job is None:
            return
        log.info("job claimed", job_id=job.id, attempt=job.attempt)
        # No step is recorded before the first attempt.
        recorded = (
            await with_store_retries(partial(self._store.step_names, job), job, "steps") if job.attempt > 1 else ()
        )
        writer = ProgressWriter(self._store, job, partial(self._on_change, job.id), self._now, self._clock)
        journal = Journal(job, StepLog(self._store, job, recorded), writer)
        working = asyncio.create_task(self._work(job, journal))
        writing = asyncio.create_task(writer.run())
        beating = asyncio.create_task(self._heartbeat(job, report_alive))
        stop = self._stops[job.id] = asyncio.Event()
        self._priorities[job.id] = PRIORITIES.index(job.priority)
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([working, writing, beating, stopping], return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                log.info("job cancelled", job_id=job.id)
                return
            if not working.done():
                # Writer and heartbeat end before the work only when another instance claimed the job: raise that.
                for task in (writing, beating):
                    if task.done():
                        task.result()
            writer.close()
            await asyncio.wait([writing])
            await _cancel_all([writing, beating])
            await self._end(job, journal, await working)
        except asyncio.CancelledError:
            await _cancel_all([working, writing, beating])
            with suppress(Unavailable, Superseded):
                await self._store.release(job)
            raise
        finally:
            await _cancel_all([working, writing, beating, stopping])
            if self._stops.get(job.id) is stop:
                del self._stops[job.id], self._priorities[job.id]

    async def _work(self, job: Job, journal: Journal) -> Result | Failure | ReviewRequested:
        try:
            if await self._was_interrupted_too_often(job):
                raise Unavailable(
                    f"the job was interrupted {self._max_attempts} times; make it again", reason="SERVICE_UNAVAILABLE"
                )
            return await self._run_workflow(job, journal)
        except ReviewRequested as review:
            return review
        except Error as error:
            error = recovery.explain(error, job.request)
            return Failure(journal.failed_stage, error.reason, error.message)

    async def _run_workflow(self, job: Job, journal: Journal) -> Result:
        """Run the workflow, and run it again while the storage service has lost results that can be made again."""
        for _ in range(RECOVERIES):
            try:
                result = await self._make(job, journal)
            except Error as error:
                lost = error.reason in recovery.LOST
                if not lost or not await self._forget_lost(job, journal, journal.steps.failed_step):
                    raise
            else:
                # When a job ends, its files are removed; a later attempt may find the step and not the files.
                if not journal.steps.was_read("finish") or not await self._forget_lost(job, journal, recovery.COMPLETE):
                    return result
        raise Unavailable(
            f"the store lost what the job made {RECOVERIES} times; check the disk of the storage service and retry",
            reason="SERVICE_UNAVAILABLE",
        )

    async def _forget_lost(self, job: Job, journal: Journal, step: str) -> bool:
        """Forget the steps that `step` needs and whose results are lost, and their dependants."""
        recorded = await with_store_retries(partial(self._store.step_names, job), job, step)
        needed = recovery.needed_steps(step, recorded)
        results = await with_store_retries(partial(self._store.step_results, job, needed), job, step)
        lost = await with_retries(partial(recovery.find_lost_steps, results, self._is_stored), job, step)
        if not lost:
            return False
        forgotten = recovery.dependent_steps(lost, recorded)
        await with_store_retries(partial(self._store.forget_steps, job, forgotten), job, step)
        journal.restart(forgotten)
        log.warning("stored results lost, running their steps again", job_id=job.id, step=step, lost=lost)
        return True

    async def _was_interrupted_too_often(self, job: Job) -> bool:
        """Whether too many instances died while they drove a job. Instances that were stopped released it."""
        if job.attempt - job.base_attempt <= self._max_attempts:
            return False
        interruptions = await with_store_retries(partial(self._store.interruptions, job), job, "attempts")
        return interruptions >= self._max_attempts

    async def _end(self, job: Job, journal: Journal, outcome: Result | Failure | ReviewRequested) -> None:
        stages = journal.writer.stages
        match outcome:
            case Result() as result:
                complete = partial(self._store.complete, job, result, stages, journal.writer.progress_details)
                await with_store_retries(complete, job, "complete")
                log.info("job completed", job_id=job.id, seconds=result.seconds)
            case Failure() as failure:
                await with_store_retries(partial(self._store.fail, job, failure, stages), job, "fail")
                log.warning("job failed", job_id=job.id, stage=failure.stage, reason=failure.reason)
            case ReviewRequested() as requested:
                now = self._now()
                review = Review(requested.subject, requested.scenes, now, now + self._review_time)
                details = journal.writer.progress_details
                await with_store_retries(partial(self._store.begin_review, job, review, stages, details), job, "review")
                log.info("job waits for a review", job_id=job.id, subject=review.subject)
        await self._on_change(job.id)

    async def _heartbeat(self, job: Job, report_alive: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            await report_alive()
            with suppress(Unavailable):
                await self._store.heartbeat(job)


async def _cancel_all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    # A heartbeat that completes at the same moment loses its cancellation: without a repetition, the job never ended.
    await asyncio.gather(*(cancel(task) for task in tasks))
    await asyncio.gather(*tasks, return_exceptions=True)

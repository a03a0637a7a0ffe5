"""Driver: takes a job up, runs its workflow, keeps its record, and ends it well or badly, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import structlog

from moneyprinter.errors import DeadlineExceeded, Error, Internal, ResourceExhausted, Unavailable
from services.orchestrator.jobs import recovery
from services.orchestrator.jobs.model import PRIORITIES, DueEvents, Failure, Job, JobProgress, Result, StoredObject
from services.orchestrator.jobs.store import Store, StoreUnavailable, Superseded
from services.runtime.tasks import wait_any

T = TypeVar("T")

# What may succeed later; everything else fails the job at once.
TRANSIENT = (Unavailable, ResourceExhausted, DeadlineExceeded)
STEP_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
# A result that is to be recorded is kept this long while the database is away; after that the job is given back.
KEPT_SECONDS = 300.0
KEPT_PAUSE_SECONDS = 1.0
# Progress is written no more often than people can read it.
BETWEEN_WRITES_SECONDS = 0.1
# Everybody is told of it no more often than this.
BETWEEN_NEWS_SECONDS = 1.0

log = structlog.get_logger()


# A store that loses what is made as often as this is not waited for.
RECOVERIES = 10


async def _all_stored(_: StoredObject) -> bool:
    return True


class Journal:
    """The record of one job under one attempt (`workflow.Journal`)."""

    def __init__(self, store: Store, job: Job, done: Collection[str], changed: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._job = job
        self._done = set(done)
        self._read = set[str]()
        self._changed = changed
        self._stages = dict(job.stages)
        # What another attempt has done is found again, and counted again.
        self._progress_details = replace(job.progress_details, rendered=0, reused=0)
        self._progress = job.progress
        self._started = datetime.now(UTC)
        self._begun_at = job.progress
        self._told_progress = job.progress
        self._told_stages = frozenset(name for name, state in job.stages.items() if state == "completed")
        self._told_at = float("-inf")
        self._dirty = asyncio.Event()
        self._closed = asyncio.Event()
        self.failed_stage = next(iter(self._stages))
        """The stage that failed first."""
        self.failed_step = ""
        """The step that failed first; empty when none did."""

    @property
    def stages(self) -> dict[str, str]:
        """Stage by stage: `pending`, `in_progress`, `completed`, `failed` or `cancelled`."""
        return dict(self._stages)

    @property
    def progress_details(self) -> JobProgress:
        """How much of the work is done."""
        return self._progress_details

    @asynccontextmanager
    async def stage(self, name: str) -> AsyncIterator[None]:
        self._enter(name, "in_progress", 0.0)
        try:
            yield
        except Error:
            if "failed" not in self._stages.values():
                self.failed_stage = name
            self._stages[name] = "failed"
            raise
        except asyncio.CancelledError:
            self._stages[name] = "cancelled"
            raise
        self._enter(name, "completed", 1.0)
        log.info("stage done", job_id=self._job.id, stage=name)

    async def step(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        if name in self._done:
            done = await _kept(lambda: self._store.step(self._job, name, kind), self._job, name)
            if done is not None:
                self._read.add(name)
                return done
        try:
            result = await _again(work, self._job, name)
        except Error:
            self.failed_step = self.failed_step or name
            raise
        await _kept(lambda: self._store.record(self._job, name, kind, result), self._job, name)
        self._done.add(name)
        self._read.discard(name)
        return result

    def was_read(self, name: str) -> bool:
        """Whether the result of a step was recorded before, so that the step did not run."""
        return name in self._read

    def begin_again(self, forgotten: Collection[str]) -> None:
        """Let the workflow run again after some steps were forgotten."""
        self._done -= set(forgotten)
        self._read.clear()
        self.failed_step = ""
        for name, state in self._stages.items():
            self._stages[name] = "pending" if state in ("failed", "cancelled") else state
        self._progress_details = replace(self._progress_details, rendered=0, reused=0)

    def progress(self, stage: str, fraction: float) -> None:
        if fraction > self._progress_details.fractions.get(stage, 0.0):
            self._tell(fractions={**self._progress_details.fractions, stage: fraction})

    def planned(self, segments: int) -> None:
        self._tell(segments=segments)

    def rendered(self, reused: bool) -> None:
        self._tell(rendered=self._progress_details.rendered + 1, reused=self._progress_details.reused + reused)

    def _tell(self, **changes: Any) -> None:
        self._progress_details = replace(self._progress_details, **changes)
        self._progress = max(self._progress, self._progress_details.percent)
        self._dirty.set()

    async def keep(self) -> None:
        """Write progress as it comes, until `close`; what comes while one write is under way is one write."""
        while True:
            await self._dirty.wait()
            if self._closed.is_set():
                return
            self._dirty.clear()
            with suppress(Unavailable):
                await self._write()
            await wait_any(self._closed, seconds=BETWEEN_WRITES_SECONDS)

    def close(self) -> None:
        """Let `keep` end, after the write that is under way: to cut a statement off costs more than to wait for it."""
        self._closed.set()
        self._dirty.set()

    def _enter(self, name: str, state: str, fraction: float) -> None:
        self._stages[name] = state
        self._tell(
            fractions={
                **self._progress_details.fractions,
                name: max(fraction, self._progress_details.fractions.get(name, 0.0)),
            }
        )

    async def _write(self) -> None:
        now, progress, stages = asyncio.get_running_loop().time(), self._progress, self.stages
        completed = frozenset(name for name, state in stages.items() if state == "completed")
        due = DueEvents(
            progress=progress > self._told_progress and now - self._told_at >= BETWEEN_NEWS_SECONDS,
            stages=not completed <= self._told_stages,
        )
        await self._store.advance(self._job, progress, stages, self._progress_details, self._estimate(), due)
        self._told_stages |= completed
        if due.progress:
            self._told_progress, self._told_at = progress, now
        await self._changed()

    def _estimate(self) -> datetime:
        """When the job ends if it goes on as fast as so far."""
        now = datetime.now(UTC)
        done = self._progress - self._begun_at
        if done < 10:
            return max(self._job.estimated_completion, now + timedelta(seconds=1))
        return now + (now - self._started) * ((100 - self._progress) / done)


async def _again(work: Callable[[], Awaitable[T]], job: Job, name: str) -> T:
    """Do `work`, and again after a growing pause while it fails with what may succeed later.

    Who is busy has not failed: it is asked again for as long as it takes. A program that was killed was run again by
    its service already; it is tried once more later, perhaps by another instance, which may have more memory free.
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
            log.warning("step failed, trying again", job_id=job.id, step=name, reason=failure.reason, seconds=pause)
            await asyncio.sleep(pause)
    return await work()


async def _kept(work: Callable[[], Awaitable[T]], job: Job, name: str) -> T:
    """Retry a read or write of the job's record while the database is unavailable.

    Raises StoreUnavailable when that lasts.
    """
    waited = 0.0
    while True:
        try:
            return await work()
        except Unavailable as failure:
            if waited >= KEPT_SECONDS:
                raise StoreUnavailable(job.id) from failure
            log.warning("the database is away", job_id=job.id, step=name, seconds=waited)
            await asyncio.sleep(KEPT_PAUSE_SECONDS)
            waited += KEPT_PAUSE_SECONDS


class Driver:
    """Drives jobs, each by `make`: the workflow with its workers filled in."""

    def __init__(
        self,
        store: Store,
        make: Callable[[Job, Journal], Awaitable[Result]],
        changed: Callable[[str], Awaitable[None]],
        *,
        lease_seconds: float,
        max_attempts: int,
        is_stored: recovery.IsStored = _all_stored,
    ) -> None:
        self._store = store
        self._is_stored = is_stored
        self._make = make
        self._changed = changed
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._cancelled: dict[str, asyncio.Event] = {}
        self._priorities: dict[str, int] = {}

    def cancelled(self, job_id: str) -> None:
        """Stop working on a job, if this instance does: it was cancelled."""
        if job_id in self._cancelled:
            self._cancelled[job_id].set()

    @property
    def driven(self) -> int:
        """How many jobs are driven now."""
        return len(self._cancelled)

    @property
    def priorities(self) -> Collection[int]:
        """The priorities of the jobs that are driven now, as places in `PRIORITIES`."""
        return self._priorities.values()

    async def drive(self, alive: Callable[[], Awaitable[None]], *, at_least: int = 0) -> None:
        """Take the next job up and bring it to its end. `alive` is called as long as it is worked on.

        `at_least` is the lowest priority that is taken, as a place in `PRIORITIES`.

        Returns when the job has ended, or there is none. Raises AllJobsHeld when other instances work on all there are,
        Superseded when another instance claimed the job, Unavailable or StoreUnavailable when its record could not be
        read or written.
        """
        lease = timedelta(seconds=self._lease_seconds)
        job = await (self._store.claim(lease, at_least) if at_least else self._store.claim(lease))
        if job is None:
            return
        log.info("job taken up", job_id=job.id, attempt=job.attempt)
        # Nothing was done before the first attempt.
        done = await _kept(lambda: self._store.step_names(job), job, "steps") if job.attempt > 1 else ()
        journal = Journal(self._store, job, done, lambda: self._changed(job.id))
        working = asyncio.create_task(self._work(job, journal))
        keeping = [asyncio.create_task(journal.keep()), asyncio.create_task(self._beat(job, alive))]
        told = self._cancelled[job.id] = asyncio.Event()
        self._priorities[job.id] = PRIORITIES.index(job.priority)
        cancelled = asyncio.create_task(told.wait())
        try:
            await asyncio.wait([working, *keeping, cancelled], return_when=asyncio.FIRST_COMPLETED)
            if cancelled.done():
                log.info("job cancelled", job_id=job.id)
                return
            if not working.done():
                # A keeping task ends only because another instance has taken the job up.
                for task in keeping:
                    if task.done():
                        task.result()
            journal.close()
            await asyncio.wait([keeping[0]])
            await _ended(keeping)
            await self._end(job, journal, await working)
        except asyncio.CancelledError:
            await _ended([working, *keeping])
            with suppress(Unavailable, Superseded):
                await self._store.release(job)
            raise
        finally:
            await _ended([working, *keeping, cancelled])
            if self._cancelled.get(job.id) is told:
                del self._cancelled[job.id], self._priorities[job.id]

    async def _work(self, job: Job, journal: Journal) -> Result | Failure:
        try:
            if await self._interrupted_too_often(job):
                raise Unavailable(
                    f"the job was interrupted {self._max_attempts} times; make it again", reason="SERVICE_UNAVAILABLE"
                )
            return await self._made(job, journal)
        except Error as error:
            error = recovery.explained(error, job.request)
            return Failure(journal.failed_stage, error.reason, error.message)

    async def _made(self, job: Job, journal: Journal) -> Result:
        """Run the workflow, and again while what it needs is gone from the store and can be made again."""
        for _ in range(RECOVERIES):
            try:
                result = await self._make(job, journal)
            except Error as error:
                if error.reason not in recovery.LOST or not await self._recovered(job, journal, journal.failed_step):
                    raise
            else:
                # Of a job that ended in between, the files were removed; what was just made is there.
                if not journal.was_read("finish") or not await self._recovered(job, journal, recovery.COMPLETE):
                    return result
        raise Unavailable(
            f"the store lost what the job made {RECOVERIES} times; check the disk of the storage service and retry",
            reason="SERVICE_UNAVAILABLE",
        )

    async def _recovered(self, job: Job, journal: Journal, step: str) -> bool:
        """Forget the steps whose results `step` needs and the store lost, and what depends on them; whether any."""
        recorded = await _kept(lambda: self._store.step_names(job), job, step)
        needed = recovery.needed(step, recorded)
        results = await _kept(lambda: self._store.step_results(job, needed), job, step)
        lost = await _again(lambda: recovery.lost_steps(results, self._is_stored), job, step)
        if not lost:
            return False
        forgotten = recovery.dependent(lost, recorded)
        await _kept(lambda: self._store.forget_steps(job, forgotten), job, step)
        journal.begin_again(forgotten)
        log.warning("stored results are lost and made again", job_id=job.id, step=step, lost=lost)
        return True

    async def _interrupted_too_often(self, job: Job) -> bool:
        """Whether too many instances died with a job. Those that were stopped gave it back, and say nothing of it."""
        if job.attempt - job.base_attempt <= self._max_attempts:
            return False
        return await _kept(lambda: self._store.interruptions(job), job, "attempts") >= self._max_attempts

    async def _end(self, job: Job, journal: Journal, outcome: Result | Failure) -> None:
        match outcome:
            case Result() as result:
                await _kept(
                    lambda: self._store.complete(job, result, journal.stages, journal.progress_details), job, "complete"
                )
                log.info("job completed", job_id=job.id, seconds=result.seconds)
            case Failure() as failure:
                await _kept(lambda: self._store.fail(job, failure, journal.stages), job, "fail")
                log.warning("job failed", job_id=job.id, stage=failure.stage, reason=failure.reason)
        await self._changed(job.id)

    async def _beat(self, job: Job, alive: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            await alive()
            with suppress(Unavailable):
                await self._store.heartbeat(job)


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

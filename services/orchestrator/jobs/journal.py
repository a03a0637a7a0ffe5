"""Journal: the steps, the stages and the progress of one job under one attempt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

import structlog

from moneyprinter.errors import Error
from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.progress import ProgressWriter
from services.orchestrator.jobs.retries import with_retries, with_store_retries
from services.orchestrator.jobs.scenes import Approval, ReviewRequested, Scene, approval_step
from services.orchestrator.jobs.store import Store

T = TypeVar("T")

# A job that makes what its group shares sends heartbeats more often than this.
SHARED_LEASE = timedelta(seconds=30)
SHARED_PAUSE_SECONDS = 0.5

log = structlog.get_logger()


class StepLog:
    """The recorded results of a job's steps. `recorded` are the names of the steps that other attempts recorded."""

    def __init__(self, store: Store, job: Job, recorded: Collection[str]) -> None:
        self._store = store
        self._job = job
        self._recorded = set(recorded)
        self._read = set[str]()
        self.failed_step = ""
        """The step that failed first; empty when none did."""

    async def run(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """Return the recorded result of a step, of type `kind`; without one, run `work` and record its result.

        Raises the error of `work` once its retries are used up, and `StoreUnavailable` when the database stays
        unavailable.
        """
        found = await self.find(name, kind)
        if found is not None:
            self._read.add(name)
            return found
        try:
            result = await with_retries(work, self._job, name)
        except Error:
            self.failed_step = self.failed_step or name
            raise
        await with_store_retries(partial(self._store.record, self._job, name, kind, result), self._job, name)
        self._recorded.add(name)
        self._read.discard(name)
        return result

    async def share(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """Return what the group of the job shares under a name; run `work` for it when no other job does.

        Raises what `work` raises, and `StoreUnavailable` when the database stays unavailable.
        """
        claim = partial(self._store.claim_shared, self._job, name, kind, SHARED_LEASE)
        while True:
            found = await with_store_retries(claim, self._job, name)
            if found is True:
                result = await work()
                record = partial(self._store.record_shared, self._job, name, kind, result)
                await with_store_retries(record, self._job, name)
            elif found is False:
                await asyncio.sleep(SHARED_PAUSE_SECONDS)
            else:
                return found

    async def find(self, name: str, kind: type[T]) -> T | None:
        """Return the result of a step that was recorded before this attempt, or by it; None without one."""
        if name not in self._recorded:
            return None
        return await with_store_retries(partial(self._store.step, self._job, name, kind), self._job, name)

    def was_read(self, name: str) -> bool:
        """Whether the result of a step was recorded before, so that the step did not run."""
        return name in self._read

    def forget(self, names: Collection[str]) -> None:
        """Let the steps of these names run again."""
        self._recorded -= set(names)
        self._read.clear()
        self.failed_step = ""


class Journal:
    """Records what the workflow of a job does (`workflow.Journal`)."""

    def __init__(self, job: Job, steps: StepLog, writer: ProgressWriter) -> None:
        self.steps = steps
        self.writer = writer
        self._job = job
        self.failed_stage = next(iter(writer.stages))
        """The stage that failed first."""

    @asynccontextmanager
    async def stage(self, name: str) -> AsyncIterator[None]:
        self.writer.begin_stage(name)
        try:
            yield
        except Error:
            if "failed" not in self.writer.stages.values():
                self.failed_stage = name
            self.writer.stop_stage(name, "failed")
            raise
        except ReviewRequested:
            self.writer.stop_stage(name, "pending")
            raise
        except asyncio.CancelledError:
            self.writer.stop_stage(name, "cancelled")
            raise
        self.writer.complete_stage(name)
        log.info("stage completed", job_id=self._job.id, stage=name)

    async def step(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        return await self.steps.run(name, kind, work)

    async def share(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """Return what a job of the group has recorded under a name; without that, run `work` and record its result.

        Waits while another job of the group runs it. Raises what `work` raises, and `StoreUnavailable`.
        """
        return await self.steps.share(name, kind, work)

    async def review(self, subject: str, scenes: Sequence[Scene]) -> Approval:
        approval = await self.steps.find(approval_step(subject), Approval)
        if approval is None:
            raise ReviewRequested(subject, scenes)
        return approval

    def report_progress(self, stage: str, fraction: float) -> None:
        self.writer.report(stage, fraction)

    def set_segment_count(self, segments: int) -> None:
        self.writer.set_segment_count(segments)

    def count_segment(self, *, reused: bool) -> None:
        self.writer.count_segment(reused=reused)

    def restart(self, forgotten: Collection[str]) -> None:
        """Let the workflow run again after the store forgot some steps."""
        self.steps.forget(forgotten)
        self.writer.restart()

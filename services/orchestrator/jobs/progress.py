"""Progress of a job: its stages and fractions, written to the store at a bounded rate, and the estimate of its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from moneyprinter.errors import Unavailable
from services.orchestrator.jobs.model import Job, JobProgress
from services.orchestrator.jobs.store import DueEvents, Store
from services.runtime.tasks import wait_any

# People do not read progress faster than this.
BETWEEN_WRITES_SECONDS = 0.1
# Events about progress reach all instances and webhooks; they are rarer than writes.
BETWEEN_EVENTS_SECONDS = 1.0
# The speed of the first percents is a poor estimate of the rest.
LEAST_PERCENT = 10


class CompletionEstimate:
    """Estimates the end of a job from the speed of this attempt. `now` returns the time in UTC."""

    def __init__(self, job: Job, now: Callable[[], datetime]) -> None:
        self._expected = job.estimated_completion
        self._begin_percent = job.progress
        self._now = now
        self._begin_time = now()

    def at(self, percent: int) -> datetime:
        """Returns the end of a job that is `percent` done; the estimate at its creation until `LEAST_PERCENT` more."""
        now = self._now()
        done = percent - self._begin_percent
        if done < LEAST_PERCENT:
            return max(self._expected, now + timedelta(seconds=1))
        return now + (now - self._begin_time) * ((100 - percent) / done)


class ProgressWriter:
    """Keeps the stages and the progress of a job, and writes changes to the store.

    All changes within `BETWEEN_WRITES_SECONDS` become one write. `on_change` runs after each write; `clock` returns
    seconds of a monotonic clock.
    """

    def __init__(
        self,
        store: Store,
        job: Job,
        on_change: Callable[[], Awaitable[None]],
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._job = job
        self._on_change = on_change
        self._clock = clock
        self._estimate = CompletionEstimate(job, now)
        self._stages = dict(job.stages)
        # This attempt finds the segments of another attempt, and counts them again.
        self._progress_details = replace(job.progress_details, rendered_count=0, reused_count=0)
        self._percent = job.progress
        self._published_percent = job.progress
        self._published_stages = _completed_stages(job.stages)
        self._published_at = float("-inf")
        self._dirty = asyncio.Event()
        self._closed = asyncio.Event()

    @property
    def stages(self) -> dict[str, str]:
        """The state of each stage: `pending`, `in_progress`, `completed`, `failed` or `cancelled`."""
        return dict(self._stages)

    @property
    def progress_details(self) -> JobProgress:
        """How much of the work is done."""
        return self._progress_details

    def begin_stage(self, name: str) -> None:
        """Mark a stage as in progress."""
        self._stages[name] = "in_progress"
        self._change(fractions={name: 0.0, **self._progress_details.fractions})

    def complete_stage(self, name: str) -> None:
        """Mark a stage as completed."""
        self._stages[name] = "completed"
        self._change(fractions={**self._progress_details.fractions, name: 1.0})

    def stop_stage(self, name: str, state: str) -> None:
        """Mark a stage as `failed` or `cancelled`. The end of the job writes it."""
        self._stages[name] = state

    def restart(self) -> None:
        """Count segments from 0 again, and mark stopped stages as pending."""
        for name, state in self._stages.items():
            self._stages[name] = "pending" if state in ("failed", "cancelled") else state
        self._progress_details = replace(self._progress_details, rendered_count=0, reused_count=0)

    def report(self, stage: str, fraction: float) -> None:
        """Raise the part of a stage that is done to `fraction`, from 0 to 1."""
        if fraction > self._progress_details.fractions.get(stage, 0.0):
            self._change(fractions={**self._progress_details.fractions, stage: fraction})

    def set_segment_count(self, segments: int) -> None:
        """Record the number of segments."""
        self._change(segment_count=segments)

    def count_segment(self, *, reused: bool) -> None:
        """Count a segment that is done."""
        details = self._progress_details
        self._change(rendered_count=details.rendered_count + 1, reused_count=details.reused_count + reused)

    async def run(self) -> None:
        """Write changes as they come, until `close`. Raises `Superseded` when another instance claimed the job."""
        while True:
            await self._dirty.wait()
            if self._closed.is_set():
                return
            self._dirty.clear()
            with suppress(Unavailable):
                await self._write()
            await wait_any(self._closed, seconds=BETWEEN_WRITES_SECONDS)

    def close(self) -> None:
        """Let `run` end after the write under way: cancelling an SQL statement costs more than waiting for it."""
        self._closed.set()
        self._dirty.set()

    def _change(self, **changes: Any) -> None:
        self._progress_details = replace(self._progress_details, **changes)
        self._percent = max(self._percent, self._progress_details.percent)
        self._dirty.set()

    async def _write(self) -> None:
        now, percent, stages = self._clock(), self._percent, self.stages
        completed = _completed_stages(stages)
        due = DueEvents(
            progress=percent > self._published_percent and now - self._published_at >= BETWEEN_EVENTS_SECONDS,
            stages=not completed <= self._published_stages,
        )
        await self._store.advance(self._job, percent, stages, self._progress_details, self._estimate.at(percent), due)
        self._published_stages |= completed
        if due.progress:
            self._published_percent, self._published_at = percent, now
        await self._on_change()


def _completed_stages(stages: dict[str, str]) -> frozenset[str]:
    return frozenset(name for name, state in stages.items() if state == "completed")

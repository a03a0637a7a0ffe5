"""The progress of a job: its end is estimated from its speed, and events about it are rare."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.progress import CompletionEstimate, ProgressWriter
from tests.orchestrator.memory import MemoryStore
from tests.orchestrator.samples import job

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Clock:
    """A clock that tests set, in seconds from `BEGIN`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


def begun(percent: int = 0) -> Job:
    return replace(job(), create_time=BEGIN, estimated_completion=BEGIN + 5 * MINUTE, progress=percent)


def test_the_first_estimate_holds_until_a_tenth_is_done() -> None:
    clock = Clock()
    estimate = CompletionEstimate(begun(), clock.now)
    clock.seconds = 60
    assert estimate.at(9) == BEGIN + 5 * MINUTE
    clock.seconds = 600
    assert estimate.at(9) == BEGIN + timedelta(seconds=601), "an estimate is never in the past"


def test_the_end_is_extrapolated_from_the_speed_of_this_attempt() -> None:
    clock = Clock()
    estimate = CompletionEstimate(begun(40), clock.now)
    clock.seconds = 60
    assert estimate.at(60) == BEGIN + MINUTE + 2 * MINUTE


async def test_every_write_is_recorded_and_one_event_a_second_is_published() -> None:
    clock, store, made = Clock(), MemoryStore(), begun()
    await store.create(made)
    claimed = await store.claim(timedelta(seconds=10))
    assert claimed is not None

    async def on_change() -> None:
        pass

    writer = ProgressWriter(store, claimed, on_change, clock.now, clock.monotonic)
    percents = []
    for second in (0.0, 0.5, 0.9, 1.0, 1.5, 2.1):
        clock.seconds = second
        writer.report("video_processing", 0.1 + second / 10)
        await writer._write()
        found = await store.find(made.id, made.user_id)
        percents.append(found.progress if found else 0)
    assert percents == sorted(set(percents)), "each write is seen at once"
    events = [kind for kind, _ in store.published if kind == "video.processing.progress"]
    assert len(events) == 3

"""A job is driven to its end: each step runs once, transient faults are retried, others fail the job with a reason."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from moneyprinter.errors import Error, Internal, InvalidArgument, ResourceExhausted, Unavailable
from services.orchestrator.jobs import retries, workflow
from services.orchestrator.jobs.driver import Driver
from services.orchestrator.jobs.model import Job, JobProgress
from services.orchestrator.jobs.stages import STAGES
from services.orchestrator.jobs.store import AllJobsHeld, Superseded
from services.runtime import tasks
from tests.orchestrator.memory import MemoryStore
from tests.orchestrator.samples import StraightWorkers, job

STEPS = [
    *("validate", "validate", "find_voice", "write_script", "speak", "caption", "mix"),
    *("render 0", "render 1", "render 2", "render 3", "join", "finish"),
    *("store captions.srt", "store captions.vtt", "store captions.ass"),
]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.0)


class Bench:
    """A driver over a store in memory."""

    def __init__(self, workers: workflow.Workers) -> None:
        self.store = MemoryStore()
        self.changes: list[str] = []
        self.driver = self.another(workers)

    def another(self, workers: workflow.Workers, lease_seconds: float = 10.0, max_attempts: int = 5) -> Driver:
        async def make(made: Job, journal: Any) -> Any:
            return await workflow.make_video(made, workers, journal)

        async def changed(job_id: str) -> None:
            self.changes.append(job_id)

        return Driver(self.store, make, changed, lease_seconds=lease_seconds, max_attempts=max_attempts)

    async def found(self, made: Job) -> Job:
        found = await self.store.find(made.id, made.user_id)
        assert found is not None
        return found


async def report_alive() -> None:
    """Do nothing: no queue is here."""


async def test_a_job_goes_through_all_stages() -> None:
    workers = StraightWorkers()
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(report_alive)
    found = await bench.found(made)
    assert workers.done == STEPS
    assert found.status == "completed"
    assert found.stages == dict.fromkeys(STAGES, "completed")
    assert found.result is not None
    assert found.result.seconds == 10.0
    subjects = [subject for subject, _ in bench.store.published]
    assert [subject for subject in subjects if "progress" not in subject] == [
        *("jobs.video", "video.processing.started"),
        *["video.processing.stage_completed"] * len(STAGES),
        "video.processing.completed",
    ]
    assert bench.changes


async def test_a_heartbeat_that_loses_its_cancellation_holds_up_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `asyncio.wait_for` of Python 3.11 does, which nats-py uses."""
    monkeypatch.setattr(tasks, "CANCEL_SECONDS", 0.01)
    began, losses = asyncio.Event(), 0

    async def lose_cancellation() -> None:
        nonlocal losses
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            losses += 1
            if losses > 1:
                raise

    async def make(made: Job, journal: Any) -> Any:
        await began.wait()
        return await workflow.make_video(made, StraightWorkers(), journal)

    async def changed(job_id: str) -> None: ...

    store, made = MemoryStore(), job()
    await store.create(made)
    async with asyncio.timeout(20):
        await Driver(store, make, changed, lease_seconds=0.003, max_attempts=5).drive(lose_cancellation)
    found = await store.find(made.id, made.user_id)
    assert found is not None
    assert found.status == "completed"
    assert losses


async def test_recorded_steps_do_not_run_again() -> None:
    class Dies(Exception):
        """The instance dies."""

    first = StraightWorkers(fail={"join": [Dies()]})
    bench = Bench(first)
    made = job()
    await bench.store.create(made)
    with pytest.raises(Dies):
        await bench.driver.drive(report_alive)
    assert (await bench.found(made)).status == "processing"
    second = StraightWorkers()
    await bench.another(second, lease_seconds=-1.0).drive(report_alive)
    assert second.done == STEPS[STEPS.index("join") :]
    assert (await bench.found(made)).status == "completed"
    assert [subject for subject, _ in bench.store.published].count("video.processing.started") == 1


async def test_a_transient_fault_is_retried() -> None:
    away = [Unavailable("away", reason="SERVICE_UNAVAILABLE") for _ in range(3)]
    workers = StraightWorkers(fail={"speak": list(away)})
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(report_alive)
    assert (await bench.found(made)).status == "completed"


@pytest.mark.parametrize(("times", "status"), [(1, "completed"), (2, "failed")])
async def test_a_step_whose_child_process_was_killed_is_retried_once(times: int, status: str) -> None:
    killed = [Internal("ffmpeg was killed", reason="CHILD_KILLED") for _ in range(times)]
    workers = StraightWorkers(fail={"mix": list(killed)})
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(report_alive)
    found = await bench.found(made)
    assert found.status == status
    assert found.failure is None or found.failure.reason == "CHILD_KILLED"


async def test_a_busy_service_is_retried_without_limit() -> None:
    busy = [ResourceExhausted("busy", reason="BUSY", retry_after_seconds=0.001) for _ in range(50)]
    bench = Bench(StraightWorkers(fail={"render 1": list(busy)}))
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(report_alive)
    assert (await bench.found(made)).status == "completed"


@pytest.mark.parametrize(
    ("step", "stage"),
    [
        ("validate", "validation"),
        ("speak", "audio_generation"),
        ("render 1", "video_processing"),
        ("join", "concatenation"),
        ("finish", "rendering"),
    ],
)
async def test_a_permanent_fault_fails_the_job_with_its_stage_and_reason(step: str, stage: str) -> None:
    refusal: Error = InvalidArgument("the file is empty", reason="CLIP_NOT_PLAYABLE")
    bench = Bench(StraightWorkers(fail={step: [refusal, refusal]}))
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(report_alive)
    found = await bench.found(made)
    assert found.status == "failed"
    assert found.failure is not None
    assert (found.failure.stage, found.failure.reason) == (stage, "CLIP_NOT_PLAYABLE")
    assert found.stages[stage] == "failed"
    assert found.failure.message.startswith("clip 1") == (step == "validate"), "the message names the clip"
    assert [subject for subject, _ in bench.store.published][-1] == "video.processing.failed"


async def test_a_job_that_is_interrupted_too_often_fails() -> None:
    bench = Bench(StraightWorkers())
    made = job()
    await bench.store.create(made)
    for _ in range(3):
        claimed = await bench.store.claim(timedelta(seconds=-1))
        assert claimed is not None
    await bench.another(StraightWorkers(), lease_seconds=-1.0, max_attempts=3).drive(report_alive)
    found = await bench.found(made)
    assert found.status == "failed"
    assert found.failure is not None
    assert "interrupted 3 times" in found.failure.message


async def test_stopped_instances_do_not_count_as_interruptions() -> None:
    bench = Bench(StraightWorkers())
    made = job()
    await bench.store.create(made)
    for _ in range(5):
        claimed = await bench.store.claim(timedelta(seconds=10))
        assert claimed is not None
        await bench.store.release(claimed)
    await bench.another(StraightWorkers(), max_attempts=1).drive(report_alive)
    assert (await bench.found(made)).status == "completed"


async def test_a_job_of_another_instance_is_left_alone() -> None:
    bench = Bench(StraightWorkers())
    made = job()
    await bench.store.create(made)
    await bench.store.claim(timedelta(seconds=10))
    with pytest.raises(AllJobsHeld):
        await bench.driver.drive(report_alive)


class Stuck(StraightWorkers):
    """Joins forever."""

    def __init__(self) -> None:
        super().__init__()
        self.joining = asyncio.Event()
        self.stopped = False

    async def join(self, *_: Any) -> Any:
        self.joining.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped = True


async def test_a_cancelled_drive_releases_the_job() -> None:
    workers = Stuck()
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    task = asyncio.create_task(bench.driver.drive(report_alive))
    await workers.joining.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.store.claim(timedelta(hours=1)) is not None


async def test_a_cancelled_job_stops_at_once_and_ends_only_once() -> None:
    workers = Stuck()
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    task = asyncio.create_task(bench.driver.drive(report_alive))
    await workers.joining.wait()
    await bench.store.cancel(made.id, made.user_id)
    bench.driver.stop(made.id)
    await asyncio.wait_for(task, 20)
    assert workers.stopped
    assert (await bench.found(made)).status == "cancelled"
    assert bench.store.published[-1] == ("video.processing.cancelled", made.id)


async def test_a_retried_job_continues_at_the_failed_step() -> None:
    refusal: Error = InvalidArgument("the file is empty", reason="CLIP_NOT_PLAYABLE")
    workers = StraightWorkers(fail={"join": [refusal]})
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(report_alive)
    workers.done.clear()
    await bench.store.retry(made.id, made.user_id, made.create_time)
    await bench.another(workers, max_attempts=1).drive(report_alive)
    assert workers.done == STEPS[STEPS.index("join") :]
    assert (await bench.found(made)).status == "completed"


async def test_a_superseded_instance_stops() -> None:
    workers = Stuck()
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    slow = bench.another(workers, lease_seconds=0.03)
    task = asyncio.create_task(slow.drive(report_alive))
    await workers.joining.wait()
    await bench.store.claim(timedelta(seconds=-1))
    with pytest.raises(Superseded):
        await task


def test_progress_grows_from_stage_to_stage() -> None:
    names, reached = list(STAGES), []
    for place, name in enumerate(names):
        done = dict.fromkeys(names[:place], 1.0)
        reached += [JobProgress({**done, name: fraction}).percent for fraction in (0.0, 0.5, 1.0)]
    assert reached == sorted(reached)
    assert (reached[0], reached[-1]) == (0, 99)
    assert JobProgress({"validation": 1.0, "audio_generation": 0.5, "video_processing": 0.5}).percent == 45

"""A job is driven to its end: each step once, faults that pass are waited out, others end it with their reason."""

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
        self.told: list[str] = []
        self.driver = self.another(workers)

    def another(self, workers: workflow.Workers, lease_seconds: float = 10.0, max_attempts: int = 5) -> Driver:
        async def make(made: Job, journal: Any) -> Any:
            return await workflow.make_video(made, workers, journal)

        async def changed(job_id: str) -> None:
            self.told.append(job_id)

        return Driver(self.store, make, changed, lease_seconds=lease_seconds, max_attempts=max_attempts)

    async def found(self, made: Job) -> Job:
        found = await self.store.find(made.id, made.user_id)
        assert found is not None
        return found


async def alive() -> None:
    """The queue is told that the job is worked on."""


async def test_a_job_goes_through_all_stages() -> None:
    workers = StraightWorkers()
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(alive)
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
    assert bench.told


async def test_what_is_done_is_not_done_again() -> None:
    class Dies(Exception):
        """The instance dies."""

    first = StraightWorkers(fail={"join": [Dies()]})
    bench = Bench(first)
    made = job()
    await bench.store.create(made)
    with pytest.raises(Dies):
        await bench.driver.drive(alive)
    assert (await bench.found(made)).status == "processing"
    second = StraightWorkers()
    await bench.another(second, lease_seconds=-1.0).drive(alive)
    assert second.done == STEPS[STEPS.index("join") :]
    assert (await bench.found(made)).status == "completed"
    assert [subject for subject, _ in bench.store.published].count("video.processing.started") == 1


async def test_a_fault_that_passes_is_waited_out() -> None:
    away = [Unavailable("away", reason="SERVICE_UNAVAILABLE") for _ in range(3)]
    workers = StraightWorkers(fail={"speak": list(away)})
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(alive)
    assert (await bench.found(made)).status == "completed"


@pytest.mark.parametrize(("times", "status"), [(1, "completed"), (2, "failed")])
async def test_a_step_whose_program_was_killed_is_tried_once_more(times: int, status: str) -> None:
    killed = [Internal("ffmpeg was killed", reason="CHILD_KILLED") for _ in range(times)]
    workers = StraightWorkers(fail={"mix": list(killed)})
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(alive)
    found = await bench.found(made)
    assert found.status == status
    assert found.failure is None or found.failure.reason == "CHILD_KILLED"


async def test_who_is_busy_is_asked_for_as_long_as_it_takes() -> None:
    busy = [ResourceExhausted("busy", reason="BUSY", retry_after_seconds=0.001) for _ in range(50)]
    bench = Bench(StraightWorkers(fail={"render 1": list(busy)}))
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(alive)
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
async def test_a_fault_that_stays_ends_the_job_with_its_stage_and_reason(step: str, stage: str) -> None:
    refusal: Error = InvalidArgument("the file is empty", reason="CLIP_NOT_PLAYABLE")
    bench = Bench(StraightWorkers(fail={step: [refusal, refusal]}))
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(alive)
    found = await bench.found(made)
    assert found.status == "failed"
    assert found.failure is not None
    assert (found.failure.stage, found.failure.reason) == (stage, "CLIP_NOT_PLAYABLE")
    assert found.stages[stage] == "failed"
    assert found.failure.message.startswith("clip 1") == (step == "validate"), "which clip it is"
    assert [subject for subject, _ in bench.store.published][-1] == "video.processing.failed"


async def test_a_job_that_is_interrupted_too_often_is_given_up() -> None:
    bench = Bench(StraightWorkers())
    made = job()
    await bench.store.create(made)
    for _ in range(3):
        claimed = await bench.store.claim(timedelta(seconds=-1))
        assert claimed is not None
    await bench.another(StraightWorkers(), lease_seconds=-1.0, max_attempts=3).drive(alive)
    found = await bench.found(made)
    assert found.status == "failed"
    assert found.failure is not None
    assert "interrupted 3 times" in found.failure.message


async def test_a_job_is_not_given_up_because_instances_are_stopped() -> None:
    bench = Bench(StraightWorkers())
    made = job()
    await bench.store.create(made)
    for _ in range(5):
        claimed = await bench.store.claim(timedelta(seconds=10))
        assert claimed is not None
        await bench.store.release(claimed)
    await bench.another(StraightWorkers(), max_attempts=1).drive(alive)
    assert (await bench.found(made)).status == "completed"


async def test_a_job_of_another_instance_is_left_alone() -> None:
    bench = Bench(StraightWorkers())
    made = job()
    await bench.store.create(made)
    await bench.store.claim(timedelta(seconds=10))
    with pytest.raises(AllJobsHeld):
        await bench.driver.drive(alive)


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


async def test_a_cancelled_drive_lets_the_job_go() -> None:
    workers = Stuck()
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    task = asyncio.create_task(bench.driver.drive(alive))
    await workers.joining.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.store.claim(timedelta(hours=1)) is not None


async def test_a_cancelled_job_is_stopped_at_once_and_does_not_end_again() -> None:
    workers = Stuck()
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    task = asyncio.create_task(bench.driver.drive(alive))
    await workers.joining.wait()
    await bench.store.cancel(made.id, made.user_id)
    bench.driver.stop(made.id)
    await asyncio.wait_for(task, 1)
    assert workers.stopped
    assert (await bench.found(made)).status == "cancelled"
    assert bench.store.published[-1] == ("video.processing.cancelled", made.id)


async def test_a_failed_job_that_is_retried_goes_on_where_it_failed() -> None:
    refusal: Error = InvalidArgument("the file is empty", reason="CLIP_NOT_PLAYABLE")
    workers = StraightWorkers(fail={"join": [refusal]})
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    await bench.driver.drive(alive)
    workers.done.clear()
    await bench.store.retry(made.id, made.user_id, made.create_time)
    await bench.another(workers, max_attempts=1).drive(alive)
    assert workers.done == STEPS[STEPS.index("join") :]
    assert (await bench.found(made)).status == "completed"


async def test_a_superseded_instance_stops() -> None:
    workers = Stuck()
    bench = Bench(workers)
    made = job()
    await bench.store.create(made)
    slow = bench.another(workers, lease_seconds=0.03)
    task = asyncio.create_task(slow.drive(alive))
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

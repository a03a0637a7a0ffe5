"""Estimates follow the times of completed jobs on this machine, and the jobs that wait before a new one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from moneyprinter.errors import Unavailable
from services.orchestrator.jobs.estimates import FRESH_SECONDS, Estimates, LoadSnapshot, PastJob, Waiting, slowdown
from services.orchestrator.jobs.model import Job, JobProgress
from services.orchestrator.postgres.history import PostgresJobHistory
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.videos import requests
from tests.databases import Databases, open_pool
from tests.orchestrator.samples import REQUEST, RESULT, job


class FixedHistory:
    """A history that tests set."""

    def __init__(self, snapshot: LoadSnapshot) -> None:
        self.answer: LoadSnapshot | Unavailable = snapshot
        self.reads = 0

    async def snapshot(self) -> LoadSnapshot:
        self.reads += 1
        if isinstance(self.answer, Unavailable):
            raise self.answer
        return self.answer


async def test_without_history_a_job_takes_its_expected_time() -> None:
    assert await Estimates(FixedHistory(LoadSnapshot())).duration("user_1", 30.0, "standard") == timedelta(seconds=30)


@pytest.mark.parametrize(
    ("cores", "threads", "seconds"),
    [(2, 0.0, 30), (4, 0.0, 15), (1, 0.0, 60), (64, 0.0, 7.5), (2, 6.0, 120), (4, 4.0, 30)],
)
async def test_the_first_estimate_counts_the_cores_and_the_load_of_others(
    cores: int, threads: float, seconds: float
) -> None:
    """Measured: a job of 105 CPU seconds took 431 s on two cores at a load of 8; its estimate was 138 s."""
    idle = Estimates(FixedHistory(LoadSnapshot()), machine=lambda: (cores, threads))
    assert await idle.duration("user_1", 30.0, "standard") == timedelta(seconds=seconds)
    # The threads of running jobs are not counted twice, and a history has both in it.
    running = Estimates(FixedHistory(LoadSnapshot(running=1)), machine=lambda: (2, threads))
    assert await running.duration("user_1", 30.0, "standard") == timedelta(seconds=30)
    past = Estimates(FixedHistory(LoadSnapshot([PastJob("standard", 30.0, 45.0)])), machine=lambda: (cores, threads))
    assert await past.duration("user_1", 30.0, "standard") == timedelta(seconds=45)


async def test_the_times_of_completed_jobs_scale_the_next_estimate() -> None:
    past = [PastJob("standard", 30.0, 15.0)] * 5 + [PastJob("high", 30.0, 90.0)] * 5
    estimates = Estimates(FixedHistory(LoadSnapshot(past)))
    assert await estimates.duration("user_1", 20.0, "standard") == timedelta(seconds=10)
    assert await Estimates(FixedHistory(LoadSnapshot(past))).duration("user_1", 20.0, "high") == timedelta(seconds=60)


def test_the_most_similar_jobs_count() -> None:
    short, long = [PastJob("draft", 5.0, 10.0)] * 20, [PastJob("draft", 500.0, 250.0)] * 20
    assert slowdown([*short, *long], 6.0, "draft") == 2.0
    assert slowdown([*short, *long], 400.0, "draft") == 0.5
    assert slowdown([*short, *long], 400.0, "high") == 0.5, "of other qualities when no job has this one"


def test_a_single_slow_job_does_not_count() -> None:
    assert slowdown([PastJob("draft", 10.0, 10.0)] * 5 + [PastJob("draft", 10.0, 9000.0)], 10.0, "draft") == 1.0


async def test_waiting_jobs_delay_a_new_one() -> None:
    waiting = {"user_1": Waiting(2, 40.0), "user_2": Waiting(2, 20.0), "user_3": Waiting(6, 60.0)}
    estimates = Estimates(FixedHistory(LoadSnapshot([PastJob("draft", 10.0, 5.0)], waiting, running=2)))
    # It is the third job of its user: up to three jobs of each other user come first.
    first = (40 + 20 + 60 * 3 / 6) / 2 + 20
    assert await estimates.duration("user_1", 20.0, "draft") == timedelta(seconds=first / 2)
    after = (60 + 20 + 60 * 4 / 6) / 2 + 20
    assert await estimates.duration("user_1", 20.0, "draft") == timedelta(seconds=after / 2), (
        "the previous one waits, too"
    )
    other = (80 * 1 / 4 + 20 * 1 / 2 + 60 * 1 / 6) / 2 + 20
    assert await estimates.duration("user_4", 20.0, "draft") == timedelta(seconds=other / 2)


async def test_a_higher_priority_is_not_delayed_and_delays_others() -> None:
    others = {"high": {"user_3": Waiting(2, 60.0)}, "low": {"user_4": Waiting(1, 500.0)}}
    for priority, before in (("high", 60 * 1 / 2), ("normal", 60 + 20.0), ("low", 60 + 20 + 500.0)):
        estimates = Estimates(FixedHistory(LoadSnapshot((), {"user_2": Waiting(1, 20.0)}, running=1, others=others)))
        found = await estimates.duration("user_1", 30.0, "draft", priority)
        assert found == timedelta(seconds=before + 30)


async def test_the_history_is_read_at_intervals() -> None:
    now = [0.0]
    past = FixedHistory(LoadSnapshot([PastJob("draft", 10.0, 20.0)]))
    estimates = Estimates(past, lambda: now[0])
    for _ in range(3):
        await estimates.duration("user_1", 10.0, "draft")
    assert past.reads == 1
    past.answer = Unavailable("away", reason="SERVICE_UNAVAILABLE")
    now[0] = 2 * FRESH_SECONDS
    for _ in range(2):
        # A store that cannot be read cannot record the job either: the request fails at once.
        with pytest.raises(Unavailable):
            await estimates.duration("user_1", 10.0, "draft")
    past.answer = LoadSnapshot([PastJob("draft", 10.0, 40.0)])
    assert await estimates.duration("user_1", 10.0, "draft") == timedelta(seconds=40)


@pytest.mark.parametrize("running", [0, 1])
async def test_the_history_comes_from_the_database(postgres: Databases, running: int) -> None:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        began = datetime.now(UTC)
        now = [began]
        store = PostgresStore(pool, lambda: None, now=lambda: now[0])
        await store.create(_job(40.0))
        claimed = await store.claim(timedelta(seconds=10))
        assert claimed is not None
        now[0] += timedelta(seconds=30)
        await store.complete(claimed, RESULT, claimed.stages, JobProgress())
        for _ in range(2):
            await store.create(_job(15.0))
        if running:
            await store.claim(timedelta(seconds=10))
        snapshot = await PostgresJobHistory(pool).snapshot()
    left = Waiting(2 - running, 15.0 * (2 - running))
    assert snapshot == LoadSnapshot([PastJob("draft", 40.0, 30.0)], {"user_1": left}, running)


def _job(work_seconds: float) -> Job:
    return replace(job(), work_seconds=work_seconds)


def test_short_jobs_weigh_little_for_a_long_one() -> None:
    short = [PastJob("draft", 6.0, 1.0)] * 20
    assert slowdown(short, 6.0, "draft") == pytest.approx(1 / 6)
    assert 0.6 < slowdown(short, 600.0, "draft") < 1, (
        "a long job is not estimated at six times the speed that was measured"
    )


def test_a_long_script_takes_long_even_with_a_small_picture() -> None:
    # Twenty minutes at 480p in draft quality, measured: about 0.5 s for each second of it on two cores.
    request = replace(REQUEST, script="word " * 3800, width=854, height=480, quality="draft", clips=REQUEST.clips[:1])
    assert requests.expected_video_seconds(request) == pytest.approx(1267, abs=5)
    assert 500 < requests.expected_work_seconds(request) < 1200
    larger = replace(request, width=1920, height=1080, quality="standard")
    assert requests.expected_work_seconds(larger) > 2 * requests.expected_work_seconds(request)
    assert requests.expected_work_seconds(replace(larger, frames_per_second=60)) > 1.5 * requests.expected_work_seconds(
        larger
    )


def test_without_narration_the_length_of_the_clips_counts() -> None:
    silent = replace(REQUEST, voice="none", script=None, seconds=100.0)
    assert requests.expected_video_seconds(silent) == 100
    assert requests.expected_video_seconds(replace(silent, seconds=0.0)) == 20 + 10, "the length of one clip is known"

"""A job waits for the review of its owner without being claimed, and goes on once it is approved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.orchestrator.config import Config
from services.orchestrator.jobs import workflow
from services.orchestrator.jobs.driver import Driver
from services.orchestrator.jobs.failpoints import kill_at
from services.orchestrator.jobs.model import Job, JobProgress
from services.orchestrator.jobs.scenes import Approval, Review, Scene, SceneRequest
from services.orchestrator.jobs.stages import STAGES
from services.orchestrator.jobs.store import AllJobsHeld, Store, Superseded
from services.orchestrator.postgres.history import PostgresJobHistory
from services.orchestrator.postgres.quotas import PostgresUsage
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.videos.quotas import UNLIMITED
from tests.databases import Databases, open_pool
from tests.mesh import Mesh
from tests.orchestrator.memory import MemoryStore
from tests.orchestrator.samples import RESULT, StraightWorkers, job

LEASE = timedelta(seconds=10)
EXPIRED = timedelta(seconds=-1)
SCENES = (Scene(("The sea is salty.", "Rivers bring salt.")),)
APPROVAL = Approval((SceneRequest(SCENES[0].script),))
EDITED = (SceneRequest("The sea is cold."),)


def reviewed_job(**changes: Any) -> Job:
    made = job()
    return replace(made, request=replace(made.request, review="script", **changes))


def review(days: float = 7) -> Review:
    now = datetime.now(UTC)
    return Review("script", SCENES, now, now + timedelta(days=days))


async def begin_review(store: Store, made: Job, days: float = 7) -> Job:
    """Claim a job, and let it wait for a review. Return the job as it was claimed."""
    await store.create(made)
    claimed = await store.claim(LEASE)
    assert claimed is not None
    await store.begin_review(claimed, review(days), claimed.stages, JobProgress({"validation": 1.0}))
    return claimed


async def found(store: Store, made: Job) -> Job:
    job_now = await store.find(made.id, made.user_id)
    assert job_now is not None
    return job_now


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, postgres: Databases) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield PostgresStore(pool, lambda: None)


async def test_no_instance_claims_a_job_that_waits_for_a_review(store: Store) -> None:
    made = reviewed_job()
    claimed = await begin_review(store, made)
    assert await store.claim(EXPIRED) is None, "it is neither free nor held"
    assert await store.active_jobs() == 0, "the queue needs no message for it"
    assert list(await store.requeue_silent(timedelta(days=-400))) == []
    waiting = await found(store, made)
    assert (waiting.status, waiting.review and waiting.review.scenes) == ("processing", SCENES)
    (listed,) = await store.page(made.user_id, 5, None)
    assert listed.review is not None
    for write in (store.heartbeat, store.release):
        await write(claimed)


async def test_an_approved_job_is_claimed_under_a_new_attempt(store: Store) -> None:
    made = reviewed_job()
    claimed = await begin_review(store, made)
    answer = await store.approve(made.id, made.user_id, APPROVAL, made.create_time)
    assert answer is not None
    assert (answer[0].review, answer[1]) == (None, APPROVAL)
    with pytest.raises(Superseded):
        await store.begin_review(claimed, review(), claimed.stages, JobProgress())
    again = await store.claim(LEASE)
    assert again is not None
    assert again.attempt > claimed.attempt
    assert await store.interruptions(again) == 0, "no instance died"
    assert await store.step(again, "approve script", Approval) == APPROVAL
    with pytest.raises(AllJobsHeld):
        await store.claim(LEASE)


async def test_the_first_approval_counts(store: Store) -> None:
    made = reviewed_job()
    await begin_review(store, made)
    other = Approval(EDITED, EDITED)
    answers = await asyncio.gather(
        *(store.approve(made.id, made.user_id, each, made.create_time) for each in (APPROVAL, other, APPROVAL))
    )
    assert len({str(answer and answer[1]) for answer in answers}) == 1
    assert await store.approve(made.id, "user_2", APPROVAL, made.create_time) is None


async def test_an_approval_of_other_scenes_than_those_that_wait_is_refused(store: Store) -> None:
    made = reviewed_job()
    await begin_review(store, made)
    stale = replace(APPROVAL, version="0123456789abcdef")
    with pytest.raises(errors.Conflict, match="read its scenes again") as refused:
        await store.approve(made.id, made.user_id, stale, made.create_time)
    assert refused.value.reason == "REVIEW_CHANGED"
    waiting = await found(store, made)
    assert waiting.review is not None, "it waits as before"
    answer = await store.approve(
        made.id, made.user_id, replace(APPROVAL, version=waiting.review.version), made.create_time
    )
    assert answer is not None
    assert answer[0].review is None


async def test_a_job_is_either_cancelled_or_approved(store: Store) -> None:
    made = reviewed_job()
    await begin_review(store, made)
    cancelled, approved = await asyncio.gather(
        store.cancel(made.id, made.user_id), store.approve(made.id, made.user_id, APPROVAL, made.create_time)
    )
    assert cancelled is not None
    assert cancelled.status == "cancelled", "an approved job can be cancelled, too"
    assert approved is not None
    assert approved[0].status in ("processing", "cancelled")
    assert (await found(store, made)).review is None
    assert await store.claim(EXPIRED) is None


async def test_a_retried_job_waits_for_its_review_again(store: Store) -> None:
    made = reviewed_job()
    await begin_review(store, made)
    await store.cancel(made.id, made.user_id)
    answer = await store.approve(made.id, made.user_id, APPROVAL, made.create_time)
    assert answer is not None
    assert (answer[0].status, answer[1]) == ("cancelled", None)
    await store.retry(made.id, made.user_id, made.create_time)
    assert await store.claim(LEASE) is not None


async def test_a_review_that_is_overdue_fails_its_job(store: Store) -> None:
    overdue, in_time = reviewed_job(), reviewed_job()
    await begin_review(store, overdue, days=-1)
    await begin_review(store, in_time)
    expired = await store.expire_review()
    assert expired is not None
    assert expired.id == overdue.id
    assert await store.expire_review() is None
    failed = await found(store, overdue)
    assert failed.failure is not None
    assert (failed.status, failed.review, failed.failure.reason) == ("failed", None, "REVIEW_EXPIRED")
    assert (await found(store, in_time)).review is not None
    await store.retry(overdue.id, overdue.user_id, overdue.create_time)
    assert await store.claim(LEASE) is not None


async def test_time_in_a_review_is_unfinished_and_teaches_no_estimate(postgres: Databases) -> None:
    began = datetime.now(UTC)
    times = {"now": began}
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        store = PostgresStore(pool, lambda: None, now=lambda: times["now"])
        made = replace(reviewed_job(), work_seconds=5.0)
        await begin_review(store, made)
        assert (await PostgresUsage(pool, UNLIMITED).get_usage(made.user_id)).jobs == 1
        assert (await PostgresJobHistory(pool).snapshot()).running == 0
        times["now"] = began + timedelta(days=3)
        await store.approve(made.id, made.user_id, APPROVAL, made.create_time)
        claimed = await store.claim(LEASE)
        assert claimed is not None
        times["now"] += timedelta(seconds=20)
        await store.complete(claimed, RESULT, claimed.stages, JobProgress())
        (past,) = (await PostgresJobHistory(pool).snapshot()).past
        assert past.took_seconds == pytest.approx(20, abs=5)


async def report_alive() -> None:
    """Do nothing: no queue is here."""


def driver(store: Store, workers: workflow.Workers) -> Driver:
    async def make(made: Job, journal: Any) -> Any:
        return await workflow.make_video(made, workers, journal)

    async def changed(_: str) -> None:
        """Do nothing: nothing watches."""

    return Driver(store, make, changed, lease_seconds=10.0, max_attempts=3)


async def test_nothing_is_spoken_before_the_script_is_approved() -> None:
    store, first, second = MemoryStore(), StraightWorkers(), StraightWorkers()
    made = reviewed_job()
    await store.create(made)
    await driver(store, first).drive(report_alive)
    assert first.done == ["validate", "validate", "find_voice", "write_script"]
    waiting = await found(store, made)
    assert waiting.stages == {**dict.fromkeys(STAGES, "pending"), "validation": "completed"}
    assert waiting.review is not None
    assert [scene.script for scene in waiting.review.scenes] == ["One two. Three."]
    await driver(store, second).drive(report_alive)
    assert second.done == []
    await store.approve(made.id, made.user_id, Approval((SceneRequest("One two. Three."),)), made.create_time)
    await driver(store, second).drive(report_alive)
    assert second.done[0] == "speak", "no step is repeated, and an unchanged script is not split again"
    ended = await found(store, made)
    assert ended.status == "completed"
    assert ended.result is not None
    assert [scene.script for scene in ended.result.scenes] == ["One two. Three."]
    assert [subject for subject, _ in store.published].count("video.processing.review_requested") == 1


async def test_the_edited_script_is_spoken() -> None:
    spoken: list[str] = []

    class Recorder(StraightWorkers):
        """Records the sentences."""

        async def speak(self, *given: Any) -> Any:
            spoken.extend(sentence for scene in given[0] for sentence in scene)
            return await super().speak(*given)

    store, workers = MemoryStore(), Recorder()
    made = reviewed_job()
    await store.create(made)
    await driver(store, workers).drive(report_alive)
    await store.approve(made.id, made.user_id, Approval(EDITED, EDITED), made.create_time)
    await driver(store, workers).drive(report_alive)
    assert spoken == ["The sea is cold."]
    result = (await found(store, made)).result
    assert result is not None
    assert [scene.script for scene in result.scenes] == spoken


class Died(Exception):
    """The instance of the orchestrator is gone."""


async def die() -> None:
    raise Died


def published(store: MemoryStore) -> int:
    return [subject for subject, _ in store.published].count("video.processing.review_requested")


async def test_an_approval_outlives_the_instance_that_recorded_it() -> None:
    """It dies before it answers: the client repeats the approval, and the job starts once."""
    store, workers = MemoryStore(), StraightWorkers()
    made = reviewed_job()
    await store.create(made)
    await driver(store, workers).drive(report_alive)
    with pytest.raises(Died):
        await kill_at(store, "approve:1", die).approve(made.id, made.user_id, APPROVAL, made.create_time)
    again = await store.approve(made.id, made.user_id, APPROVAL, made.create_time)
    assert again is not None
    assert again[1] == APPROVAL
    for _ in range(2):
        await driver(store, workers).drive(report_alive)
    assert (await found(store, made)).status == "completed"
    assert workers.done.count("speak") == 1
    assert published(store) == 1


@pytest.mark.parametrize(("point", "waits"), [("begin_review:1", True), ("record:3", False)])
async def test_a_review_is_requested_once_though_instances_die(point: str, waits: bool) -> None:
    """After the review began, and after the script was written."""
    store, first, second = MemoryStore(), StraightWorkers(), StraightWorkers()
    made = reviewed_job()
    await store.create(made)
    with pytest.raises((Died, ExceptionGroup)):
        await driver(kill_at(store, point, die), first).drive(report_alive)
    assert ((await found(store, made)).review is not None) is waits
    for _ in range(2):
        store.expire_leases()
        await driver(store, second).drive(report_alive)
    assert second.done == [], "the script is not written again"
    assert (await found(store, made)).review is not None
    assert published(store) == 1


class Videos:
    """The service with a job that waits for a review, called by users."""

    def __init__(self, mesh: Mesh, store: PostgresStore) -> None:
        self.mesh = mesh
        self.store = store
        self.stub = mesh.stub(pb_grpc.VideoServiceStub, caller="gateway")

    async def approve(
        self, job_id: str, *scripts: str, user: str = "user_1", version: str = ""
    ) -> pb.GetVideoStatusResponse:
        scenes = [pb.Scene(script=script) for script in scripts]
        request = pb.ApproveVideoRequest(job_id=job_id, scenes=scenes, version=version)
        return (await self.stub.ApproveVideo(request, metadata=self.mesh.bearer(user))).status


@pytest.fixture
async def videos(postgres: Databases, nats_url: str, mesh: Mesh) -> AsyncIterator[Videos]:
    database = await postgres.fresh("orchestrator")
    # It claims no job: a test does so itself.
    await mesh.start("orchestrator", Config(database=database, nats=nats_url, jobs_at_once=0))
    async with open_pool("orchestrator", database) as pool:
        yield Videos(mesh, PostgresStore(pool, lambda: None))


async def test_the_status_and_the_video_show_the_review(videos: Videos) -> None:
    made = reviewed_job()
    await begin_review(videos.store, made)
    bearer = videos.mesh.bearer()
    status = await videos.stub.GetVideoStatus(pb.GetVideoStatusRequest(job_id=made.id), metadata=bearer)
    assert (status.status, status.review.state, status.review.subject) == ("processing", "awaiting_review", "script")
    assert status.review.request_time < status.review.expire_time
    video = (await videos.stub.GetVideo(pb.GetVideoRequest(job_id=made.id), metadata=bearer)).video
    assert [scene.script for scene in video.scenes] == ["The sea is salty. Rivers bring salt."]
    watch = videos.stub.WatchVideo(pb.WatchVideoRequest(job_id=made.id), metadata=bearer)
    updates = aiter(watch)
    assert (await anext(updates)).status.HasField("review")
    approved = await videos.approve(made.id)
    assert not approved.HasField("review")
    async with asyncio.timeout(5):
        assert not (await anext(updates)).status.HasField("review"), "watchers see the approval"
    watch.cancel()


async def test_only_the_owner_approves_and_the_same_approval_again_is_no_error(videos: Videos) -> None:
    made = reviewed_job()
    await begin_review(videos.store, made)
    with pytest.raises(errors.NotFound):
        await videos.approve(made.id, user="user_2")
    with pytest.raises(errors.Conflict) as stale:
        await videos.approve(made.id, version="1")
    assert stale.value.reason == "REVIEW_CHANGED"
    version = review().version
    for _ in range(2):
        assert (await videos.approve(made.id, "The sea is cold.", version=version)).status == "processing"
    for scripts in ([], ["The sea is warm."]):
        with pytest.raises(errors.FailedPrecondition, match="other edits") as refused:
            await videos.approve(made.id, *scripts)
        assert refused.value.reason == "VIDEO_NOT_IN_REVIEW"


@pytest.mark.parametrize(
    ("scripts", "field", "reason"),
    [
        (["..."], "scenes[0].script", "SCRIPT_EMPTY"),
        (["One.", "Two."], "scenes", "REQUEST_INVALID"),
    ],
)
async def test_edits_that_cannot_be_spoken_are_refused(
    videos: Videos, scripts: list[str], field: str, reason: str
) -> None:
    made = reviewed_job()
    await begin_review(videos.store, made)
    with pytest.raises(errors.InvalidArgument) as refused:
        await videos.approve(made.id, *scripts)
    assert (refused.value.reason, [each.field for each in refused.value.violations]) == (reason, [field])
    assert (await found(videos.store, made)).review is not None


async def test_a_job_that_does_not_wait_is_not_approved(videos: Videos) -> None:
    cancelled, running = reviewed_job(), job()
    await begin_review(videos.store, cancelled)
    await videos.store.cancel(cancelled.id, cancelled.user_id)
    await videos.store.create(running)
    for made, words in ((running, "waits for none"), (cancelled, "cancelled already")):
        with pytest.raises(errors.FailedPrecondition, match=words) as refused:
            await videos.approve(made.id)
        assert refused.value.reason == "VIDEO_NOT_IN_REVIEW"

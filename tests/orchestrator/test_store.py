"""One suite for both job stores: one instance at a time claims a job, and an old attempt writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moneyprinter.errors import Conflict
from services.orchestrator.jobs.idempotency import IdempotencyKey
from services.orchestrator.jobs.model import Asset, Failure, JobProgress, RenderedVideo, SourceClip
from services.orchestrator.jobs.store import AllJobsHeld, JobFilter, Store, Superseded
from services.orchestrator.postgres.store import PostgresStore
from tests.databases import Databases, open_pool
from tests.orchestrator.memory import MemoryStore
from tests.orchestrator.samples import REQUEST, RESULT, job, source, stored

LEASE = timedelta(seconds=10)
EXPIRED = timedelta(seconds=-1)


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, postgres: Databases) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield PostgresStore(pool, lambda: None)


async def test_only_its_owner_finds_a_job(store: Store) -> None:
    made = job()
    await store.create(made)
    assert await store.find(made.id, "user_1") == made
    assert await store.find(made.id, "user_2") is None
    assert await store.find("vid_none", "user_1") is None


async def test_repeated_requests_with_one_key_create_one_job(store: Store) -> None:
    made, again, other = job(), job(), job("user_2")
    assert (await store.create(made, IdempotencyKey("k", "1"))).id == made.id
    answer = await store.create(again, IdempotencyKey("k", "1"))
    assert (answer.id, answer.estimated_completion) == (made.id, made.estimated_completion)
    assert await store.find(again.id, "user_1") is None
    with pytest.raises(Conflict):
        await store.create(again, IdempotencyKey("k", "2"))
    assert (await store.create(other, IdempotencyKey("k", "2"))).id == other.id, "keys are the user's own"
    assert (await store.create(job(), IdempotencyKey("l", "1"))).id != made.id
    assert await store.active_jobs() == 3


async def test_an_idempotency_key_expires_after_a_day(store: Store) -> None:
    made = job()
    await store.create(made, IdempotencyKey("k", "1"))
    for hours, known in ((23.9, True), (24.1, False)):
        later = replace(job(), create_time=made.create_time + timedelta(hours=hours))
        found = await store.create(later, IdempotencyKey("k", "1"))
        assert (found.id == made.id) is known


async def test_concurrent_requests_with_one_key_create_one_job(store: Store) -> None:
    found = await asyncio.gather(*(store.create(job(), IdempotencyKey("k", "1")) for _ in range(5)))
    assert len({each.id for each in found}) == 1
    assert await store.active_jobs() == 1


async def test_pages_contain_each_job_once_newest_first(store: Store) -> None:
    made = [replace(job("user_9"), create_time=datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2, 2, 3, 4)]
    for each in made:
        await store.create(each)
    await store.create(job("user_8"))
    seen, after = [], None
    while page := await store.page("user_9", 2, after):
        seen += page
        after = (page[-1].create_time, page[-1].id)
    assert [each.id for each in seen] == [
        each.id for each in sorted(made, key=lambda each: (each.create_time, each.id), reverse=True)
    ]


async def test_jobs_are_filtered_by_status(store: Store) -> None:
    made = [job("user_9") for _ in range(3)]
    for each in made:
        await store.create(each)
    await store.cancel(made[1].id, "user_9")
    assert [each.id for each in await store.page("user_9", 5, None, JobFilter("cancelled"))] == [made[1].id]
    assert {each.id for each in await store.page("user_9", 5, None, JobFilter("processing"))} == {
        made[0].id,
        made[2].id,
    }
    assert await store.page("user_9", 5, None, JobFilter("failed")) == []


async def test_jobs_are_filtered_by_title_and_time(store: Store) -> None:
    began = datetime(2026, 3, 1, tzinfo=UTC)
    made = [
        replace(job("user_8"), request=replace(REQUEST, title=title), create_time=began + timedelta(days=day))
        for day, title in enumerate(("The Sea 100%", "Über den Wolken", "sea_shells"))
    ]
    for each in made:
        await store.create(each)

    async def found(**wanted: Any) -> list[str]:
        return [each.request.title for each in await store.page("user_8", 5, None, JobFilter(**wanted))]

    assert await found(title="SEA") == ["sea_shells", "The Sea 100%"]
    assert await found(title="über") == ["Über den Wolken"]
    assert await found(title="%") == ["The Sea 100%"], "it is no pattern"
    assert await found(title="_") == ["sea_shells"]
    assert await found(from_time=made[1].create_time) == ["sea_shells", "Über den Wolken"]
    assert await found(to_time=made[1].create_time) == ["The Sea 100%"]
    assert await found(title="sea", from_time=made[1].create_time, to_time=made[2].create_time) == []


async def test_one_instance_at_a_time_claims_a_job(store: Store) -> None:
    made = job()
    await store.create(made)
    first = await store.claim(LEASE)
    assert first is not None
    assert first.attempt == 1
    with pytest.raises(AllJobsHeld):
        await store.claim(LEASE)
    second = await store.claim(EXPIRED)
    assert second is not None
    assert second.attempt == 2


async def test_users_take_turns_within_a_priority(store: Store) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    waiting = [("a", "normal"), ("a", "normal"), ("a", "low"), ("b", "low"), ("b", "normal"), ("a", "normal")]
    waiting += [("c", "normal"), ("a", "high"), ("c", "low")]
    names = {}
    for place, (user, priority) in enumerate(waiting):
        made = replace(job(user), priority=priority, create_time=begin + timedelta(seconds=place))
        names[made.id] = f"{user}{place} {priority}"
        await store.create(made)
    claimed = [await store.claim(LEASE) for _ in waiting]
    assert [names[each.id] for each in claimed if each] == [
        "a7 high",
        *("b4 normal", "c6 normal", "a0 normal", "a1 normal", "a5 normal"),
        *("b3 low", "c8 low", "a2 low"),
    ]
    with pytest.raises(AllJobsHeld):
        await store.claim(LEASE)


async def test_users_take_turns_however_long_their_queues_are(store: Store) -> None:
    for user in ("a", "b", "c"):
        for _ in range(3):
            await store.create(job(f"user_{user}"))
    turns = []
    for _ in range(9):
        claimed = await store.claim(LEASE)
        assert claimed is not None
        turns.append(claimed.user_id[-1])
        await store.complete(claimed, RESULT, claimed.stages, JobProgress())
    assert turns == ["a", "b", "c"] * 3, "no user waits until all jobs of another user are done"


async def test_concurrent_claims_return_different_jobs(store: Store) -> None:
    made = [job(f"user_{number}") for number in range(6)]
    for each in made:
        await store.create(each)
    claimed = await asyncio.gather(*(store.claim(LEASE) for _ in made))
    assert {each.id for each in claimed if each} == {each.id for each in made}


async def test_a_released_job_can_be_claimed_at_once(store: Store) -> None:
    made = job()
    await store.create(made)
    first = await store.claim(LEASE)
    assert first is not None
    await store.release(first)
    second = await store.claim(LEASE)
    assert second is not None
    assert (second.attempt, await store.interruptions(second)) == (2, 0)


async def test_only_instances_that_died_count_as_interruptions(store: Store) -> None:
    made = job()
    await store.create(made)
    given_back = await store.claim(LEASE)
    assert given_back is not None
    await store.release(given_back)
    for _ in range(2):
        died = await store.claim(EXPIRED)
        assert died is not None
    last = await store.claim(EXPIRED)
    assert last is not None
    assert (last.attempt, await store.interruptions(last)) == (4, 2)


async def test_an_old_attempt_writes_nothing(store: Store) -> None:
    made = job()
    await store.create(made)
    old = await store.claim(LEASE)
    new = await store.claim(EXPIRED)
    assert old is not None
    assert new is not None
    for write in (
        store.heartbeat(old),
        store.release(old),
        store.advance(old, 50, old.stages, JobProgress(), datetime.now(UTC)),
        store.record(old, "clip", SourceClip, SourceClip(source("c"), 0.0, 1.0)),
        store.complete(old, RESULT, old.stages, JobProgress()),
        store.fail(old, Failure("validation", "INTERNAL", "x"), old.stages),
    ):
        with pytest.raises(Superseded):
            await write
    assert await store.step(new, "clip", SourceClip) is None
    found = await store.find(made.id, "user_1")
    assert found is not None
    assert (found.status, found.progress) == ("processing", 0)


async def test_the_result_of_a_step_is_recorded(store: Store) -> None:
    made = job()
    await store.create(made)
    claimed = await store.claim(LEASE)
    assert claimed is not None
    clip = SourceClip(source("clip", width=64, hdr_transfer="smpte2084"), 0.5, 2.25, key_seconds=(0.0, 1.5))
    assert await store.step(claimed, "clip", SourceClip) is None
    await store.record(claimed, "clip", SourceClip, clip)
    assert await store.step(claimed, "clip", SourceClip) == clip


async def test_steps_are_found_by_the_prefix_of_their_names(store: Store) -> None:
    made, other = job(), job()
    for each in (made, other):
        await store.create(each)
        claimed = await store.claim(LEASE)
        assert claimed is not None
        await store.record(claimed, "render 0", RenderedVideo, RenderedVideo(stored(each.id), 30))
        await store.record(claimed, "render 12", RenderedVideo, RenderedVideo(stored("twelve"), 31, header_bytes=700))
        await store.record(claimed, "mix", RenderedVideo, RenderedVideo(stored("mix"), 1))
    found = await store.steps(made.id, "render ", RenderedVideo)
    assert found == {
        "0": RenderedVideo(stored(made.id), 30),
        "12": RenderedVideo(stored("twelve"), 31, header_bytes=700),
    }


async def test_progress_is_recorded(store: Store) -> None:
    made = job()
    await store.create(made)
    claimed = await store.claim(LEASE)
    assert claimed is not None
    progress_details = JobProgress(
        {"validation": 1.0, "video_processing": 0.25}, segment_count=8, rendered_count=2, reused_count=1
    )
    await store.advance(claimed, 30, {**claimed.stages, "validation": "completed"}, progress_details, datetime.now(UTC))
    found = await store.find(made.id, "user_1")
    assert found is not None
    assert (found.progress, found.progress_details, found.stages["validation"]) == (30, progress_details, "completed")


async def test_a_job_ends_once(store: Store) -> None:
    made = job()
    await store.create(made)
    claimed = await store.claim(LEASE)
    assert claimed is not None
    stages = dict.fromkeys(claimed.stages, "completed")
    progress_details = JobProgress({"rendering": 1.0}, segment_count=4, rendered_count=4, reused_count=3)
    await store.complete(claimed, RESULT, stages, progress_details)
    with pytest.raises(Superseded):
        await store.fail(claimed, Failure("rendering", "INTERNAL", "x"), stages)
    found = await store.find(made.id, "user_1")
    assert found is not None
    assert (found.status, found.progress, found.result, found.stages) == ("completed", 100, RESULT, stages)
    assert found.progress_details == progress_details
    assert await store.claim(EXPIRED) is None
    assert await store.active_jobs() == 0


async def test_a_failed_job_has_its_failure(store: Store) -> None:
    made = job()
    await store.create(made)
    claimed = await store.claim(LEASE)
    assert claimed is not None
    failure = Failure("validation", "CLIP_NOT_PLAYABLE", "the file is empty")
    await store.fail(claimed, failure, {**claimed.stages, "validation": "failed"})
    found = await store.find(made.id, "user_1")
    assert found is not None
    assert (found.status, found.failure) == ("failed", failure)


async def test_a_cancelled_job_stays_cancelled_while_an_instance_works_on_it(store: Store) -> None:
    made, waiting = job(), job()
    await store.create(made)
    claimed = await store.claim(LEASE)
    assert claimed is not None
    await store.advance(claimed, 7, {**claimed.stages, "validation": "in_progress"}, JobProgress(), datetime.now(UTC))
    await store.create(waiting)
    assert await store.cancel(made.id, "user_2") is None
    for each in (made, waiting, made):
        cancelled = await store.cancel(each.id, "user_1")
        assert cancelled is not None
        assert cancelled.status == "cancelled"
    assert await store.claim(EXPIRED) is None
    with pytest.raises(Superseded):
        await store.complete(claimed, RESULT, claimed.stages, JobProgress())
    found = await store.find(made.id, "user_1")
    assert found is not None
    assert (found.status, found.progress, found.stages["validation"]) == ("cancelled", 7, "cancelled")


async def test_an_ended_job_is_not_cancelled(store: Store) -> None:
    made = job()
    await store.create(made)
    claimed = await store.claim(LEASE)
    assert claimed is not None
    await store.complete(claimed, RESULT, claimed.stages, JobProgress())
    found = await store.cancel(made.id, "user_1")
    assert found is not None
    assert found.status == "completed"


async def test_a_deleted_job_is_not_found(store: Store) -> None:
    running, done = job("user_7"), job("user_7")
    await store.create(running)
    claimed = await store.claim(LEASE)
    assert claimed is not None
    await store.create(done)
    other = await store.claim(LEASE)
    assert other is not None
    await store.complete(other, RESULT, other.stages, JobProgress())
    for each in (running, done):
        assert await store.delete(each.id, "user_1") is None
        assert await store.delete(each.id, "user_7") is not None
        assert await store.delete(each.id, "user_7") is None
        assert await store.find(each.id, "user_7") is None
        assert await store.retry(each.id, "user_7", datetime.now(UTC)) is None
    assert await store.claim(EXPIRED) is None
    assert await store.page("user_7", 10, None) == []
    with pytest.raises(Superseded):
        await store.heartbeat(claimed)


async def test_a_retried_job_keeps_the_results_of_its_steps(store: Store) -> None:
    made = job()
    await store.create(made)
    given_back = await store.claim(LEASE)
    assert given_back is not None
    await store.release(given_back)
    died = await store.claim(LEASE)
    assert died is not None
    first = await store.claim(EXPIRED)
    assert first is not None
    assert await store.interruptions(first) == 1
    await store.record(first, "mix", RenderedVideo, RenderedVideo(stored("mix"), 1))
    stages = {**first.stages, "validation": "completed", "audio_generation": "failed"}
    await store.fail(first, Failure("audio_generation", "SPEECH_FAILED", "x"), stages)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert await store.retry(made.id, "user_2", soon) is None
    again = await store.retry(made.id, "user_1", soon)
    assert again is not None
    assert (again.status, again.failure, again.estimated_completion) == ("processing", None, soon)
    assert (again.attempt, again.base_attempt) == (4, 4)
    assert (again.stages["validation"], again.stages["audio_generation"]) == ("completed", "pending")
    unchanged = await store.retry(made.id, "user_1", soon)
    assert unchanged == again
    with pytest.raises(Superseded):
        await store.heartbeat(first)
    second = await store.claim(LEASE)
    assert second is not None
    assert await store.interruptions(second) == 0
    assert await store.step(second, "mix", RenderedVideo) == RenderedVideo(stored("mix"), 1)
    with pytest.raises(AllJobsHeld):
        await store.claim(LEASE)
    await store.complete(second, RESULT, second.stages, JobProgress())
    ended = await store.retry(made.id, "user_1", soon)
    assert ended is not None
    assert ended.status == "completed"


async def test_a_job_without_heartbeat_is_queued_again(store: Store) -> None:
    made = replace(job(), create_time=datetime.now(UTC) - timedelta(hours=1))
    fresh = job()
    await store.create(made)
    await store.create(fresh)
    assert await store.requeue_silent(timedelta(minutes=1)) == [made.id]
    assert await store.requeue_silent(timedelta(minutes=1)) == []


async def test_only_their_owner_finds_assets(store: Store) -> None:
    asset = Asset("ast_1", "user_1", "walk.mp4", stored("assets/ast_1"), datetime.now(UTC))
    await store.add_asset(asset)
    assert await store.assets("user_1", ["ast_1", "ast_2"]) == {"ast_1": asset}
    assert await store.assets("user_2", ["ast_1"]) == {}

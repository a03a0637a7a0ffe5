"""One suite over both stores: jobs are taken by one instance at a time, and an old attempt writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.orchestrator.jobs import Asset, Failure, Picture, SourceClip, Tally
from services.orchestrator.postgres import PostgresStore
from services.orchestrator.store import Held, Store, Superseded
from services.runtime import db
from tests.databases import Databases
from tests.orchestrator.memory import MemoryStore
from tests.orchestrator.samples import RESULT, job, source, stored

LEASE = timedelta(seconds=10)
EXPIRED = timedelta(seconds=-1)


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, postgres: Databases) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with db.open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield PostgresStore(pool, lambda: None)


async def test_a_job_is_found_by_its_owner_alone(store: Store) -> None:
    made = job()
    await store.create(made)
    assert await store.find(made.id, "user_1") == made
    assert await store.find(made.id, "user_2") is None
    assert await store.find("vid_none", "user_1") is None


async def test_pages_hold_every_job_once_newest_first(store: Store) -> None:
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


async def test_a_job_is_taken_by_one_instance_at_a_time(store: Store) -> None:
    made = job()
    await store.create(made)
    first = await store.take(made.id, LEASE)
    assert first is not None
    assert first.attempt == 1
    with pytest.raises(Held):
        await store.take(made.id, LEASE)
    second = await store.take(made.id, EXPIRED)
    assert second is not None
    assert second.attempt == 2


async def test_a_released_job_is_taken_at_once(store: Store) -> None:
    made = job()
    await store.create(made)
    first = await store.take(made.id, LEASE)
    assert first is not None
    await store.release(first)
    assert await store.take(made.id, LEASE) is not None


async def test_an_old_attempt_writes_nothing(store: Store) -> None:
    made = job()
    await store.create(made)
    old = await store.take(made.id, LEASE)
    new = await store.take(made.id, EXPIRED)
    assert old is not None
    assert new is not None
    for write in (
        store.heartbeat(old),
        store.release(old),
        store.advance(old, 50, old.stages, Tally(), datetime.now(UTC)),
        store.record(old, "clip", SourceClip, SourceClip(source("c"), 0.0, 1.0)),
        store.complete(old, RESULT, old.stages, Tally()),
        store.fail(old, Failure("validation", "INTERNAL", "x"), old.stages),
    ):
        with pytest.raises(Superseded):
            await write
    assert await store.step(new, "clip", SourceClip) is None
    found = await store.find(made.id, "user_1")
    assert found is not None
    assert (found.status, found.progress) == ("processing", 0)


async def test_what_a_step_gave_is_found_again(store: Store) -> None:
    made = job()
    await store.create(made)
    taken = await store.take(made.id, LEASE)
    assert taken is not None
    clip = SourceClip(source("clip", width=64, hdr_transfer="smpte2084"), 0.5, 2.25, key_seconds=(0.0, 1.5))
    assert await store.step(taken, "clip", SourceClip) is None
    await store.record(taken, "clip", SourceClip, clip)
    assert await store.step(taken, "clip", SourceClip) == clip


async def test_steps_of_a_kind_are_found_by_what_follows_in_their_names(store: Store) -> None:
    made, other = job(), job()
    for each in (made, other):
        await store.create(each)
        taken = await store.take(each.id, LEASE)
        assert taken is not None
        await store.record(taken, "render 0", Picture, Picture(stored(each.id), 30))
        await store.record(taken, "render 12", Picture, Picture(stored("twelve"), 31, header_bytes=700))
        await store.record(taken, "mix", Picture, Picture(stored("mix"), 1))
    found = await store.steps(made.id, "render ", Picture)
    assert found == {"0": Picture(stored(made.id), 30), "12": Picture(stored("twelve"), 31, header_bytes=700)}


async def test_what_an_attempt_tells_is_read_by_others(store: Store) -> None:
    made = job()
    await store.create(made)
    taken = await store.take(made.id, LEASE)
    assert taken is not None
    tally = Tally({"validation": 1.0, "video_processing": 0.25}, segments=8, rendered=2, reused=1)
    await store.advance(taken, 30, {**taken.stages, "validation": "completed"}, tally, datetime.now(UTC))
    found = await store.find(made.id, "user_1")
    assert found is not None
    assert (found.progress, found.tally, found.stages["validation"]) == (30, tally, "completed")


async def test_a_job_ends_once(store: Store) -> None:
    made = job()
    await store.create(made)
    taken = await store.take(made.id, LEASE)
    assert taken is not None
    stages = dict.fromkeys(taken.stages, "completed")
    tally = Tally({"rendering": 1.0}, segments=4, rendered=4, reused=3)
    await store.complete(taken, RESULT, stages, tally)
    with pytest.raises(Superseded):
        await store.fail(taken, Failure("rendering", "INTERNAL", "x"), stages)
    found = await store.find(made.id, "user_1")
    assert found is not None
    assert (found.status, found.progress, found.result, found.stages) == ("completed", 100, RESULT, stages)
    assert found.tally == tally
    assert await store.take(made.id, EXPIRED) is None
    assert await store.active_jobs() == 0


async def test_a_failed_job_says_why(store: Store) -> None:
    made = job()
    await store.create(made)
    taken = await store.take(made.id, LEASE)
    assert taken is not None
    failure = Failure("validation", "CLIP_NOT_PLAYABLE", "the file is empty")
    await store.fail(taken, failure, {**taken.stages, "validation": "failed"})
    found = await store.find(made.id, "user_1")
    assert found is not None
    assert (found.status, found.failure) == ("failed", failure)


async def test_a_job_that_nobody_works_on_is_queued_again(store: Store) -> None:
    made = replace(job(), create_time=datetime.now(UTC) - timedelta(hours=1))
    fresh = job()
    await store.create(made)
    await store.create(fresh)
    assert await store.requeue_silent(timedelta(minutes=1)) == [made.id]
    assert await store.requeue_silent(timedelta(minutes=1)) == []


async def test_assets_are_found_by_their_owner_alone(store: Store) -> None:
    asset = Asset("ast_1", "user_1", "walk.mp4", stored("assets/ast_1"))
    await store.add_asset(asset)
    assert await store.assets("user_1", ["ast_1", "ast_2"]) == {"ast_1": asset}
    assert await store.assets("user_2", ["ast_1"]) == {}

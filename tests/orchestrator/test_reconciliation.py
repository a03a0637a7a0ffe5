"""Orphaned files are removed, missing files are reported, and all other files stay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from services.orchestrator.jobs.model import Asset, File, Job, Result, StoredObject
from services.orchestrator.postgres.reconciliation import PostgresFileRecords
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.videos import reconciliation
from services.orchestrator.videos.reconciliation import Reconciliation
from services.runtime.db import Pool
from tests.databases import Databases, open_pool
from tests.orchestrator.samples import job, stored

DAY = timedelta(days=1)


@pytest.fixture
async def pool(postgres: Databases) -> AsyncIterator[Pool]:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield pool


class Objects:
    """Objects by their keys, each with its age."""

    def __init__(self) -> None:
        self.ages: dict[str, timedelta] = {}

    async def list_keys(self, folder: str) -> AsyncIterator[Sequence[tuple[str, float]]]:
        now = datetime.now(UTC)
        for key, age in list(self.ages.items()):
            if key.startswith(f"{folder}/"):
                yield [(key, (now - age).timestamp())]

    async def is_stored(self, wanted: StoredObject) -> bool:
        return wanted.key in self.ages

    async def delete(self, key: str) -> None:
        del self.ages[key]


def comparison(pool: Pool, objects: Objects) -> Reconciliation:
    records = PostgresFileRecords(pool)
    return Reconciliation(records, objects, "assets", grace=DAY, now=lambda: datetime.now(UTC), pause_factor=0.0)


async def finished(pool: Pool, *names: str) -> Job:
    store, made = PostgresStore(pool, lambda: None), job()
    await store.create(made)
    claimed = await store.claim(timedelta(seconds=-1))
    assert claimed is not None
    files = tuple(File(name, stored(f"{claimed.attempt_folder}/{name}")) for name in names)
    await store.complete(claimed, Result(files, 1.0), claimed.stages, claimed.progress_details)
    return claimed


async def test_orphans_are_removed_and_other_files_stay(pool: Pool) -> None:
    store, objects = PostgresStore(pool, lambda: None), Objects()
    done = await finished(pool, "video.mp4")
    running = job()
    await store.create(running)
    cancelled = job()
    await store.create(cancelled)
    await store.cancel(cancelled.id, cancelled.user_id)
    await store.add_asset(Asset("ast_1", "user_1", "a.mp4", stored("assets/ast_1"), datetime.now(UTC)))
    kept = {
        f"{done.attempt_folder}/video.mp4": 9 * DAY,
        f"{running.folder}/1/video.mp4": 9 * DAY,
        # It is removed with what else its job left.
        f"{cancelled.folder}/1/video.mp4": 9 * DAY,
        "assets/ast_1": 9 * DAY,
        "assets/ast_new": DAY / 2,
        "jobs/vid_new/1/video.mp4": DAY / 2,
    }
    orphans = {
        f"{done.folder}/0/video.mp4": 2 * DAY,
        f"{done.folder}/video.mp4": 2 * DAY,
        "jobs/vid_gone/3/poster.jpg": 2 * DAY,
        "assets/ast_gone": 2 * DAY,
    }
    objects.ages = {**kept, **orphans}
    await comparison(pool, objects).make_pass()
    assert objects.ages == kept


async def test_missing_files_are_reported(pool: Pool) -> None:
    store, objects = PostgresStore(pool, lambda: None), Objects()
    done, deleted = await finished(pool, "video.mp4", "poster.jpg"), await finished(pool, "video.mp4")
    await store.delete(deleted.id, deleted.user_id)
    for number in (1, 2):
        asset = Asset(f"ast_{number}", "user_1", "a.mp4", stored(f"assets/ast_{number}"), datetime.now(UTC))
        await store.add_asset(asset)
    objects.ages = {f"{done.attempt_folder}/video.mp4": DAY, "assets/ast_1": DAY}
    compared = comparison(pool, objects)
    with capture_logs() as logs:
        await compared.make_pass()
    reported = {each["key"] for each in logs if each["event"] == "recorded file is missing"}
    assert reported == {f"{done.attempt_folder}/poster.jpg", "assets/ast_2"}
    assert compared.missing == {"video": 1, "asset": 1}


async def test_the_database_of_another_storage_removes_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "MIN_SUSPICIOUS_ORPHANS", 5)
    objects = Objects()
    objects.ages = {f"jobs/vid_{number}/1/video.mp4": 9 * DAY for number in range(6)}
    before = dict(objects.ages)
    with capture_logs() as logs:
        await comparison(pool, objects).make_pass()
    assert objects.ages == before
    assert any("is this the right database?" in each["event"] for each in logs)


async def test_many_jobs_are_compared_page_by_page(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "PAGE_SIZE", 2)
    made = [await finished(pool, "video.mp4") for _ in range(5)]
    objects = Objects()
    objects.ages = {f"{each.attempt_folder}/video.mp4": DAY for each in made[1:]}
    compared = comparison(pool, objects)
    await compared.make_pass()
    assert compared.missing == {"video": 1, "asset": 0}


async def test_one_instance_makes_each_pass(pool: Pool) -> None:
    first, second = PostgresFileRecords(pool), PostgresFileRecords(pool)
    assert await first.begin_pass(DAY)
    assert not await second.begin_pass(DAY)
    assert await second.begin_pass(timedelta(0))


def test_an_attempt_has_a_folder_of_its_own() -> None:
    made = replace(job(), attempt=3)
    assert made.attempt_folder == f"{made.folder}/3"
    assert made.last_stale_attempt == 3
    legacy = replace(made, result=Result((File("video.mp4", stored(f"{made.folder}/video.mp4")),), 1.0))
    assert legacy.last_stale_attempt == -1

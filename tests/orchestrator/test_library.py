"""What an account keeps is its own, is kept for as long as it chose, and goes with its bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from moneyprinter import errors
from moneyprinter.video.v1 import library_service_pb2 as pb
from moneyprinter.video.v1 import library_service_pb2_grpc as pb_grpc
from services.orchestrator.config import Config
from services.orchestrator.jobs.model import Asset, Job, JobProgress, RenderedVideo
from services.orchestrator.postgres.cleanup import PostgresCleanupQueue
from services.orchestrator.postgres.library import PostgresLibraryStore
from services.orchestrator.postgres.quotas import PostgresUsage
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.videos.library import Library, Settings
from services.orchestrator.videos.quotas import UNLIMITED
from services.runtime.db import Pool
from tests.databases import Databases, open_pool
from tests.mesh import Mesh
from tests.orchestrator.samples import REQUEST, RESULT, job, stored

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=31)
LATELY = NOW - timedelta(days=29)


class Objects:
    """Remembers what is removed."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    async def delete(self, key: str) -> None:
        self.removed.append(key)


@pytest.fixture
async def pool(postgres: Databases) -> AsyncIterator[Pool]:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield pool


async def ended(pool: Pool, user_id: str, end_time: datetime, asset: Asset | None = None) -> Job:
    """A video that was completed then, of the upload."""
    store = PostgresStore(pool, lambda: None, now=lambda: end_time)
    made = replace(job(user_id), create_time=end_time)
    if asset is not None:
        clips = (replace(REQUEST.clips[0], url=None, asset=asset.object),)
        made = replace(made, request=replace(REQUEST, clips=clips))
    await store.create(made)
    claimed = await store.claim(timedelta(seconds=10))
    assert claimed is not None
    await store.complete(claimed, RESULT, claimed.stages, JobProgress())
    return made


async def upload(pool: Pool, name: str, create_time: datetime, user_id: str = "user_1") -> Asset:
    asset = Asset(f"ast_{name}", user_id, f"{name}.mp4", stored(f"assets/ast_{name}"), create_time)
    await PostgresStore(pool, lambda: None).add_asset(asset)
    return asset


async def test_videos_expire_after_the_retention_of_their_account(pool: Pool) -> None:
    old, young = await ended(pool, "user_1", LONG_AGO), await ended(pool, "user_1", LATELY)
    others = await ended(pool, "user_2", LONG_AGO)
    store, calls = PostgresStore(pool, lambda: None, now=lambda: NOW), list[str]()
    library = Library(PostgresLibraryStore(pool, 0, lambda: NOW), Objects(), PostgresUsage(pool, UNLIMITED))
    await library.expire(lambda: calls.append("left"))
    assert await store.find(old.id, "user_1"), "the account has no setting"
    await library.store.update_settings("user_1", retention_days=30)
    await library.expire(lambda: calls.append("left"))
    assert await store.find(old.id, "user_1") is None
    assert await store.find(young.id, "user_1")
    assert await store.find(others.id, "user_2")
    assert calls == ["left"]
    removed: list[str] = []

    async def remove(gone: Job, deleted: bool) -> None:
        assert deleted
        removed.append(gone.id)

    while await PostgresCleanupQueue(pool, lambda: NOW).clean_next(remove):
        pass
    assert removed == [old.id], "its files are removed like those of a deleted video"


async def test_the_default_retention_applies_to_accounts_without_a_setting(pool: Pool) -> None:
    made, forever = await ended(pool, "user_1", LONG_AGO), await ended(pool, "user_2", LONG_AGO)
    library = Library(PostgresLibraryStore(pool, 30, lambda: NOW), Objects(), PostgresUsage(pool, UNLIMITED))
    assert await library.store.get_settings("user_2") == Settings(30)
    await library.store.update_settings("user_2", retention_days=0)
    await library.expire(lambda: None)
    store = PostgresStore(pool, lambda: None)
    assert await store.find(made.id, "user_1") is None
    assert await store.find(forever.id, "user_2")


async def test_an_active_job_does_not_expire(pool: Pool) -> None:
    made = replace(job(), create_time=LONG_AGO)
    store = PostgresStore(pool, lambda: None)
    await store.create(made)
    await Library(PostgresLibraryStore(pool, 1, lambda: NOW), Objects(), PostgresUsage(pool, UNLIMITED)).expire(
        lambda: None
    )
    assert await store.find(made.id, "user_1")


async def test_uploads_expire_with_the_last_video_that_uses_them(pool: Pool) -> None:
    used, unused, new = [
        await upload(pool, name, when) for name, when in (("used", LONG_AGO), ("unused", LONG_AGO), ("new", LATELY))
    ]
    await ended(pool, "user_1", LATELY, used)
    objects = Objects()
    library = Library(PostgresLibraryStore(pool, 30, lambda: NOW), objects, PostgresUsage(pool, UNLIMITED))
    await library.expire(lambda: None)
    assert objects.removed == [unused.object.key]
    assert [asset.id for asset in (await library.list_assets("user_1", 10, ""))[0]] == [new.id, used.id]


async def test_an_upload_that_an_active_job_uses_is_not_deleted(pool: Pool) -> None:
    asset = await upload(pool, "a", NOW)
    made = job()
    clips = (replace(REQUEST.clips[0], url=None, asset=asset.object),)
    store = PostgresStore(pool, lambda: None)
    await store.create(replace(made, request=replace(REQUEST, clips=clips)))
    objects = Objects()
    library = Library(PostgresLibraryStore(pool, 0), objects, PostgresUsage(pool, UNLIMITED))
    with pytest.raises(errors.FailedPrecondition) as refused:
        await library.delete_asset("user_1", asset.id)
    assert refused.value.reason == "ASSET_IN_USE"
    await store.cancel(made.id, "user_1")
    with pytest.raises(errors.NotFound):
        await library.delete_asset("user_2", asset.id)
    assert objects.removed == []
    await library.delete_asset("user_1", asset.id)
    assert objects.removed == [asset.object.key]
    assert await store.assets("user_1", [asset.id]) == {}


async def test_old_steps_run_again_when_a_job_is_retried(pool: Pool) -> None:
    now = [datetime.now(UTC)]
    store = PostgresStore(pool, lambda: None, now=lambda: now[0])
    for days, kept in ((13, {"mix"}), (15, set[str]())):
        made = job()
        await store.create(made)
        claimed = await store.claim(timedelta(seconds=10))
        assert claimed is not None
        await store.record(claimed, "mix", RenderedVideo, RenderedVideo(stored("cache/mix"), 1))
        await store.cancel(made.id, "user_1")
        now[0] += timedelta(days=days)
        retried = await store.retry(made.id, "user_1", now[0])
        now[0] -= timedelta(days=days)
        assert retried is not None
        assert await store.step_names(retried) == kept
        await store.delete(made.id, "user_1")


async def test_users_access_only_their_own_uploads_and_settings(postgres: Databases, nats_url: str, mesh: Mesh) -> None:
    database = await postgres.fresh("orchestrator")
    await mesh.start("orchestrator", Config(database=database, nats=nats_url, jobs_at_once=0))
    stub = mesh.stub(pb_grpc.LibraryServiceStub, caller="gateway")
    async with open_pool("orchestrator", database) as pool:
        for name in ("a", "b", "c"):
            await upload(pool, name, NOW)
        await upload(pool, "other", NOW, "user_2")
    mine, other = mesh.bearer("user_1"), mesh.bearer("user_2")
    first = await stub.ListAssets(pb.ListAssetsRequest(page_size=2), metadata=mine)
    rest = await stub.ListAssets(pb.ListAssetsRequest(page_token=first.next_page_token), metadata=mine)
    assert [asset.asset_id for asset in (*first.assets, *rest.assets)] == ["ast_c", "ast_b", "ast_a"]
    assert first.assets[0].create_time == "2026-03-01T00:00:00Z"
    with pytest.raises(errors.NotFound):
        await stub.DeleteAsset(pb.DeleteAssetRequest(asset_id="ast_other"), metadata=mine)
    chosen = pb.UpdateSettingsRequest(settings=pb.LibrarySettings(retention_days=7))
    await stub.UpdateSettings(chosen, metadata=mine)
    for caller, days in ((mine, 7), (other, 0)):
        answer = await stub.GetSettings(pb.GetSettingsRequest(), metadata=caller)
        assert answer.settings.retention_days == days
    with pytest.raises(errors.InvalidArgument):
        await stub.UpdateSettings(
            pb.UpdateSettingsRequest(settings=pb.LibrarySettings(retention_days=-1)), metadata=mine
        )

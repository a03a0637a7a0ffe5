"""Quotas: no sequence of calls gets an account beyond its quota, and other accounts are not affected."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api import httpbody_pb2

from moneyprinter import errors
from moneyprinter.video.v1 import library_service_pb2 as library_pb
from moneyprinter.video.v1 import library_service_pb2_grpc as library_grpc
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.config.config import Config as SecretsConfig
from services.orchestrator.config import Config
from services.orchestrator.jobs.model import Failure, JobProgress, Result, Source, SourceClip, StoredObject
from services.orchestrator.postgres.quotas import PostgresUsage
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.videos.quotas import UNLIMITED, Quotas, reserve_chunks
from services.runtime import db
from services.storage.config import Config as StorageConfig
from tests.databases import Databases, open_pool
from tests.mesh import Mesh
from tests.orchestrator.samples import REQUEST, RESULT, job

MEGABYTE = 1_000_000
GOOD: dict[str, Any] = {"title": "A walk", "clips": [{"url": "https://example.com/a.mp4"}]}


@dataclass
class Account:
    """An account as a client sees it."""

    mesh: Mesh
    user: str

    def __post_init__(self) -> None:
        self.videos: Any = self.mesh.stub(pb_grpc.VideoServiceStub, caller="gateway")
        self.library: Any = self.mesh.stub(library_grpc.LibraryServiceStub, caller="gateway")
        self.bearer = self.mesh.bearer(self.user)
        channel = self.mesh.channel("orchestrator", "moneyprinter.video.v1.VideoService", caller="gateway")
        self.put = channel.unary_unary(
            "/moneyprinter.video.v1.VideoService/UploadAsset",
            request_serializer=pb.UploadAssetRequest.SerializeToString,
            response_deserializer=pb.UploadAssetResponse.FromString,
        )

    async def upload(self, size_bytes: int, *, declared: int | None = None) -> str:
        """Upload a file; `declared` is its length in the header that the gateway forwards.

        On the wire a stream of one message equals a unary message. grpc.aio sometimes reports INTERNAL instead of the
        status when the server ends a client stream first.
        """
        request = pb.UploadAssetRequest(filename="a", data=httpbody_pb2.HttpBody(data=bytes(size_bytes)))
        length = () if declared is None else (("x-upload-length", str(declared)),)
        answer = await self.put(request, metadata=(*self.bearer, *length))
        return str(answer.asset_id)

    async def create(self, **more: Any) -> str:
        answer = await self.videos.CreateVideo(pb.CreateVideoRequest(**{**GOOD, **more}), metadata=self.bearer)
        return str(answer.job_id)

    async def usage(self) -> library_pb.GetUsageResponse:
        usage: library_pb.GetUsageResponse = await self.library.GetUsage(
            library_pb.GetUsageRequest(), metadata=self.bearer
        )
        return usage


async def outcomes(*calls: Awaitable[Any]) -> Counter[str]:
    """Make concurrent calls; returns how often each reason, or OK, was their outcome."""

    async def one(call: Awaitable[Any]) -> str:
        try:
            await call
        except errors.Error as failure:
            return failure.reason
        return "OK"

    return Counter(await asyncio.gather(*map(one, calls)))


@pytest.fixture
async def platform(postgres: Databases, nats_url: str, mesh: Mesh, tmp_path: Path) -> Mesh:
    """An orchestrator with small quotas, which starts no job."""
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", StorageConfig(root=tmp_path / "objects"))
    settings = Config(
        database=await postgres.fresh("orchestrator"),
        nats=nats_url,
        jobs_at_once=0,
        quota_bytes=3_500_000,
        quota_files=6,
        quota_jobs=3,
        quota_minutes=10,
        asset_max_bytes=10_000_000,
    )
    await mesh.start("orchestrator", settings)
    return mesh


async def test_concurrent_uploads_stay_within_the_quota(platform: Mesh) -> None:
    mallory, good = Account(platform, "mallory"), Account(platform, "good")
    theirs = (mallory.upload(MEGABYTE, declared=MEGABYTE if number % 2 else None) for number in range(10))
    both = asyncio.gather(outcomes(*theirs), outcomes(*(good.upload(100_000) for _ in range(3))))
    found, hers = await both
    assert found == {"OK": 3, "QUOTA_EXCEEDED": 7}
    assert hers == {"OK": 3}
    usage = await mallory.usage()
    assert (usage.bytes, usage.max_bytes, usage.files, usage.max_files) == (3 * MEGABYTE, 3_500_000, 3, 6)


async def test_an_upload_beyond_the_quota_is_refused_before_it_is_stored(platform: Mesh) -> None:
    mallory = Account(platform, "mallory")
    with pytest.raises(
        errors.ResourceExhausted, match=r"take 0\.0 MB of the 3\.5 MB.*needs 9\.0 MB.*delete"
    ) as refused:
        await mallory.upload(9 * MEGABYTE, declared=9 * MEGABYTE)
    assert refused.value.reason == "QUOTA_EXCEEDED"
    with pytest.raises(errors.ResourceExhausted) as large:
        await mallory.upload(1, declared=11 * MEGABYTE)
    assert large.value.reason == "ASSET_TOO_LARGE"
    for _ in range(3):
        await mallory.upload(MEGABYTE)
    # The declared length is not trusted.
    with pytest.raises(errors.ResourceExhausted) as liar:
        await mallory.upload(MEGABYTE, declared=1)
    assert liar.value.reason == "QUOTA_EXCEEDED"
    # The space reserved for incomplete uploads is free again.
    assert (await mallory.usage()).bytes == 3 * MEGABYTE
    await mallory.upload(500_000)


async def test_an_endless_upload_is_read_up_to_the_quota(postgres: Databases) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MEGABYTE)

    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        usage = PostgresUsage(pool, Quotas(bytes=40 * MEGABYTE))
        with pytest.raises(errors.ResourceExhausted, match="needs 41"):
            async for chunk in reserve_chunks(usage, "user_1", "ast_1", endless(), None):
                sent += len(chunk)
        assert sent == 40 * MEGABYTE


async def test_deleting_an_upload_frees_quota(platform: Mesh) -> None:
    mallory = Account(platform, "mallory")
    asset_id, *_ = [await mallory.upload(MEGABYTE) for _ in range(3)]
    assert await outcomes(mallory.upload(MEGABYTE)) == {"QUOTA_EXCEEDED": 1}
    await mallory.library.DeleteAsset(library_pb.DeleteAssetRequest(asset_id=asset_id), metadata=mallory.bearer)
    assert (await mallory.usage()).bytes == 2 * MEGABYTE
    await mallory.upload(MEGABYTE)


async def test_the_number_of_files_is_limited(platform: Mesh) -> None:
    mallory = Account(platform, "mallory")
    assert await outcomes(*(mallory.upload(1) for _ in range(12))) == {"OK": 6, "QUOTA_EXCEEDED": 6}


async def test_the_number_of_concurrent_jobs_is_limited(platform: Mesh) -> None:
    mallory, good = Account(platform, "mallory"), Account(platform, "good")
    assert await outcomes(*(mallory.create() for _ in range(10))) == {"OK": 3, "QUOTA_EXCEEDED": 7}
    await good.create()
    assert (await mallory.usage()).jobs == 3
    with pytest.raises(errors.ResourceExhausted, match=r"3 of your jobs have not ended.*may have 3.*cancel one"):
        await mallory.create()
    listed = await mallory.videos.ListVideos(pb.ListVideosRequest(), metadata=mallory.bearer)
    first = listed.videos[0].job_id
    await mallory.videos.CancelVideo(pb.CancelVideoRequest(job_id=first), metadata=mallory.bearer)
    await mallory.create()
    # A retried job counts again.
    retry = mallory.videos.RetryVideo(pb.RetryVideoRequest(job_id=first), metadata=mallory.bearer)
    assert await outcomes(retry) == {"QUOTA_EXCEEDED": 1}


async def test_an_exhausted_quota_is_reported_before_costly_checks(platform: Mesh) -> None:
    """After the first refusal, what other checks would refuse is not checked, until there is room again."""
    mallory = Account(platform, "mallory")
    assert await outcomes(*(mallory.create(request_id=f"request-{n}") for n in range(4))) == {
        "OK": 3,
        "QUOTA_EXCEEDED": 1,
    }
    wrong = {"clips": [{"url": "https://example.com/a.mp4", "start_time": "00:00:09", "end_time": "00:00:01"}]}
    assert await outcomes(mallory.create(**wrong)) == {"QUOTA_EXCEEDED": 1}
    # A repeated request still has its job.
    assert await outcomes(*(mallory.create(request_id=f"request-{n}") for n in range(4))) == {
        "OK": 3,
        "QUOTA_EXCEEDED": 1,
    }
    listed = await mallory.videos.ListVideos(pb.ListVideosRequest(), metadata=mallory.bearer)
    await mallory.videos.CancelVideo(pb.CancelVideoRequest(job_id=listed.videos[0].job_id), metadata=mallory.bearer)
    assert "QUOTA_EXCEEDED" not in await outcomes(mallory.create(**wrong))
    assert await outcomes(mallory.create()) == {"OK": 1}


async def test_a_repeated_request_counts_once(platform: Mesh) -> None:
    good = Account(platform, "good")
    made = {await good.create(request_id=f"request-{number % 3}") for number in range(9)}
    assert len(made) == 3


async def test_the_minutes_of_video_per_day_are_limited(platform: Mesh) -> None:
    mallory = Account(platform, "mallory")
    five = {"audio": {"script": "word " * 900}}
    first = await mallory.create(**five)
    assert 4.5 < (await mallory.usage()).minutes < 5.5
    stills = {"clips": [{"colour": "#000000", "duration": 3600.0}], "audio": {"voice": "none"}}
    assert await outcomes(mallory.create(**stills)) == {"QUOTA_EXCEEDED": 1}
    # Deleting the video does not return its minutes.
    await mallory.videos.DeleteVideo(pb.DeleteVideoRequest(job_id=first), metadata=mallory.bearer)
    assert await outcomes(mallory.create(**five), mallory.create(**five)) == {"OK": 1, "QUOTA_EXCEEDED": 1}


async def test_the_fetched_bytes_per_day_are_limited(postgres: Databases) -> None:
    """A request of a kilobyte can name a hundred clips of half a gigabyte."""
    now = [datetime.now(UTC)]
    limits = Quotas(fetched_bytes=1000)
    fetched = SourceClip(Source(StoredObject("cache/validation/a.bin", "a" * 64, 400)))
    uploaded = SourceClip(Source(StoredObject("assets/ast_1", "a" * 64, 4000)))
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        store = PostgresStore(pool, lambda: None, now=lambda: now[0], limits=limits)
        usage = PostgresUsage(pool, limits, lambda: now[0])
        await store.create(job())
        claimed = await store.claim(timedelta(seconds=10))
        assert claimed is not None
        await store.record(claimed, "validate 0", SourceClip, uploaded)
        for number in (1, 2):
            await store.record(claimed, f"validate {number}", SourceClip, fetched)
        with pytest.raises(errors.FailedPrecondition, match="fetched for your videos") as refused:
            await store.record(claimed, "validate 3", SourceClip, fetched)
        assert refused.value.reason == "QUOTA_EXCEEDED"
        assert (await usage.get_usage("user_1")).fetched_bytes == 1200
        # Deleting the job does not return its bytes.
        await store.delete(claimed.id, "user_1")
        with pytest.raises(errors.ResourceExhausted, match="fetched for your videos"):
            await store.create(job())
        await store.create(job("user_2"))
        now[0] += timedelta(days=1)
        await store.create(job())


async def test_the_migration_counts_existing_data(postgres: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    database, every = await postgres.fresh("orchestrator"), db.migrations("orchestrator")
    earlier = {name: text for name, text in every.items() if name < "0015"}
    with monkeypatch.context() as patched:
        patched.setattr(db, "migrations", lambda _: earlier)
        async with open_pool("orchestrator", database) as pool, pool.connection() as connection:
            for asset_id in ("ast_1", "ast_2"):
                await connection.execute(
                    "INSERT INTO assets (id, user_id, filename, object) VALUES (%s, 'user_1', 'a',"
                    ' \'{"key": "a", "sha256": "", "size_bytes": 1000}\')',
                    (asset_id,),
                )
            for job_id, gone in (("vid_1", None), ("vid_2", datetime.now(UTC))):
                await connection.execute(
                    "INSERT INTO jobs (id, user_id, title, request, status, stages, heartbeat_time, create_time,"
                    " estimated_completion, delete_time, result) VALUES (%s, 'user_1', '', '{}', 'completed', '{}',"
                    ' now(), now(), now(), %s, \'{"files": [{"object": {"size_bytes": 50}},'
                    ' {"object": {"size_bytes": 7}}]}\')',
                    (job_id, gone),
                )
    async with open_pool("orchestrator", database) as pool:
        used = await PostgresUsage(pool, UNLIMITED).get_usage("user_1")
        assert (used.bytes, used.files) == (2057, 3)
        async with pool.connection() as connection:
            await connection.execute("DELETE FROM jobs")
            await connection.execute("DELETE FROM assets WHERE id = 'ast_1'")
        used = await PostgresUsage(pool, UNLIMITED).get_usage("user_1")
        assert (used.bytes, used.files) == (1000, 1)


async def test_finished_videos_are_counted_until_they_are_deleted(postgres: Databases) -> None:
    now = [datetime.now(UTC)]
    limits = Quotas(bytes=10, files=10, jobs=10, minutes=1)
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        store = PostgresStore(pool, lambda: None, now=lambda: now[0], limits=limits)
        usage = PostgresUsage(pool, limits, lambda: now[0])
        await store.create(job())
        claimed = await store.claim(timedelta(seconds=10))
        assert claimed is not None
        result: Result = replace(RESULT, seconds=54.0)
        await store.complete(claimed, result, claimed.stages, JobProgress())
        used = await usage.get_usage("user_1")
        expected = sum(file.object.size_bytes for file in result.files)
        # From now on the actual duration counts, not the estimate.
        assert (used.bytes, used.files, used.jobs, used.minutes) == (expected, 1, 0, 0.9)
        with pytest.raises(errors.ResourceExhausted, match=r"take 0\.0 MB"):
            await store.create(replace(job(), request=replace(REQUEST, script="")))
        await store.delete(claimed.id, "user_1")
        used = await usage.get_usage("user_1")
        assert (used.bytes, used.files, used.minutes) == (0, 0, 0.9)
        with pytest.raises(errors.ResourceExhausted, match=r"0\.9 minutes"):
            await store.create(replace(job(), request=replace(REQUEST, script="word " * 100)))
        now[0] += timedelta(days=1)
        again = await store.create(replace(job(), request=replace(REQUEST, script="word " * 100)))
        # A job that fails has no files.
        held = await store.claim(timedelta(seconds=10))
        assert held is not None
        await store.fail(held, Failure("validation", "CLIP_UNREADABLE", "no"), held.stages)
        assert held.id == again.id
        assert (await usage.get_usage("user_1")).files == 0

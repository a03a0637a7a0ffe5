"""On real PostgreSQL and a real store: what a worker writes that was stopped until its job ended does not stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from moneyprinter.errors import FailedPrecondition
from services.orchestrator.jobs.cleanup import run_cleanup
from services.orchestrator.jobs.model import File, Job, Result
from services.orchestrator.postgres.cleanup import PostgresCleanupQueue
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.workers.messages import stored_object
from services.runtime import db
from services.runtime.db import fetch_all
from services.runtime.tasks import cancel
from tests.databases import Databases, open_pool
from tests.mesh import Mesh
from tests.orchestrator.samples import job
from tests.stored import start_storage


class World:
    """Jobs, the store of their files, and a sweeper that is an hour ahead."""

    def __init__(self, pool: db.Pool, mesh: Mesh) -> None:
        self._pool = pool
        self.store = PostgresStore(pool, lambda: None)
        self.objects = mesh.objects("rendering")
        self.sweeping = mesh.objects()
        self.rows = PostgresCleanupQueue(pool, lambda: job().create_time + timedelta(hours=1))

    async def claim(self) -> Job:
        claimed = await self.store.claim(timedelta(seconds=-1))
        assert claimed is not None
        return claimed

    async def sweep(self) -> None:
        """Sweep until nothing is left."""
        sweeping = asyncio.create_task(run_cleanup(self.rows, self.sweeping, asyncio.Event()))
        async with asyncio.timeout(20):
            while await fetch_all(self._pool, "SELECT 1 FROM jobs WHERE sweep_time IS NOT NULL"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await cancel(sweeping)

    async def keys(self) -> set[str]:
        return {key async for some in self.sweeping.list_keys("jobs") for key, _ in some}


class Stopped:
    """A worker that is stopped in the middle of a file."""

    def __init__(self, world: World, key: str) -> None:
        self.going, self.begun = asyncio.Event(), asyncio.Event()
        self.writing = asyncio.create_task(world.objects.put(key, self._chunks()))

    async def _chunks(self) -> AsyncIterator[bytes]:
        yield bytes(700_000)
        self.begun.set()
        await self.going.wait()
        yield b"late"

    async def go_on(self) -> str:
        """The reason why it fails."""
        self.going.set()
        with pytest.raises(FailedPrecondition) as refused:
            await self.writing
        return refused.value.reason


@pytest.fixture
async def world(postgres: Databases, mesh: Mesh, tmp_path: Path) -> AsyncIterator[World]:
    await start_storage(mesh, tmp_path / "storage")
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield World(pool, mesh)


@pytest.mark.parametrize("end", ["cancel", "delete"])
async def test_a_late_writer_cannot_restore_files_of_a_cancelled_or_deleted_job(world: World, end: str) -> None:
    made = await world.store.create(job())
    claimed = await world.claim()
    await world.objects.put_bytes(f"{claimed.attempt_folder}/poster.jpg", b"x")
    worker = Stopped(world, f"{claimed.attempt_folder}/video.mp4")
    await worker.begun.wait()
    await getattr(world.store, end)(made.id, made.user_id)
    await world.sweep()
    assert await world.keys() == set()
    assert await worker.go_on() == "WRITER_FENCED"
    with pytest.raises(FailedPrecondition):
        await world.objects.put_bytes(f"{claimed.attempt_folder}/captions.srt", b"later still")
    assert await world.keys() == set()


async def test_a_retried_job_can_write_and_its_late_worker_cannot(world: World) -> None:
    made = await world.store.create(job())
    first = await world.claim()
    worker = Stopped(world, f"{first.attempt_folder}/video.mp4")
    await worker.begun.wait()
    await world.store.cancel(made.id, made.user_id)
    await world.sweep()
    await world.store.retry(made.id, made.user_id, made.create_time)
    second = await world.claim()
    file = await world.objects.put_bytes(f"{second.attempt_folder}/video.mp4", b"good")
    assert await worker.go_on() == "WRITER_FENCED"
    assert await world.keys() == {f"{second.attempt_folder}/video.mp4"}
    result = Result((File("video.mp4", stored_object(file)),), 1.0)
    await world.store.complete(second, result, second.stages, second.progress_details)
    await world.sweep()
    assert await world.objects.get_bytes(file.key) == b"good"


async def test_a_worker_of_a_superseded_attempt_changes_no_file_of_the_result(world: World) -> None:
    await world.store.create(job())
    first = await world.claim()
    worker = Stopped(world, f"{first.attempt_folder}/video.mp4")
    await worker.begun.wait()
    second = await world.claim()
    file = await world.objects.put_bytes(f"{second.attempt_folder}/video.mp4", b"good")
    result = Result((File("video.mp4", stored_object(file)),), 1.0)
    await world.store.complete(second, result, second.stages, second.progress_details)
    await world.sweep()
    assert await worker.go_on() == "WRITER_FENCED"
    assert await world.keys() == {file.key}
    assert await world.objects.get_bytes(file.key) == b"good"

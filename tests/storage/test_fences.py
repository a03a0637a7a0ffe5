"""Fences: objects of a folder's earlier writers are deleted, and their further writes are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.store import LocalStore

from moneyprinter import errors
from services.storage import fences
from services.storage.blobs import ObstoreBlobs
from services.storage.lifecycle import expire_fences
from tests.mesh import Mesh

FOLDER = "jobs/vid_1"


async def keys(storage: Mesh, folder: str = "jobs") -> set[str]:
    return {key async for some in storage.objects().list_keys(folder) for key, _ in some}


async def test_earlier_writers_are_refused_and_their_objects_are_deleted(storage: Mesh) -> None:
    objects = storage.objects()
    for key in (
        "jobs/vid_1/1/a.mp4",
        "jobs/vid_1/2/a.mp4",
        "jobs/vid_1/3/a.mp4",
        "jobs/vid_1/a.mp4",
        "jobs/vid_11/1/a",
    ):
        await objects.put_bytes(key, b"x")
    await objects.fence(FOLDER, 2)
    left = {"jobs/vid_1/3/a.mp4", "jobs/vid_1/a.mp4", "jobs/vid_11/1/a"}
    assert await keys(storage) == left
    for number in (0, 1, 2):
        with pytest.raises(errors.FailedPrecondition) as refused:
            await objects.put_bytes(f"{FOLDER}/{number}/b.mp4", b"late")
        assert refused.value.reason == "WRITER_FENCED"
    assert await keys(storage) == left
    await objects.put_bytes(f"{FOLDER}/3/b.mp4", b"y")
    await objects.fence(FOLDER, 1)
    with pytest.raises(errors.FailedPrecondition):
        await objects.put_bytes(f"{FOLDER}/2/b.mp4", b"a late lower fence changes nothing")


@pytest.mark.parametrize("chunks_before", [0, 1, 40])
async def test_a_writer_that_is_fenced_during_a_put_stores_nothing(storage: Mesh, chunks_before: int) -> None:
    going, sent = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(chunks_before):
            yield bytes(300_000)
        sent.set()
        await going.wait()
        yield b"late"

    writing = asyncio.create_task(storage.objects().put(f"{FOLDER}/1/video.mp4", chunks()))
    await sent.wait()
    await storage.objects().fence(FOLDER, 1)
    going.set()
    with pytest.raises(errors.FailedPrecondition) as refused:
        await writing
    assert refused.value.reason == "WRITER_FENCED"
    assert await keys(storage) == set()


async def test_fences_work_in_every_store(blobs: ObstoreBlobs) -> None:
    async def some() -> AsyncIterator[bytes]:
        yield b"x"

    long = "a" * 199 + "/" + "b" * 50
    for folder in (FOLDER, long):
        await blobs.write(f"{fences.blob_path(folder)}/1/x!", some())
        await fences.raise_fence(blobs, folder, 1)
        with pytest.raises(errors.FailedPrecondition):
            await fences.check_writer(blobs, f"{folder}/1/x")
        await fences.check_writer(blobs, f"{folder}/2/x")
        await fences.check_writer(blobs, f"{folder}/1/5/x")
        assert [entry async for found in blobs.entries(fences.blob_path(folder)) for entry in found] == []


async def test_old_fences_are_deleted(tmp_path: Path) -> None:
    blobs = ObstoreBlobs(LocalStore(tmp_path))
    await fences.raise_fence(blobs, FOLDER, 1)
    [fence] = [path for path in tmp_path.rglob("*") if path.is_file()]
    await expire_fences(blobs, fence.stat().st_mtime)
    assert fence.exists()
    await expire_fences(blobs, fence.stat().st_mtime + 1)
    assert not fence.exists()


async def test_all_objects_of_a_folder_are_listed(storage: Mesh) -> None:
    objects = storage.objects()
    names = {f"jobs/vid_{number}/1/{'x' * (number % 3 * 120 + 1)}" for number in range(9)}
    await asyncio.gather(*(objects.put_bytes(name, b"x") for name in (*names, "assets/a")))
    assert await keys(storage) == names
    assert await keys(storage, "nothing") == set()

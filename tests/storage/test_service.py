"""The storage service as its callers use it: over mTLS, through `services.runtime.objects`."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moneyprinter import errors
from moneyprinter.config.v1 import config_service_pb2_grpc
from moneyprinter.media.v1 import media_pb2
from moneyprinter.storage.v1 import storage_service_pb2 as pb
from moneyprinter.storage.v1 import storage_service_pb2_grpc as pb_grpc
from services.config.config import Config as SecretsConfig
from services.runtime.secrets import SecretClient
from services.storage.config import Config
from services.storage.encryption import MasterKey
from services.storage.master_key import PLAIN_NAME, WrappedMasterKeys
from tests.mesh import Mesh

MB = 1 << 20
CALLERS = ("orchestrator", "audio", "validation", "processing", "concatenation", "rendering")


def content(size_bytes: int) -> bytes:
    return hashlib.shake_128(b"content").digest(size_bytes)


@pytest.mark.parametrize("size", [0, 1, 5 * MB + 7])
async def test_a_file_is_stored_and_read_back(storage: Mesh, tmp_path: Path, size: int) -> None:
    data = content(size)
    (tmp_path / "in").write_bytes(data)
    objects = storage.objects()
    stored = await objects.put_file("jobs/vid_1/video.mp4", tmp_path / "in")
    expected = media_pb2.Object(
        key="jobs/vid_1/video.mp4", sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data)
    )
    assert stored == expected
    assert await objects.head("jobs/vid_1/video.mp4") == expected
    await objects.get_file(stored, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert await objects.get_bytes(stored.key, offset=3, length=2 * MB) == data[3:][: 2 * MB]


async def test_a_file_becomes_visible_when_its_check_has_succeeded(storage: Mesh, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(content(3 * MB))
    objects, sent, good = storage.objects(), asyncio.Event(), asyncio.Event()

    async def checked() -> None:
        sent.set()
        await good.wait()

    putting = asyncio.create_task(objects.put_file("a", tmp_path / "in", checked))
    await sent.wait()
    assert await objects.head("a") is None
    good.set()
    assert await putting == await objects.head("a")

    async def refused() -> None:
        raise errors.FailedPrecondition("it is not good", reason="QUALITY_CHECK_FAILED")

    with pytest.raises(errors.FailedPrecondition, match="not good"):
        await objects.put_file("b", tmp_path / "in", refused)
    assert await objects.head("b") is None


@pytest.mark.parametrize("caller", CALLERS)
async def test_every_workload_of_the_contract_may_put_and_get(storage: Mesh, caller: str) -> None:
    objects = storage.objects(caller)
    await objects.put_bytes("cache/a", b"bytes")
    assert b"".join([chunk async for chunk in objects.get("cache/a")]) == b"bytes"


async def test_only_the_orchestrator_may_delete(storage: Mesh) -> None:
    await storage.objects().put_bytes("a", b"bytes")
    with pytest.raises(errors.PermissionDenied):
        await storage.objects("rendering").delete("a")
    await storage.objects().delete("a")
    assert await storage.objects().head("a") is None


async def test_other_workloads_are_refused(storage: Mesh) -> None:
    with pytest.raises(errors.PermissionDenied):
        await storage.objects("gateway").head("a")


@pytest.mark.parametrize("key", ["", "../a", "a/../b", "/a", "a//b", "a/", "A", "a%2e", "a\0", "a!", "a#1", "x" * 257])
async def test_an_invalid_key_is_refused(storage: Mesh, tmp_path: Path, key: str) -> None:
    objects = storage.objects()
    for call in (objects.put_bytes(key, b"x"), objects.head(key), objects.delete(key)):
        with pytest.raises(errors.InvalidArgument) as refused:
            await call
        assert refused.value.reason == "REQUEST_INVALID"
    assert not [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]


async def test_reading_an_object_that_was_replaced_fails(storage: Mesh, tmp_path: Path) -> None:
    objects = storage.objects()
    stored = await objects.put_bytes("a", b"one")
    await objects.put_bytes("a", b"two")
    with pytest.raises(errors.DataLoss) as found:
        await objects.get_file(stored, tmp_path / "out")
    assert found.value.reason == "CHECKSUM_MISMATCH"


async def test_a_wrong_checksum_is_refused(storage: Mesh) -> None:
    async def requests() -> AsyncIterator[pb.PutObjectRequest]:
        yield pb.PutObjectRequest(header=pb.PutObjectRequest.Header(key="a"))
        yield pb.PutObjectRequest(chunk=b"x")
        yield pb.PutObjectRequest(trailer=pb.PutObjectRequest.Trailer(sha256="0" * 64))

    with pytest.raises(errors.InvalidArgument) as refused:
        await storage.stub(pb_grpc.StorageServiceStub).PutObject(requests())
    assert refused.value.reason == "CHECKSUM_MISMATCH"
    assert await storage.objects().head("a") is None


async def test_a_put_whose_sender_fails_stores_nothing(storage: Mesh, tmp_path: Path) -> None:
    class Cut(Exception):
        """An exception of the sender."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield content(MB)
        raise Cut

    with pytest.raises((Cut, errors.Error, asyncio.CancelledError)):
        await storage.objects().put("a", chunks())
    assert await storage.objects().head("a") is None
    async with asyncio.timeout(30):
        # obstore removes what it wrote in a thread of its own.
        while [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_reading_a_damaged_object_never_yields_wrong_bytes(storage: Mesh, tmp_path: Path) -> None:
    data = content(3 * MB)
    stored = await storage.objects().put_bytes("a", data)
    path = tmp_path / "objects" / "a!"
    whole = bytearray(path.read_bytes())
    whole[2 * MB] ^= 1
    path.write_bytes(whole)
    seen = b""
    with pytest.raises(errors.DataLoss) as found:
        async for chunk in storage.objects().get("a"):
            seen += chunk
    assert found.value.reason == "DATA_CORRUPT"
    assert data.startswith(seen)
    with pytest.raises(errors.DataLoss):
        await storage.objects().get_file(stored, tmp_path / "out")


async def test_memory_stays_flat(certificates: Path, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.storage.memory_growth", str(certificates), str(tmp_path)),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert int(output.splitlines()[-1]) < 80 * MB


async def test_a_restarted_service_reads_what_it_stored(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    for _ in range(2):
        async with Mesh(mesh.config) as running:
            await running.start("storage", Config(root=tmp_path / "objects"))
            objects = running.objects()
            if await objects.head("a") is None:
                await objects.put_bytes("a", b"stored")
            else:
                assert [chunk async for chunk in objects.get("a")] == [b"stored"]
                return
    pytest.fail("the second service found no object")


async def open_master_key(client: SecretClient) -> MasterKey:
    """Return the master key that a replica uses."""
    masters = WrappedMasterKeys(client, time.time)
    await masters.open()
    return masters.current


async def test_replicas_read_the_existing_master_key(storage: Mesh) -> None:
    client = SecretClient(storage.stub(config_service_pb2_grpc.ConfigServiceStub, caller="storage"))
    keys = await asyncio.gather(*(open_master_key(client) for _ in range(8)))
    assert len({key.value for key in keys}) == 1


async def test_the_first_replicas_create_one_master_key(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    client = SecretClient(mesh.stub(config_service_pb2_grpc.ConfigServiceStub, caller="storage"))
    keys = await asyncio.gather(*(open_master_key(client) for _ in range(8)))
    assert len({(key.value, key.version) for key in keys}) == 1


async def test_the_master_key_of_an_earlier_release_stays_in_use(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    client = SecretClient(mesh.stub(config_service_pb2_grpc.ConfigServiceStub, caller="storage"))
    plain = await client.fetch_or_create_key(PLAIN_NAME)
    assert await open_master_key(client) == MasterKey(plain.value, plain.version)


async def health(mesh: Mesh) -> int:
    stub: Any = health_pb2_grpc.HealthStub(mesh.channel("storage", "grpc.health.v1.Health", caller="monitoring"))
    return int((await stub.Check(health_pb2.HealthCheckRequest(service="storage"))).status)


async def test_the_health_check_writes_and_reads(storage: Mesh, tmp_path: Path) -> None:
    assert await health(storage) == health_pb2.HealthCheckResponse.SERVING
    shutil.rmtree(tmp_path / "objects")
    (tmp_path / "objects").write_bytes(b"no longer a folder")
    assert await health(storage) == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_an_exception_of_the_sender_ends_the_put_and_stores_nothing(storage: Mesh) -> None:
    class Cut(Exception):
        """An exception of the sender."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"begin"
        raise Cut

    with pytest.raises(Cut):
        await storage.objects().put("a", chunks())
    assert await storage.objects().head("a") is None


async def test_unread_streams_do_not_block_other_calls(storage: Mesh, tmp_path: Path) -> None:
    """Many streams share a connection, which unread streams do not fill."""
    objects = storage.objects()
    (tmp_path / "in").write_bytes(content(12 * MB))
    stored = await objects.put_file("large", tmp_path / "in")
    unread = [objects.get(stored.key) for _ in range(20)]
    for stream in unread:
        await anext(stream)
    async with asyncio.timeout(30):
        assert await objects.get_bytes(stored.key) == content(12 * MB)
        assert (await objects.put_bytes("small", b"a")).size_bytes == 1
        assert await objects.get_piece(stored, 5 * MB, 100) == content(12 * MB)[5 * MB :][:100]


async def test_reading_a_range_of_a_replaced_object_fails(storage: Mesh) -> None:
    objects = storage.objects()
    stored = await objects.put_bytes("a", b"first")
    await objects.put_bytes("a", b"other")
    with pytest.raises(errors.DataLoss, match="replaced"):
        await objects.get_piece(stored, 0, 5)

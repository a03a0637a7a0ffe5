"""The storage service over a bucket: it starts without its store, reports that, and recovers by itself."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

from moneyprinter import errors
from moneyprinter.config.v1 import config_service_pb2_grpc
from services.config.config import Config as SecretsConfig
from services.runtime.config import ConfigError
from services.runtime.secrets import SecretClient
from services.storage.encryption import AesObjectCiphers
from services.storage.master_key import WrappedMasterKeys
from services.storage.objects import claim_store
from tests.mesh import Mesh
from tests.storage.s3_server import KEYS, FaultProxy, S3Server, open_blobs, s3_error
from tests.storage.test_service import content, health

MB = 1 << 20


async def start_secrets(mesh: Mesh, folder: Path) -> SecretClient:
    (folder / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=folder / "secrets", master_key_file=folder / "master-key"))
    return SecretClient(mesh.stub(config_service_pb2_grpc.ConfigServiceStub, caller="storage"))


async def test_a_service_with_keys_of_the_config_service_stores_in_a_bucket(
    mesh: Mesh, tmp_path: Path, s3_server: S3Server
) -> None:
    secrets = await start_secrets(mesh, tmp_path)
    fields = ", ".join(f'"{name}": "{value}"' for name, value in KEYS.items())
    await secrets.write("storage/credentials", f"{{{fields}}}".encode(), 0)
    config = s3_server.config(uuid.uuid4().hex, credentials="secret")
    await mesh.start("storage", config)
    objects, data = mesh.objects(), content(7 * MB)
    (tmp_path / "in").write_bytes(data)
    stored = await objects.put_file("jobs/vid_1/1/video.mp4", tmp_path / "in")
    await objects.get_file(stored, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert await objects.get_bytes(stored.key, offset=3 * MB, length=10) == data[3 * MB :][:10]
    assert [key async for some in objects.list_keys("jobs") for key, _ in some] == [stored.key]
    await objects.fence("jobs/vid_1", 1)
    assert await objects.head(stored.key) is None
    assert await health(mesh) == health_pb2.HealthCheckResponse.SERVING


async def test_a_service_without_keys_ends_with_a_clear_error(mesh: Mesh, tmp_path: Path, s3_server: S3Server) -> None:
    await start_secrets(mesh, tmp_path)
    with pytest.raises(ConfigError, match="secret storage/credentials does not exist"):
        await mesh.start("storage", s3_server.config("x", credentials="secret"))


async def test_a_service_starts_without_its_store_and_recovers(mesh: Mesh, tmp_path: Path, s3_server: S3Server) -> None:
    await start_secrets(mesh, tmp_path)
    async with FaultProxy(s3_server.port).run() as proxy:
        proxy.fault = lambda head: s3_error(404, "NoSuchBucket")
        await mesh.start("storage", s3_server.config(uuid.uuid4().hex, port=proxy.port, retries=0))
        assert await health(mesh) == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(errors.Unavailable) as refused:
            await mesh.objects().head("a")
        assert refused.value.reason == "STORE_REFUSED"
        assert "bucket does not exist" in refused.value.message
        proxy.fault = lambda head: None
        await mesh.objects().put_bytes("a", b"stored")
        async with asyncio.timeout(20):
            while await health(mesh) != health_pb2.HealthCheckResponse.SERVING:  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def test_a_service_refuses_the_store_of_another_platform(mesh: Mesh, tmp_path: Path, s3_server: S3Server) -> None:
    secrets, config = await start_secrets(mesh, tmp_path), s3_server.config(uuid.uuid4().hex)
    async with open_blobs(config) as (blobs, _):
        masters = WrappedMasterKeys(secrets, time.time)
        await masters.open()
        await claim_store(blobs, AesObjectCiphers(masters))
    await mesh.start("storage", config)
    (tmp_path / "other").mkdir()
    async with Mesh(mesh.config.model_copy(update={"ports": dict.fromkeys(mesh.config.ports, 0)})) as other:
        await start_secrets(other, tmp_path / "other")
        with pytest.raises(ConfigError, match="another platform"):
            await other.start("storage", config)

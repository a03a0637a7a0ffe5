"""The config service as its callers use it: over mTLS, each with its own secrets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moneyprinter import errors
from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from services.config.config import Config
from services.runtime import telemetry
from tests.mesh import Mesh

PUT = pb.PutSecretRequest(name="storage/master-key", value=b"a value that no log holds")


@pytest.fixture
async def log(mesh: Mesh, tmp_path: Path) -> io.StringIO:
    """The log of the running service."""
    output = io.StringIO()
    telemetry.configure(mesh.config, output)
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", Config(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    return output


async def test_a_workload_reads_what_it_wrote(mesh: Mesh, log: io.StringIO) -> None:
    stub = mesh.stub(pb_grpc.ConfigServiceStub, caller="storage")
    assert (await stub.PutSecret(PUT)).version == 1
    response = await stub.GetSecret(pb.GetSecretRequest(name=PUT.name))
    assert (response.value, response.version) == (PUT.value, 1)


async def test_an_unknown_secret_is_not_found(mesh: Mesh, log: io.StringIO) -> None:
    with pytest.raises(errors.NotFound) as refused:
        await mesh.stub(pb_grpc.ConfigServiceStub, caller="user").GetSecret(pb.GetSecretRequest(name="user/none"))
    assert refused.value.reason == "SECRET_NOT_FOUND"


async def test_a_second_first_version_is_refused(mesh: Mesh, log: io.StringIO) -> None:
    stub = mesh.stub(pb_grpc.ConfigServiceStub, caller="storage")
    await stub.PutSecret(PUT)
    with pytest.raises(errors.Conflict) as refused:
        await stub.PutSecret(PUT)
    assert refused.value.reason == "SECRET_CONFLICT"


async def test_the_secrets_of_another_workload_are_refused(mesh: Mesh, log: io.StringIO) -> None:
    await mesh.stub(pb_grpc.ConfigServiceStub, caller="storage").PutSecret(PUT)
    other = mesh.stub(pb_grpc.ConfigServiceStub, caller="user")
    for call in (
        other.GetSecret(pb.GetSecretRequest(name=PUT.name)),
        other.PutSecret(pb.PutSecretRequest(name=PUT.name, value=b"x", replaces_version=1)),
        other.GetSecret(pb.GetSecretRequest(name="storage-2/key")),
    ):
        with pytest.raises(errors.PermissionDenied) as refused:
            await call
        assert refused.value.reason == "CALLER_NOT_ALLOWED"


async def test_a_workload_that_the_contract_does_not_name_is_refused(mesh: Mesh, log: io.StringIO) -> None:
    with pytest.raises(errors.PermissionDenied):
        await mesh.stub(pb_grpc.ConfigServiceStub, caller="gateway").GetSecret(pb.GetSecretRequest(name="gateway/key"))
    with pytest.raises(errors.PermissionDenied):
        await mesh.stub(pb_grpc.ConfigServiceStub, caller="encoder").PutSecret(
            pb.PutSecretRequest(name="encoder/settings", value=b"{}")
        )


@pytest.mark.parametrize("name", ["", "storage", "storage/", "storage/../user/key", "storage/Key", "/storage/key"])
async def test_an_invalid_name_is_refused(mesh: Mesh, log: io.StringIO, name: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await mesh.stub(pb_grpc.ConfigServiceStub, caller="storage").GetSecret(pb.GetSecretRequest(name=name))
    assert refused.value.reason == "REQUEST_INVALID"


async def test_the_health_shows_that_the_secrets_can_be_read(mesh: Mesh, log: io.StringIO, tmp_path: Path) -> None:
    stub: Any = health_pb2_grpc.HealthStub(mesh.channel("config", "grpc.health.v1.Health", caller="monitoring"))
    check = health_pb2.HealthCheckRequest(service="secrets")
    assert (await stub.Check(check)).status == health_pb2.HealthCheckResponse.SERVING
    for path in (tmp_path / "secrets").iterdir():
        path.write_bytes(b"damaged")
    assert (await stub.Check(check)).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert '"defect"' not in log.getvalue()


async def test_every_access_is_logged_without_values(mesh: Mesh, log: io.StringIO) -> None:
    stub = mesh.stub(pb_grpc.ConfigServiceStub, caller="storage")
    await stub.PutSecret(PUT)
    await stub.GetSecret(pb.GetSecretRequest(name=PUT.name))
    with pytest.raises(errors.PermissionDenied):
        await mesh.stub(pb_grpc.ConfigServiceStub, caller="user").GetSecret(pb.GetSecretRequest(name=PUT.name))
    text = log.getvalue()
    seen = [line for line in text.splitlines() if '"secret access"' in line]
    assert [('"write"' in line, '"caller": "storage"' in line, '"done"' in line) for line in seen] == [
        (True, True, True),
        (False, True, True),
        (False, False, False),
    ]
    assert all('"name": "storage/master-key"' in line for line in seen)
    assert PUT.value.decode() not in text

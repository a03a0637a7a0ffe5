"""The config service on a real Vault: its instances, its health, its log, and how it signs in."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from services.config.config import Config
from services.config.server import wire
from services.runtime import telemetry
from services.runtime.config import ConfigError
from services.runtime.secrets import SecretClient
from tests.config.vault.kubernetes import TokenReviewer, run_token_reviewer
from tests.config.vault.openbao import POLICY, OpenBao, run_openbao
from tests.config.vault.opened import wait_until
from tests.mesh import Mesh

PUT = pb.PutSecretRequest(name="storage/master-key", value=b"a value that no log holds")


def settings(server: OpenBao, folder: Path, mount: str, **others: Any) -> Config:
    """Return the settings of a service that signs in by AppRole."""
    role_id, secret_id = server.write_role_files(folder)
    return Config(
        vault_url=server.url,
        vault_ca_file=server.ca_file,
        vault_mount=mount,
        vault_sign_in="approle",
        vault_role_id_file=role_id,
        vault_secret_id_file=secret_id,
        **others,
    )


async def is_serving(mesh: Mesh, check: str) -> bool:
    """Return whether a check of the config service is healthy."""
    stub: Any = health_pb2_grpc.HealthStub(mesh.channel("config", "grpc.health.v1.Health"))
    response = await stub.Check(health_pb2.HealthCheckRequest(service=check))
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


async def test_three_instances_agree_on_one_new_key(mesh: Mesh, openbao: OpenBao, tmp_path: Path) -> None:
    config = settings(openbao, tmp_path, openbao.set_up())
    clients = []
    async with AsyncExitStack() as stack:
        for _ in range(3):
            other = await stack.enter_async_context(Mesh(mesh.config))
            await other.start("config", config)
            await wait_until(partial(is_serving, other, "secrets"))
            clients.append(SecretClient(other.stub(pb_grpc.ConfigServiceStub, caller="storage")))
        keys = await asyncio.gather(*(client.fetch_or_create_key(PUT.name) for client in clients for _ in range(5)))
        assert len({key.value for key in keys}) == 1
        assert {key.version for key in keys} == {1}


async def test_the_health_shows_a_sealed_vault_and_its_end(mesh: Mesh, tmp_path: Path, certificates: Path) -> None:
    (tmp_path / "server").mkdir()
    async with run_openbao(tmp_path / "server", certificates) as server:
        await mesh.start("config", settings(server, tmp_path, server.set_up(), cache_seconds=0))
        await wait_until(lambda: is_serving(mesh, "secrets"))
        stub = mesh.stub(pb_grpc.ConfigServiceStub, caller="storage")
        await stub.PutSecret(PUT)
        await server.seal()
        assert (await stub.GetSecret(pb.GetSecretRequest(name=PUT.name))).value == PUT.value
        assert not await is_serving(mesh, "secrets")
        # The service itself goes on.
        assert await is_serving(mesh, "")
        await server.unseal()
        await wait_until(lambda: is_serving(mesh, "secrets"))


async def test_both_audit_logs_name_each_read_and_hold_no_value(mesh: Mesh, openbao: OpenBao, tmp_path: Path) -> None:
    output = io.StringIO()
    telemetry.configure(mesh.config, output)
    mount = openbao.set_up()
    await mesh.start("config", settings(openbao, tmp_path, mount, cache_seconds=0))
    await wait_until(lambda: is_serving(mesh, "secrets"))
    stub = mesh.stub(pb_grpc.ConfigServiceStub, caller="storage")
    await stub.PutSecret(PUT)
    for _ in range(3):
        await stub.GetSecret(pb.GetSecretRequest(name=PUT.name))
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    ours = [(line["action"], line["caller"]) for line in lines if line["event"] == "secret access"]
    theirs = [
        entry["request"]["operation"]
        for entry in openbao.audit_entries()
        if entry["type"] == "response" and entry["request"]["path"] == f"{mount}/data/{PUT.name}"
    ]
    assert ours == [("write", "storage"), *[("read", "storage")] * 3]
    assert theirs == ["create", "read", "read", "read"]
    logged = output.getvalue() + openbao.audit_file.read_text()
    for secret in (PUT.value.decode(), (tmp_path / "secret-id").read_text().strip()):
        assert secret not in logged


@pytest.fixture
async def reviewer(certificates: Path) -> AsyncIterator[TokenReviewer]:
    async with run_token_reviewer(certificates) as running:
        yield running


async def test_a_service_account_of_kubernetes_signs_in(
    mesh: Mesh, openbao: OpenBao, tmp_path: Path, reviewer: TokenReviewer
) -> None:
    mount, method = openbao.set_up(), f"kubernetes-{tmp_path.name[-8:]}"
    openbao.root.sys.enable_auth_method("kubernetes", path=method)
    kubernetes = openbao.root.auth.kubernetes
    kubernetes.configure(
        reviewer.url, kubernetes_ca_cert=openbao.ca_file.read_text(), token_reviewer_jwt="a-token", mount_point=method
    )
    openbao.root.sys.create_or_update_policy("config", POLICY)
    kubernetes.create_role(
        "moneyprinter-config", ["config"], ["moneyprinter"], policies=["config"], ttl="1h", mount_point=method
    )
    token = tmp_path / "token"
    token.write_text(reviewer.issue_token("system:serviceaccount:moneyprinter:config"))
    config = Config(
        vault_url=openbao.url,
        vault_ca_file=openbao.ca_file,
        vault_mount=mount,
        vault_sign_in_mount=method,
        vault_kubernetes_token_file=token,
    )
    await mesh.start("config", config)
    await wait_until(lambda: is_serving(mesh, "secrets"))
    assert (await mesh.stub(pb_grpc.ConfigServiceStub, caller="storage").PutSecret(PUT)).version == 1


@pytest.mark.parametrize("missing", ["role-id", "secret-id", "ca"])
async def test_the_start_fails_without_a_file_that_the_settings_name(
    mesh: Mesh, openbao: OpenBao, tmp_path: Path, missing: str
) -> None:
    config = settings(openbao, tmp_path, openbao.set_up())
    if missing == "ca":
        config = config.model_copy(update={"vault_ca_file": tmp_path / "ca"})
    else:
        (tmp_path / missing).unlink()
    with pytest.raises(ConfigError, match=missing):
        await mesh.start("config", config, wire)

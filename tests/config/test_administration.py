"""Secrets for administrators: listed, read, replaced and rotated; on encrypted files and on a real Vault."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.config.v1 import config_service_pb2_grpc as config_grpc
from moneyprinter.config.v1 import secret_administration_service_pb2 as pb
from moneyprinter.config.v1 import secret_administration_service_pb2_grpc as pb_grpc
from services.config.administration import SecretAdministration
from services.config.config import Config
from services.config.encrypted_files import EncryptedFiles
from services.config.local_keys import LocalKeys
from services.runtime import telemetry
from services.runtime.data_keys import DataKeys
from services.runtime.secrets import Secret, SecretClient
from tests.config.memory import MemorySecrets
from tests.config.vault.openbao import OpenBao
from tests.config.vault.opened import wait_until
from tests.config.vault.test_service import is_serving, settings
from tests.mesh import Mesh

PROVIDERS = "content/providers"
VALUE = json.dumps({"openai": {"keys": ["sk-a-value-that-no-log-holds"]}})


@pytest.fixture
def log(mesh: Mesh) -> io.StringIO:
    output = io.StringIO()
    telemetry.configure(mesh.config, output)
    return output


@pytest.fixture(params=["files", "vault"])
async def platform(
    request: pytest.FixtureRequest, mesh: Mesh, tmp_path: Path, openbao: OpenBao, log: io.StringIO
) -> Mesh:
    """A config service with encrypted files, or with a Vault."""
    if request.param == "files":
        (tmp_path / "key").write_bytes(bytes(32))
        config = Config(store=tmp_path / "secrets", master_key_file=tmp_path / "key")
    else:
        mount, transit = openbao.set_up(), openbao.enable_transit()
        config = settings(openbao, tmp_path, mount, vault_transit_mount=transit)
    await mesh.start("config", config)
    await wait_until(partial(is_serving, mesh, "secrets"))
    return mesh


def admin(mesh: Mesh) -> Any:
    return mesh.stub(pb_grpc.SecretAdministrationServiceStub, caller="gateway")


async def test_secrets_are_listed_replaced_and_read(platform: Mesh, log: io.StringIO) -> None:
    stub, token = admin(platform), platform.bearer("user_admin")
    assert not (await stub.ListSecrets(pb.ListSecretsRequest(), metadata=token)).secrets
    for version in (1, 2):
        request = pb.ReplaceSecretRequest(name=PROVIDERS, value=VALUE, replaces_version=version - 1)
        assert (await stub.ReplaceSecret(request, metadata=token)).version == version
    with pytest.raises(errors.Conflict):
        await stub.ReplaceSecret(request, metadata=token)
    found = await stub.ReadSecret(pb.ReadSecretRequest(name=PROVIDERS), metadata=token)
    assert (found.value, found.version) == (VALUE, 2)
    [listed] = (await stub.ListSecrets(pb.ListSecretsRequest(), metadata=token)).secrets
    assert (listed.name, listed.version, listed.rotation_days, listed.is_due) == (PROVIDERS, 2, 90, False)
    assert (listed.rotated_by, listed.is_editable) == ("operator", True)
    assert abs(listed.create_time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=5)
    history = await stub.ListSecretVersions(pb.ListSecretVersionsRequest(name=PROVIDERS), metadata=token)
    assert [each.version for each in history.versions] == [2, 1]
    # The service that owns the secret reads what was put.
    owner = SecretClient(platform.stub(config_grpc.ConfigServiceStub, caller="content"))
    assert await owner.read(PROVIDERS) == Secret(VALUE.encode(), 2)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    accesses = [(line["action"], line["caller"], line["version"]) for line in lines if line["event"] == "secret access"]
    assert accesses == [
        ("replace", "user_admin", 1),
        ("replace", "user_admin", 2),
        ("reveal", "user_admin", 2),
        ("read", "content", 2),
    ]
    assert "sk-a-value" not in log.getvalue()


async def test_a_key_is_rotated_while_its_service_uses_it(platform: Mesh) -> None:
    stub, token = admin(platform), platform.bearer()
    with pytest.raises(errors.NotFound):
        await stub.RotateSecret(pb.RotateSecretRequest(name="storage/objects"), metadata=token)
    client = SecretClient(platform.stub(config_grpc.ConfigServiceStub, caller="storage"))
    keys = DataKeys(client, "storage/objects", now)
    await keys.open()
    rotate = pb.RotateSecretRequest(name="storage/objects")
    rotated, *rewrapped = await asyncio.gather(
        stub.RotateSecret(rotate, metadata=token), *(keys.refresh() for _ in range(5))
    )
    assert rotated.version == 2
    assert all(rewrapped)
    history = await stub.ListSecretVersions(pb.ListSecretVersionsRequest(name="storage/objects"), metadata=token)
    assert [each.version for each in history.versions] == [2, 1]
    assert await keys.rewrap() == 1
    listed = (await stub.ListSecrets(pb.ListSecretsRequest(), metadata=token)).secrets
    assert {each.name: each.is_editable for each in listed} == {"storage/objects": False, "storage/objects-keys": False}


def now() -> float:
    return datetime.now(UTC).timestamp()


@pytest.fixture
async def files(mesh: Mesh, tmp_path: Path) -> Mesh:
    (tmp_path / "key").write_bytes(bytes(32))
    await mesh.start("config", Config(store=tmp_path / "secrets", master_key_file=tmp_path / "key"))
    return mesh


CALLS: list[tuple[str, Any]] = [
    ("ListSecrets", pb.ListSecretsRequest()),
    ("ReadSecret", pb.ReadSecretRequest(name=PROVIDERS)),
    ("ReplaceSecret", pb.ReplaceSecretRequest(name=PROVIDERS, value=VALUE)),
    ("RotateSecret", pb.RotateSecretRequest(name="storage/objects")),
    ("ListSecretVersions", pb.ListSecretVersionsRequest(name=PROVIDERS)),
]


@pytest.mark.parametrize(("method", "request_"), CALLS, ids=[name for name, _ in CALLS])
async def test_only_administrators_with_a_session_get_in(files: Mesh, method: str, request_: Any) -> None:
    call = getattr(admin(files), method)
    plain = files.bearer(roles=("video.process", "audio.generate", "content.manage"))
    key = (("authorization", f"Bearer {files.token(sid='key_1')}"),)
    for metadata, kind, reason in (
        (plain, errors.PermissionDenied, "ROLE_MISSING"),
        (key, errors.PermissionDenied, "SESSION_REQUIRED"),
        ((), errors.Unauthenticated, "TOKEN_INVALID"),
    ):
        with pytest.raises(kind) as refused:
            await call(request_, metadata=metadata)
        assert refused.value.reason == reason
    other = files.stub(pb_grpc.SecretAdministrationServiceStub, caller="storage")
    with pytest.raises(errors.PermissionDenied):
        await getattr(other, method)(request_, metadata=files.bearer())


async def test_what_the_platform_makes_for_itself_is_neither_returned_nor_replaced(files: Mesh) -> None:
    owner = SecretClient(files.stub(config_grpc.ConfigServiceStub, caller="user"))
    await owner.fetch_or_create_key("user/audit-key")
    stub, token = admin(files), files.bearer()
    for name in ("user/audit-key", "user/signing-key", "storage/objects-keys", "storage/objects"):
        with pytest.raises(errors.InvalidArgument, match="made by the platform"):
            await stub.ReadSecret(pb.ReadSecretRequest(name=name), metadata=token)
        with pytest.raises(errors.InvalidArgument, match="made by the platform"):
            await stub.ReplaceSecret(pb.ReplaceSecretRequest(name=name, value=VALUE), metadata=token)
    for name in ("user/audit-key", "user/signing-key", "content/providers"):
        with pytest.raises(errors.InvalidArgument, match="is not rotated here: "):
            await stub.RotateSecret(pb.RotateSecretRequest(name=name), metadata=token)
    for name in ("config/keys/storage/objects", "storage/none", "canary/x"):
        for call in (
            stub.ReadSecret(pb.ReadSecretRequest(name=name), metadata=token),
            stub.RotateSecret(pb.RotateSecretRequest(name=name), metadata=token),
            stub.ReplaceSecret(pb.ReplaceSecretRequest(name=name, value=VALUE), metadata=token),
            stub.ListSecretVersions(pb.ListSecretVersionsRequest(name=name), metadata=token),
        ):
            with pytest.raises(errors.NotFound) as refused:
                await call
            assert refused.value.reason == "SECRET_NOT_FOUND"
    for value in ("text", "[1]", "{"):
        with pytest.raises(errors.InvalidArgument, match="must be a JSON object"):
            await stub.ReplaceSecret(pb.ReplaceSecretRequest(name=PROVIDERS, value=value), metadata=token)


async def test_keys_are_rotated_when_they_are_due() -> None:
    store, day = MemorySecrets(), 0
    keys = LocalKeys(store)
    wrapped = await keys.wrap("user/mfa", bytes(32), b"1")
    await store.add(PROVIDERS, VALUE.encode(), 0)
    administration = SecretAdministration(
        store, keys, lambda _: None, lambda: datetime.now(UTC) + timedelta(days=day, minutes=1)
    )
    day = 89
    assert await administration.rotate_due_keys() == []
    day = 90
    assert {state.kind.name for state in await administration.list_states() if state.is_due} == {PROVIDERS, "user/mfa"}
    assert await administration.rotate_due_keys() == ["user/mfa"]
    assert [each.version for each in await keys.list_versions("user/mfa")] == [2, 1]
    assert await keys.unwrap("user/mfa", wrapped, b"1") == bytes(32)
    assert await keys.rewrap("user/mfa", wrapped, b"1") != wrapped


class Died(Exception):
    """The process ended."""


class MortalClient(SecretClient):
    """A client whose process ends before, or after, its call with a number."""

    def __init__(self, stub: Any, last: int, *, before: bool) -> None:
        super().__init__(stub)
        self._left = last
        self._before = before
        self.survived = True

    async def _call(self, call: Callable[[], Any]) -> Any:
        self._left -= 1
        if self._left == 0 and self._before:
            self.survived = False
            raise Died
        result = await call()
        if self._left == 0:
            self.survived = False
            raise Died
        return result

    async def read(self, name: str) -> Secret | None:
        found: Secret | None = await self._call(lambda: super(MortalClient, self).read(name))
        return found

    async def write(self, name: str, value: bytes, replaces_version: int) -> Secret:
        written: Secret = await self._call(lambda: super(MortalClient, self).write(name, value, replaces_version))
        return written

    async def wrap_key(self, name: str, key: bytes, context: bytes) -> bytes:
        return bytes(await self._call(lambda: super(MortalClient, self).wrap_key(name, key, context)))

    async def rewrap_key(self, name: str, wrapped: bytes, context: bytes) -> bytes:
        return bytes(await self._call(lambda: super(MortalClient, self).rewrap_key(name, wrapped, context)))


@pytest.mark.parametrize("before", [True, False])
async def test_a_rotation_that_ends_at_any_step_is_finished_by_the_next_process(
    files: Mesh, tmp_path: Path, before: bool
) -> None:
    """The steps: the key gets a version, each data key is wrapped anew, a data key is added, and they are written."""
    stub = files.stub(config_grpc.ConfigServiceStub, caller="storage")
    wrapper = LocalKeys(EncryptedFiles(tmp_path / "secrets", bytes(32)))
    added = 0
    for step in range(1, 20):
        name = f"storage/step-{step}"
        first = DataKeys(SecretClient(stub), name, now)
        await first.open()
        await wrapper.rotate(name)
        client = MortalClient(stub, step, before=before)
        dying = DataKeys(client, name, now)
        with suppress(Died):
            await dying.rewrap()
            await dying.add()
        # Another process starts: the key is there with its value, and whatever was added, and is wrapped anew.
        other = DataKeys(SecretClient(stub), name, now)
        await other.open()
        await other.rewrap()
        assert await other.rewrap() == 0
        assert other.find(1) == first.find(1)
        assert other.current == first.current
        added += other.find(2) is not None
        if client.survived:
            break
    assert client.survived, "every step was tried"
    assert 1 < added < step

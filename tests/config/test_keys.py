"""Key-encryption keys: one suite over those in the store of the secrets and those in Vault's transit engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moneyprinter import errors
from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from services.config.config import Config
from services.config.encrypted_files import EncryptedFiles
from services.config.keys import KeyWrapper
from services.config.local_keys import LocalKeys
from services.config.vault.transit import TransitKeys
from tests.config.memory import MemorySecrets
from tests.config.vault.openbao import OpenBao
from tests.config.vault.opened import open_vault
from tests.mesh import Mesh

NAME = "storage/objects"
KEY = bytes(range(32))
CONTEXT = b"objects 1"


@pytest.fixture(params=["memory", "files", "transit"])
async def wrapper(request: pytest.FixtureRequest, tmp_path: Path, openbao: OpenBao) -> AsyncIterator[KeyWrapper]:
    if request.param == "memory":
        yield LocalKeys(MemorySecrets())
    elif request.param == "files":
        files = EncryptedFiles(tmp_path / "files", bytes(32))
        await files.open()
        yield LocalKeys(files)
    else:
        async with open_vault(openbao, tmp_path) as vault:
            yield TransitKeys(vault.client, openbao.enable_transit())


async def test_a_wrapped_key_is_returned(wrapper: KeyWrapper) -> None:
    for size in (16, 32, 64):
        key = os.urandom(size)
        wrapped = await wrapper.wrap(NAME, key, CONTEXT)
        assert key not in wrapped
        assert await wrapper.unwrap(NAME, wrapped, CONTEXT) == key
    assert await wrapper.wrap(NAME, KEY, CONTEXT) != await wrapper.wrap(NAME, KEY, CONTEXT)


async def test_every_altered_byte_is_detected(wrapper: KeyWrapper) -> None:
    wrapped = await wrapper.wrap(NAME, KEY, CONTEXT)
    altered = [wrapped[:index] + bytes([byte ^ 0x41]) + wrapped[index + 1 :] for index, byte in enumerate(wrapped)]
    for each in (*altered, wrapped[:-1], wrapped + b"\0", wrapped[:8], b"x", wrapped[4:]):
        with pytest.raises(errors.DataLoss) as refused:
            await wrapper.unwrap(NAME, each, CONTEXT)
        assert refused.value.reason == "DATA_CORRUPT"
    with pytest.raises(errors.DataLoss):
        await wrapper.rewrap(NAME, altered[20], CONTEXT)


async def test_a_key_of_another_name_or_context_does_not_unwrap(wrapper: KeyWrapper) -> None:
    wrapped = await wrapper.wrap(NAME, KEY, CONTEXT)
    await wrapper.wrap("storage/other", KEY, CONTEXT)
    for name, context in ((NAME, b"objects 2"), ("storage/other", CONTEXT), ("storage/none", CONTEXT)):
        with pytest.raises(errors.DataLoss):
            await wrapper.unwrap(name, wrapped, context)
        with pytest.raises(errors.DataLoss):
            await wrapper.rewrap(name, wrapped, context)


async def test_a_rotation_and_rewraps_break_no_request(wrapper: KeyWrapper) -> None:
    wrapped = await wrapper.wrap(NAME, KEY, CONTEXT)
    assert await wrapper.rewrap(NAME, wrapped, CONTEXT) == wrapped
    rotated = asyncio.Event()

    async def use() -> bytes:
        while True:
            new = await wrapper.wrap(NAME, KEY, CONTEXT)
            assert await wrapper.unwrap(NAME, new, CONTEXT) == KEY
            rewrapped = await wrapper.rewrap(NAME, wrapped, CONTEXT)
            assert await wrapper.unwrap(NAME, rewrapped, CONTEXT) == KEY
            if rotated.is_set():
                return rewrapped

    users = [asyncio.create_task(use()) for _ in range(4)]
    assert [await wrapper.rotate(NAME) for _ in range(3)] == [2, 3, 4]
    rotated.set()
    for rewrapped in await asyncio.gather(*users):
        assert rewrapped != wrapped
        last = await wrapper.rewrap(NAME, rewrapped, CONTEXT)
        assert await wrapper.rewrap(NAME, last, CONTEXT) == last
    assert await wrapper.unwrap(NAME, wrapped, CONTEXT) == KEY, "earlier versions still unwrap"


async def test_instances_that_create_or_rotate_a_key_at_once_agree(wrapper: KeyWrapper) -> None:
    wrapped = await asyncio.gather(*(wrapper.wrap(NAME, KEY, CONTEXT) for _ in range(8)))
    await asyncio.gather(*(wrapper.rotate(NAME) for _ in range(4)))
    assert [await wrapper.unwrap(NAME, each, CONTEXT) for each in wrapped] == [KEY] * 8


async def test_a_key_that_does_not_exist_is_not_rotated(wrapper: KeyWrapper) -> None:
    with pytest.raises(errors.NotFound):
        await wrapper.rotate("storage/none")


async def test_a_missing_engine_is_reported(openbao: OpenBao, tmp_path: Path) -> None:
    async with open_vault(openbao, tmp_path) as vault:
        with pytest.raises(errors.Unavailable, match="Vault has no transit engine at nowhere"):
            await TransitKeys(vault.client, "nowhere").wrap(NAME, KEY, CONTEXT)


async def test_an_old_version_that_was_retired_in_vault_unwraps_no_longer(openbao: OpenBao, tmp_path: Path) -> None:
    """A rewrapped key outlives the retirement of its first version, which is what a rewrap is for."""
    async with open_vault(openbao, tmp_path) as vault:
        mount = openbao.enable_transit()
        keys = TransitKeys(vault.client, mount)
        wrapped = await keys.wrap(NAME, KEY, CONTEXT)
        await keys.rotate(NAME)
        rewrapped = await keys.rewrap(NAME, wrapped, CONTEXT)
        openbao.root.secrets.transit.update_key_configuration(
            "storage.objects", min_decryption_version=2, mount_point=mount
        )
        assert await keys.unwrap(NAME, rewrapped, CONTEXT) == KEY
        with pytest.raises(errors.DataLoss):
            await keys.unwrap(NAME, wrapped, CONTEXT)


@pytest.mark.parametrize("name", ["", "storage", "storage/../user/key", "storage/a?x=1", "storage/a.b"])
async def test_no_name_of_a_key_leads_to_another_path(openbao: OpenBao, tmp_path: Path, name: str) -> None:
    async with open_vault(openbao, tmp_path) as vault:
        with pytest.raises(errors.InvalidArgument):
            await TransitKeys(vault.client, "transit").wrap(name, KEY, CONTEXT)


async def test_a_workload_uses_its_own_keys_only(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    await mesh.start("config", Config(store=tmp_path / "secrets", master_key_file=tmp_path / "key"))
    storage = mesh.stub(pb_grpc.ConfigServiceStub, caller="storage")
    user = mesh.stub(pb_grpc.ConfigServiceStub, caller="user")
    request = pb.WrapKeyRequest(name=NAME, key=KEY, context=CONTEXT)
    wrapped = (await storage.WrapKey(request)).wrapped_key
    for _ in range(2):
        found = await storage.UnwrapKey(pb.UnwrapKeyRequest(name=NAME, wrapped_key=wrapped, context=CONTEXT))
        assert found.key == KEY
    rewrap = pb.RewrapKeyRequest(name=NAME, wrapped_key=wrapped, context=CONTEXT)
    assert (await storage.RewrapKey(rewrap)).wrapped_key == wrapped
    for call in (
        user.WrapKey(request),
        user.UnwrapKey(pb.UnwrapKeyRequest(name=NAME, wrapped_key=wrapped, context=CONTEXT)),
        user.RewrapKey(rewrap),
        # The keys themselves are no secrets of any workload.
        storage.GetSecret(pb.GetSecretRequest(name=f"config/keys/{NAME}")),
        user.PutSecret(pb.PutSecretRequest(name=f"config/keys/{NAME}", value=b"x", replaces_version=1)),
    ):
        with pytest.raises(errors.PermissionDenied) as refused:
            await call
        assert refused.value.reason == "CALLER_NOT_ALLOWED"
    with pytest.raises(errors.InvalidArgument):
        await storage.WrapKey(pb.WrapKeyRequest(name=NAME, key=b"short", context=CONTEXT))

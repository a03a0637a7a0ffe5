"""Data keys of a service: created once, wrapped, rotated with a notice, and wrapped anew; on files and on transit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from services.config.config import Config
from services.config.encrypted_files import EncryptedFiles
from services.config.local_keys import LocalKeys
from services.runtime.data_keys import NOTICE_SECONDS, DataKeys
from services.runtime.secrets import SecretClient
from tests.config.vault.openbao import OpenBao
from tests.config.vault.opened import wait_until
from tests.config.vault.test_service import is_serving, settings
from tests.mesh import Mesh

NAME = "storage/objects"
SECRET = "storage/objects-keys"


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Backend:
    """A client of a config service, and how its operator rotates the key-encryption key."""

    client: SecretClient
    rotate: Callable[[], Awaitable[object]]


@pytest.fixture(params=["files", "transit"])
async def backend(request: pytest.FixtureRequest, mesh: Mesh, tmp_path: Path, openbao: OpenBao) -> Backend:
    """A config service with encrypted files, or with a Vault."""
    rotate: Callable[[], Awaitable[object]]
    if request.param == "files":
        (tmp_path / "key").write_bytes(bytes(32))
        config = Config(store=tmp_path / "secrets", master_key_file=tmp_path / "key")
        rotate = partial(LocalKeys(EncryptedFiles(config.store, bytes(32))).rotate, NAME)
    else:
        mount, transit = openbao.set_up(), openbao.enable_transit()
        config = settings(openbao, tmp_path, mount, vault_transit_mount=transit, cache_seconds=0)
        rotation = partial(openbao.root.secrets.transit.rotate_key, NAME.replace("/", "."), mount_point=transit)
        rotate = partial(asyncio.to_thread, rotation)
    await mesh.start("config", config)
    await wait_until(partial(is_serving, mesh, "secrets"))
    return Backend(SecretClient(mesh.stub(pb_grpc.ConfigServiceStub, caller="storage")), rotate)


@pytest.fixture
def client(backend: Backend) -> SecretClient:
    return backend.client


async def open_keys(client: SecretClient, clock: Clock, **options: Any) -> DataKeys:
    keys = DataKeys(client, NAME, clock)
    await keys.open(**options)
    return keys


async def test_instances_that_start_at_once_share_a_key_that_no_secret_holds(client: SecretClient) -> None:
    clock = Clock()
    opened = await asyncio.gather(*(open_keys(client, clock) for _ in range(6)))
    assert len({keys.current.value for keys in opened}) == 1
    stored = await client.read(SECRET)
    assert stored
    assert opened[0].current.value.hex() not in stored.value.hex()


async def test_a_key_of_an_earlier_release_is_wrapped_and_stays_the_same(client: SecretClient) -> None:
    plain = await client.fetch_or_create_key("storage/master-key")
    keys = await open_keys(client, Clock(), plain_secret="storage/master-key")
    assert (keys.current.value, keys.current.version) == (plain.value, plain.version)


async def test_a_new_version_encrypts_after_its_notice(client: SecretClient) -> None:
    clock = Clock()
    one = await open_keys(client, clock)
    other = await open_keys(client, clock)
    first = one.current
    clock.now += NOTICE_SECONDS
    assert await one.add() == 2
    assert one.current == first
    assert other.find(2) is None
    await other.refresh()
    clock.now += NOTICE_SECONDS
    assert one.current.version == other.current.version == 2
    assert one.current.value == other.current.value != first.value
    assert other.find(1) == first


async def test_keys_are_wrapped_anew_after_a_rotation(backend: Backend) -> None:
    clock = Clock()
    keys = await open_keys(backend.client, clock)
    await keys.add()
    before = await backend.client.read(SECRET)
    assert await keys.rewrap() == 0
    assert await backend.client.read(SECRET) == before
    await backend.rotate()
    assert await keys.rewrap() == 2
    after = await backend.client.read(SECRET)
    assert after
    assert before
    assert not {each["wrapped"] for each in json.loads(after.value).values()} & {
        each["wrapped"] for each in json.loads(before.value).values()
    }
    other = await open_keys(backend.client, clock)
    assert [other.find(version) for version in (1, 2)] == [keys.find(version) for version in (1, 2)]
    assert await other.rewrap() == 0


async def test_an_altered_or_swapped_key_is_detected(client: SecretClient) -> None:
    clock = Clock()
    keys = await open_keys(client, clock)
    await keys.add()
    stored = await client.read(SECRET)
    assert stored
    found = json.loads(stored.value)
    swapped = json.dumps({"1": found["2"], "2": found["1"]}).encode()
    version = stored.version
    for value in (swapped, b"{}x", b"[1]", json.dumps({"1": {"wrapped": "!", "created": 0}}).encode()):
        version = (await client.write(SECRET, value, version)).version
        with pytest.raises(errors.DataLoss):
            await open_keys(client, clock)

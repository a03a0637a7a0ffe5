"""Secrets of a service: one instance creates each, and all instances use the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.config.v1 import config_service_pb2 as pb
from services.runtime.secrets import Secret, SecretClient


class FakeConfigService:
    """A stub of the config service, whose calls let other tasks run."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    async def GetSecret(self, request: pb.GetSecretRequest) -> pb.GetSecretResponse:
        await asyncio.sleep(0)
        if not self.values:
            raise errors.NotFound("there is no secret", reason="SECRET_NOT_FOUND")
        return pb.GetSecretResponse(value=self.values[-1], version=len(self.values))

    async def PutSecret(self, request: pb.PutSecretRequest) -> pb.PutSecretResponse:
        await asyncio.sleep(0)
        if request.replaces_version != len(self.values):
            raise errors.Conflict("it is at another version", reason="SECRET_CONFLICT")
        self.values.append(request.value)
        return pb.PutSecretResponse(version=len(self.values))


async def test_concurrent_instances_create_one_secret() -> None:
    stub: Any = FakeConfigService()
    clients = [SecretClient(stub) for _ in range(8)]
    secrets = await asyncio.gather(*(client.fetch_or_create_key("user/key") for client in clients))
    assert [len(value) for value in stub.values] == [32]
    assert set(secrets) == {Secret(stub.values[0], 1)}


async def test_an_existing_secret_is_not_replaced() -> None:
    stub: Any = FakeConfigService()
    client = SecretClient(stub)
    assert await client.read("user/key") is None
    assert await client.write("user/key", b"first", 0) == Secret(b"first", 1)
    assert await client.write("user/key", bytes(32), 1) == Secret(bytes(32), 2)
    with pytest.raises(errors.Conflict):
        await client.write("user/key", b"third", 1)
    assert await client.fetch_or_create_key("user/key") == Secret(bytes(32), 2)


@pytest.mark.parametrize("value", [b"", b"short", bytes(33)])
async def test_a_key_of_another_length_is_refused(value: bytes) -> None:
    stub: Any = FakeConfigService()
    stub.values.append(value)
    with pytest.raises(errors.DataLoss, match="it must be 32"):
        await SecretClient(stub).fetch_or_create_key("user/key")
    assert stub.values == [value]

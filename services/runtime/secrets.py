"""Secrets: the versioned secrets that the config service stores for this service."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from moneyprinter.errors import Conflict, DataLoss, NotFound
from services.runtime.encryption import KEY_BYTES


@dataclass(frozen=True)
class Secret:
    """A version of a secret."""

    value: bytes = field(repr=False)
    version: int
    """1 for the first value, one more for each value that replaced it."""


class SecretClient:
    """Reads and writes secrets by name."""

    def __init__(self, stub: pb_grpc.ConfigServiceAsyncStub) -> None:
        self._stub = stub

    async def read(self, name: str) -> Secret | None:
        """Return the newest version of a secret; None when there is none."""
        try:
            response = await self._stub.GetSecret(pb.GetSecretRequest(name=name))
        except NotFound:
            return None
        return Secret(response.value, response.version)

    async def write(self, name: str, value: bytes, replaces_version: int) -> Secret:
        """Write the version after `replaces_version` (0: the first).

        Raises `Conflict` when another instance has written it.
        """
        request = pb.PutSecretRequest(name=name, value=value, replaces_version=replaces_version)
        return Secret(value, (await self._stub.PutSecret(request)).version)

    async def read_key(self, name: str) -> Secret | None:
        """Return the newest version of a key; None when there is none.

        Raises `DataLoss` when the secret has another length than KEY_BYTES.
        """
        secret = await self.read(name)
        if secret and len(secret.value) != KEY_BYTES:
            size = len(secret.value)
            raise DataLoss(f"the secret {name} holds {size} bytes; it must be {KEY_BYTES}", reason="DATA_CORRUPT")
        return secret

    async def fetch_or_create_key(self, name: str) -> Secret:
        """Return the newest version of a key of KEY_BYTES. The instance that finds none first creates it.

        Raises `DataLoss` when the secret has another length.
        """
        while True:
            if secret := await self.read_key(name):
                return secret
            try:
                return await self.write(name, secrets.token_bytes(KEY_BYTES), 0)
            except Conflict:
                # Another instance was faster; its value is read.
                continue

    async def wrap_key(self, name: str, key: bytes, context: bytes) -> bytes:
        """Encrypt a data key with a key-encryption key, which the first call creates."""
        request = pb.WrapKeyRequest(name=name, key=key, context=context)
        return (await self._stub.WrapKey(request)).wrapped_key

    async def unwrap_key(self, name: str, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a data key. Raises `DataLoss` when it was altered, or was wrapped with another key or context."""
        request = pb.UnwrapKeyRequest(name=name, wrapped_key=wrapped, context=context)
        return (await self._stub.UnwrapKey(request)).key

    async def rewrap_key(self, name: str, wrapped: bytes, context: bytes) -> bytes:
        """Wrap a wrapped data key with the newest version of its key-encryption key. Raises as `unwrap_key` does."""
        request = pb.RewrapKeyRequest(name=name, wrapped_key=wrapped, context=context)
        return (await self._stub.RewrapKey(request)).wrapped_key


class LazyKey:
    """A key that is fetched, or created, at its first use, and kept."""

    def __init__(self, client: SecretClient, name: str) -> None:
        self._client = client
        self._name = name
        self._value = b""
        self._fetching = asyncio.Lock()

    async def fetch(self) -> bytes:
        """Return the key. Raises as `SecretClient.fetch_or_create_key` does."""
        async with self._fetching:
            if not self._value:
                self._value = (await self._client.fetch_or_create_key(self._name)).value
        return self._value

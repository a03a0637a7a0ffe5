"""Secrets: the versioned secrets that the config service stores for this service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from moneyprinter.errors import Conflict, NotFound


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

    async def fetch_or_create(self, name: str, generate: Callable[[], bytes]) -> Secret:
        """Return the newest version of a secret. The instance that finds none first creates it with `generate`."""
        while True:
            if secret := await self.read(name):
                return secret
            try:
                return await self.write(name, generate(), 0)
            except Conflict:
                # Another instance was faster; its value is read.
                continue

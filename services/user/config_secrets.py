"""Config secrets: the secrets of this service that the config service keeps."""

from __future__ import annotations

from collections.abc import Callable

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from moneyprinter.errors import Conflict, NotFound


class ConfigSecrets:
    """Secrets in versions."""

    def __init__(self, stub: pb_grpc.ConfigServiceAsyncStub) -> None:
        self._stub = stub

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """The newest value of a secret, and its version."""
        try:
            found = await self._stub.GetSecret(pb.GetSecretRequest(name=name))
        except NotFound:
            return None
        return found.value, found.version

    async def write(self, name: str, value: bytes, replaces_version: int) -> int:
        """Write the next version. Raises Conflict when somebody else did."""
        request = pb.PutSecretRequest(name=name, value=value, replaces_version=replaces_version)
        return (await self._stub.PutSecret(request)).version

    async def fetch(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The newest value of a secret, which whichever instance starts first makes."""
        while True:
            if found := await self.read(name):
                return found[0]
            value = make()
            try:
                await self.write(name, value, 0)
            except Conflict:
                continue
            return value

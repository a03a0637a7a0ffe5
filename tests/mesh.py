"""Mesh: starts real services on free ports in this process, and calls them as any workload."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import grpc
import imageio_ffmpeg
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from moneyprinter import contract
from moneyprinter.calls import TypedChannel
from services.runtime import channels, server
from services.runtime.authorizer import TokenKeys
from services.runtime.config import PORTS, RuntimeConfig
from services.runtime.objects import Objects

S = TypeVar("S")

ALL_ROLES = ("video.process", "audio.generate", "content.manage", "user.admin")


@cache
def ffmpeg_program() -> Path:
    """Return the ffmpeg of the embedded platform."""
    return Path(imageio_ffmpeg.get_ffmpeg_exe())


def mesh_config(certificates: Path, folder: Path) -> RuntimeConfig:
    """Return the runtime's settings for a mesh: free ports, and a scratch folder in `folder`."""
    return RuntimeConfig(
        certificates=certificates,
        ports=dict.fromkeys(PORTS, 0),
        scratch=folder / "scratch",
        ffmpeg=ffmpeg_program(),
        grace_seconds=1.0,
        log_level="debug",
    )


class Mesh:
    """Running services, which stop when the mesh closes.

    The mesh signs user tokens with its own key (`token`), unless `own_keys` is false and the user service runs in it.
    """

    def __init__(self, config: RuntimeConfig, *, own_keys: bool = True) -> None:
        self.config = config
        self._stack = AsyncExitStack()
        self._own_keys = own_keys
        self._key = ec.generate_private_key(ec.SECP256R1())

    async def __aenter__(self) -> Mesh:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def start(self, service: str, settings: Any, wire: server.Wire | None = None) -> server.Runtime:
        """Start a service with its `Config`. It can call the services that were started before it."""
        runtime = await self._stack.enter_async_context(self._running(service, self.config, settings, wire))
        ports = {**self.config.ports, service: runtime.port}
        self.config = self.config.model_copy(update={"ports": ports})
        return runtime

    @asynccontextmanager
    async def another(self, service: str, wire: server.Wire) -> AsyncIterator[server.Runtime]:
        """Run one more instance of a service, without adding it to the addresses of the others."""
        free = self.config.model_copy(update={"ports": {**self.config.ports, service: 0}})
        async with self._running(service, free, None, wire) as runtime:
            yield runtime

    def _running(
        self, service: str, config: RuntimeConfig, settings: Any, wire: server.Wire | None
    ) -> AbstractAsyncContextManager[server.Runtime]:
        keys = self._keys() if self._own_keys else None
        return server.run_service(service, config, settings=settings, wire=wire, keys=keys)

    def channel(self, service: str, contract_name: str, caller: str = "orchestrator") -> TypedChannel:
        """Return a channel to a service, as `caller`."""
        channel = channels.connect(self.config, caller, service, contract_name)
        self._stack.push_async_callback(channel.close)
        return channel

    def stub(self, make: Callable[[grpc.aio.Channel], S], caller: str = "orchestrator") -> S:
        """Return a stub of a service, as `caller`: `mesh.stub(storage_service_pb2_grpc.StorageServiceStub)`."""
        package = make.__module__.split(".")
        name = ".".join([*package[:-1], make.__name__.removesuffix("Stub")])
        assert contract.service_config(name)
        service = {"video": "orchestrator"}.get(package[1], package[1])
        return make(self.channel(service, name, caller))

    def objects(self, caller: str = "orchestrator") -> Objects:
        """Return a client of the storage service, which must be started."""
        return Objects(self.channel("storage", "moneyprinter.storage.v1.StorageService", caller))

    def token(self, user: str = "user_1", roles: Sequence[str] = ALL_ROLES, **claims: Any) -> str:
        """Return an access token of a user."""
        now = int(time.time())
        payload = {"iss": "moneyprinter", "aud": "moneyprinter", "sub": user, "iat": now, "exp": now + 60}
        return jwt.encode(
            {**payload, "roles": list(roles), **claims}, self._key, algorithm="ES256", headers={"kid": "test"}
        )

    def bearer(self, user: str = "user_1", roles: Sequence[str] = ALL_ROLES) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call for a user."""
        return (("authorization", f"Bearer {self.token(user, roles)}"),)

    def _keys(self) -> TokenKeys:
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)

        async def fetch() -> dict[str, Any]:
            return {"keys": [{**public, "kid": "test", "alg": "ES256", "use": "sig"}]}

        return TokenKeys(fetch)

"""Instances: the user service over mTLS, on PostgreSQL, as the gateway and the mesh call it."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moneyprinter.user.v1 import account_service_pb2_grpc as own_grpc
from moneyprinter.user.v1 import administration_service_pb2_grpc as admin_grpc
from moneyprinter.user.v1 import user_service_pb2 as pb
from moneyprinter.user.v1 import user_service_pb2_grpc as pb_grpc
from services.config.config import Config as SecretsConfig
from services.runtime import telemetry
from services.runtime.config import RuntimeConfig
from services.user.config import Config
from tests.databases import Databases
from tests.mesh import Mesh

Metadata = tuple[tuple[str, str], ...]


@dataclass
class Users:
    """A running user service."""

    mesh: Mesh
    settings: Config
    password: str
    """The password of the first account."""
    log: io.StringIO

    def __post_init__(self) -> None:
        # `Any`, since the stubs of grpc require their own type of metadata.
        self.stub: Any = self.mesh.stub(pb_grpc.UserServiceStub, caller="gateway")
        self.own: Any = self.mesh.stub(own_grpc.AccountServiceStub, caller="gateway")
        self.admin: Any = self.mesh.stub(admin_grpc.AdministrationServiceStub, caller="gateway")

    async def sign_in(self, username: str = "admin", password: str = "", **code: str) -> pb.SignInResponse:
        """Sign in; without a password, with the first account's."""
        request = pb.SignInRequest(username=username, password=password or self.password, **code)
        response: pb.SignInResponse = await self.stub.SignIn(request)
        return response

    async def bearer(self) -> Metadata:
        """Return the metadata of a call by the first account."""
        return bearer((await self.sign_in()).access_token)

    def audit_log_lines(self) -> list[dict[str, Any]]:
        """Return the audit events in the service's log."""
        lines = (json.loads(line) for line in self.log.getvalue().splitlines())
        return [line for line in lines if line["event"] == "audit"]


def bearer(token: str, *more: tuple[str, str]) -> Metadata:
    """Return the metadata of a call with a token."""
    return (("authorization", f"Bearer {token}"), *more)


@asynccontextmanager
async def run_user_service(
    config: RuntimeConfig, postgres: Databases, folder: Path, **settings: Any
) -> AsyncIterator[Users]:
    """Run the config and the user service while the context is open."""
    log = io.StringIO()
    telemetry.configure(config, log)
    (folder / "master-key").write_bytes(bytes(range(32)))
    user_config = Config(database=await postgres.fresh("user"), first_account_file=folder / "first-account", **settings)
    async with Mesh(config, own_keys=False) as mesh:
        await mesh.start("config", SecretsConfig(store=folder / "secrets", master_key_file=folder / "master-key"))
        await mesh.start("user", user_config)
        password = json.loads((folder / "first-account").read_text())["password"]
        yield Users(mesh, user_config, password, log)


@asynccontextmanager
async def run_second_instance(users: Users) -> AsyncIterator[Users]:
    """Run a second instance of the user service, on the same database and secrets."""
    async with Mesh(users.mesh.config, own_keys=False) as mesh:
        mesh.config = mesh.config.model_copy(update={"ports": {**mesh.config.ports, "user": 0}})
        await mesh.start("user", users.settings)
        yield Users(mesh, users.settings, users.password, users.log)

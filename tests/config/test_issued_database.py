"""Users of the database from Vault: issued, renewed and replaced by a real server, without a failed query."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import UndefinedObject

from moneyprinter import errors
from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from services.config.config import Config
from services.runtime import db
from services.runtime.issued_database import IssuedUser
from services.runtime.tasks import cancel
from services.user.config import Config as UserConfig
from tests.config.vault.openbao import OpenBao
from tests.config.vault.opened import wait_until
from tests.config.vault.test_service import is_serving, settings
from tests.databases import Databases
from tests.mesh import Mesh

CREATION = [
    "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE \"user\"",
    "ALTER ROLE \"{{name}}\" SET role TO 'user'",
]


class IssuingDatabase:
    """A database whose users a real server of Vault's API makes, through the config service of a mesh."""

    def __init__(self, mesh: Mesh, openbao: OpenBao, mount: str, conninfo: str) -> None:
        self.mesh = mesh
        self.openbao = openbao
        self.mount = mount
        self.conninfo = conninfo

    def stub(self, caller: str = "user") -> Any:
        return self.mesh.stub(pb_grpc.ConfigServiceStub, caller=caller)

    def revoke_all(self) -> None:
        """Revoke the leases of all users, which removes them from the database."""
        self.openbao.root.sys.revoke_prefix(f"{self.mount}/creds")

    @asynccontextmanager
    async def pool(self) -> AsyncIterator[db.Pool]:
        """Open a pool as a service does."""
        user = IssuedUser(self.stub(), self.conninfo)
        await user.open()
        async with db.open_pool("user", lambda: user.conninfo, timeout_seconds=10) as pool:
            renewing = asyncio.create_task(user.run(pool))
            try:
                yield pool
            finally:
                await cancel(renewing)


@pytest.fixture
async def database(mesh: Mesh, openbao: OpenBao, postgres: Databases, tmp_path: Path) -> IssuingDatabase:
    """Users live for 2 seconds, renewed for 4 at most."""
    conninfo, mount = await postgres.fresh("user"), f"database-{uuid.uuid4().hex[:12]}"
    where = conninfo_to_dict(conninfo)
    openbao.root.sys.enable_secrets_engine("database", path=mount)
    engine = openbao.root.secrets.database
    superuser = postgres.server.passwords / "postgres"
    engine.configure(
        "postgres",
        plugin_name="postgresql-database-plugin",
        allowed_roles=["user"],
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{where['port']}/{where['dbname']}"
        "?sslmode=disable",
        username="postgres",
        password=superuser.read_text().strip().rpartition(":")[2],
        mount_point=mount,
    )
    engine.create_role(
        "user",
        "postgres",
        CREATION,
        default_ttl="2s",
        max_ttl="4s",
        revocation_statements=['DROP ROLE IF EXISTS "{{name}}"'],
        mount_point=mount,
    )
    mounts = {"vault_database_mount": mount, "vault_transit_mount": openbao.enable_transit()}
    await mesh.start("config", settings(openbao, tmp_path, openbao.set_up(), **mounts))
    await wait_until(partial(is_serving, mesh, "secrets"))
    return IssuingDatabase(
        mesh,
        openbao,
        mount,
        f"host=127.0.0.1 port={where['port']} dbname={where['dbname']} sslmode=disable gssencmode=disable",
    )


async def session_user(pool: db.Pool) -> str:
    [row] = await db.fetch_all(pool, "SELECT session_user::text AS name, pg_sleep(0.02)")
    return str(row["name"])


async def test_users_are_renewed_and_replaced_without_a_failed_query(database: IssuingDatabase) -> None:
    async with database.pool() as pool:
        names: set[str] = set()

        async def query() -> None:
            while len(names) < 3:
                names.add(await session_user(pool))

        async with asyncio.timeout(60):
            await asyncio.gather(*(query() for _ in range(6)))
        # Tables belong to the role, whichever user has made them; users of leases that ended exist no longer.
        owners = await db.fetch_all(pool, "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'user'")
        assert [row["tableowner"] for row in owners] == ["user"]

        async def are_gone() -> bool:
            made = [*names]
            left = await db.fetch_all(pool, "SELECT 1 FROM pg_roles WHERE rolname = ANY(%s)", (made,))
            return len(left) <= 1

        await wait_until(are_gone)


async def test_a_user_that_was_revoked_is_replaced(database: IssuingDatabase) -> None:
    async with database.pool() as pool:
        first = await session_user(pool)
        await asyncio.to_thread(database.revoke_all)

        async def is_replaced() -> bool:
            # Its open connections go on with what they may do; only its name is no longer there.
            assert await db.fetch_all(pool, "SELECT 1")
            try:
                return await session_user(pool) != first
            except UndefinedObject:
                return False

        await wait_until(is_replaced)


async def test_the_user_service_runs_on_issued_users(database: IssuingDatabase, tmp_path: Path) -> None:
    file = tmp_path / "first-account"
    config = UserConfig(
        database=database.conninfo, database_user="issued", database_timeout_seconds=10, first_account_file=file
    )
    await database.mesh.start("user", config)
    assert file.is_file()


async def test_users_are_issued_to_their_service_only(database: IssuingDatabase) -> None:
    made = await database.stub().IssueDatabaseUser(pb.IssueDatabaseUserRequest())
    renewal = pb.RenewDatabaseUserRequest(lease_id=made.lease_id)
    assert 0 < (await database.stub().RenewDatabaseUser(renewal)).lease_seconds <= 2
    with pytest.raises(errors.PermissionDenied):
        await database.stub("orchestrator").RenewDatabaseUser(renewal)
    with pytest.raises(errors.PermissionDenied):
        await database.stub("audio").IssueDatabaseUser(pb.IssueDatabaseUserRequest())
    with pytest.raises(errors.NotFound, match="no usable role orchestrator"):
        await database.stub("orchestrator").IssueDatabaseUser(pb.IssueDatabaseUserRequest())
    for lease in (f"{database.mount}/creds/user/none", "auth/approle/login/x"):
        with pytest.raises(errors.NotFound):
            await database.stub().RenewDatabaseUser(pb.RenewDatabaseUserRequest(lease_id=lease))


async def test_without_a_vault_none_are_issued(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    await mesh.start("config", Config(store=tmp_path / "secrets", master_key_file=tmp_path / "key"))
    stub = mesh.stub(pb_grpc.ConfigServiceStub, caller="user")
    with pytest.raises(errors.NotFound, match="has no Vault"):
        await stub.IssueDatabaseUser(pb.IssueDatabaseUserRequest())

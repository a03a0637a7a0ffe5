"""Behind a real PgBouncer in transaction mode, where each transaction may get another server connection."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from moneyprinter.user.v1 import account_service_pb2 as own
from moneyprinter.user.v1 import user_service_pb2 as pb
from services.orchestrator.postgres.store import PostgresStore
from services.runtime import db
from services.runtime.config import RuntimeConfig
from tests.databases import TIMEOUT_SECONDS, Databases
from tests.orchestrator.samples import job
from tests.postgres.servers import PGBOUNCER, run_pgbouncer, through
from tests.user.instances import bearer, run_second_instance, run_user_service

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")


class Pooled(Databases):
    """The databases of another server, through a pooler."""

    def __init__(self, databases: Databases, port: int) -> None:
        super().__init__(databases.server)
        self._direct = databases
        self._port = port

    async def fresh(self, service: str) -> str:
        return through(self._port, await self._direct.fresh(service))


@pytest.fixture(scope="module")
async def pooled(postgres: Databases) -> AsyncIterator[Pooled]:
    """The tests' PostgreSQL through PgBouncer."""
    for role in ("orchestrator", "user"):
        await postgres.fresh(role)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        (inner := Path(folder) / "pgbouncer").mkdir()
        async with run_pgbouncer(postgres, ("orchestrator", "user"), inner) as port:
            yield Pooled(postgres, port)


async def test_two_instances_share_server_connections(pooled: Pooled) -> None:
    """Both start at once on an empty database; 16 connections of clients use two of the server."""
    conninfo = await pooled.fresh("orchestrator")

    def open_pool() -> AbstractAsyncContextManager[db.Pool]:
        return db.open_pool("orchestrator", conninfo, timeout_seconds=TIMEOUT_SECONDS, pooler=True)

    async with AsyncExitStack() as stack:
        one, two = await asyncio.gather(*(stack.enter_async_context(open_pool()) for _ in range(2)))
        stores = [PostgresStore(pool, lambda: None) for pool in (one, two)]
        made = [job(f"user_{number % 4}") for number in range(40)]
        await asyncio.gather(*(stores[number % 2].create(each) for number, each in enumerate(made)))
        claimed = await asyncio.gather(*(stores[number % 2].claim(timedelta(seconds=60)) for number in range(20)))
        ids = [each.id for each in claimed if each is not None]
        assert len(set(ids)) == len(ids) > 0
        pages = await asyncio.gather(*(store.page(f"user_{n}", 50, None) for store in stores for n in range(4)))
        assert sum(len(page) for page in pages) == 2 * len(made)
        # Every server connection has the settings, whichever client opened it.
        query = (
            "SELECT current_setting('search_path') AS path, current_setting('statement_timeout') AS timeout,"
            " pg_backend_pid() AS pid"
        )
        found = await asyncio.gather(*(db.fetch_all(pool, query) for pool in (one, two) for _ in range(10)))
        assert {(row["path"], row["timeout"]) for [row] in found} == {("orchestrator", "10s")}
        assert len({row["pid"] for [row] in found}) <= 2


async def test_the_user_service_works(pooled: Pooled, config: RuntimeConfig, tmp_path: Path) -> None:
    async with (
        run_user_service(config, pooled, tmp_path, database_pooler=True) as users,
        run_second_instance(users) as second,
    ):
        sessions = await asyncio.gather(*(each.sign_in() for each in (users, second) for _ in range(3)))

        async def use(session: pb.SignInResponse) -> None:
            for instance in (users, second, users):
                token = pb.RefreshTokenRequest(refresh_token=session.refresh_token)
                session = await instance.stub.RefreshToken(token)
                await instance.own.ListSessions(own.ListSessionsRequest(), metadata=bearer(session.access_token))

        await asyncio.gather(*map(use, sessions))
        found = await second.own.ListSessions(own.ListSessionsRequest(), metadata=bearer(sessions[0].access_token))
        assert len(found.sessions) == len(sessions)

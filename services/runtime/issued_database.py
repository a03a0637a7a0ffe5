"""Issued database: a pool whose user the config service issues, renews and replaces, without a failed query.

A user exists until its lease ends. When the lease cannot be renewed any longer, new connections use another user, and
the pool closes those of the former one when they are given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from psycopg.conninfo import make_conninfo

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from moneyprinter.errors import Error, NotFound
from services.runtime import db
from services.runtime.config import DatabaseSettings
from services.runtime.server import Runtime

log = structlog.get_logger()

# A lease is renewed when this part of it has passed; enough remains to wait for a config service that is away.
_RENEW_AFTER = 1 / 2
# A renewal that gives less than this part of the first lease: its maximum is near, and another user is due.
_SHORT_LEASE = 2 / 3
_RETRY_SECONDS = 1.0


class IssuedUser:
    """The user of the database as it was last issued. `open` issues the first one."""

    def __init__(self, stub: pb_grpc.ConfigServiceAsyncStub, conninfo: str) -> None:
        self._stub = stub
        self._conninfo = conninfo
        self._user = pb.IssueDatabaseUserResponse()

    async def open(self) -> None:
        """Get a user. Raises `NotFound` when the config service issues none."""
        self._user = await self._stub.IssueDatabaseUser(pb.IssueDatabaseUserRequest())

    @property
    def conninfo(self) -> str:
        """The connection string with the user and its password."""
        return make_conninfo(self._conninfo, user=self._user.username, password=self._user.password)

    async def run(self, pool: db.Pool) -> None:
        """Renew and replace the user until cancelled. While the config service is away, the present one is used."""
        pause = self._user.lease_seconds * _RENEW_AFTER
        while True:
            await asyncio.sleep(pause)
            try:
                pause = await self._refresh(pool) * _RENEW_AFTER
            except Error as failure:
                log.warning("the user of the database cannot be renewed", reason=failure.reason)
                pause = _RETRY_SECONDS

    async def _refresh(self, pool: db.Pool) -> float:
        """Renew the lease, or replace the user, and return the seconds of the lease."""
        request = pb.RenewDatabaseUserRequest(lease_id=self._user.lease_id)
        try:
            remaining = (await self._stub.RenewDatabaseUser(request)).lease_seconds
        except NotFound:
            remaining = 0.0
        if remaining >= self._user.lease_seconds * _SHORT_LEASE:
            return remaining
        await self.open()
        await pool.drain()
        log.info("the user of the database was replaced", lease_seconds=self._user.lease_seconds)
        return self._user.lease_seconds


@asynccontextmanager
async def open_database(
    runtime: Runtime, config: DatabaseSettings, stub: pb_grpc.ConfigServiceAsyncStub
) -> AsyncIterator[db.Pool]:
    """Open the pool of a service, with the user of its settings, or with one that the config service issues.

    Raises as `db.open_pool` does, and `NotFound` when the config service issues none.
    """
    timeout, pooler = config.database_timeout_seconds, config.database_pooler
    if config.database_user == "settings":
        async with db.open_pool(runtime.service, config.database, timeout_seconds=timeout, pooler=pooler) as pool:
            yield pool
        return
    user = IssuedUser(stub, config.database)
    await user.open()
    async with (
        db.open_pool(runtime.service, lambda: user.conninfo, timeout_seconds=timeout, pooler=pooler) as pool,
        runtime.background(user.run(pool), "user of the database"),
    ):
        yield pool

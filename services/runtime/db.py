"""Db: a pool of PostgreSQL connections, and the schema brought up to date at start.

A service's schema is the numbered files `migrations/NNNN_name.sql` in its folder, each run once, in
order, in a transaction of its own. A file that has run is never changed: the next one changes what it made.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import resources
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from services.runtime.config import ConfigError

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

# The pool's attempts come at longer and longer intervals; given up soon, it begins anew when somebody asks for one,
# so that a database that comes back is found within a second or two, however long it was away.
RECONNECT_SECONDS = 1.0


@asynccontextmanager
async def open_pool(service: str, conninfo: str, *, size: int = 8) -> AsyncIterator[Pool]:
    """Open a pool on a database whose schema `service` is brought up to date first.

    `conninfo` is libpq's; it names a `passfile` and holds no password.
    """

    async def configure(connection: AsyncConnection[Any]) -> None:
        await connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(service)))
        await connection.execute("SET statement_timeout TO '10s'")
        await connection.commit()

    pool = AsyncConnectionPool(
        conninfo,
        connection_class=AsyncConnection[DictRow],
        kwargs={"row_factory": dict_row, "connect_timeout": 5, "application_name": service},
        configure=configure,
        min_size=1,
        max_size=size,
        timeout=5.0,
        reconnect_timeout=RECONNECT_SECONDS,
        open=False,
    )
    async with await AsyncConnection.connect(conninfo, connect_timeout=10) as connection:
        await _migrate(connection, service)
    async with pool:
        yield pool


def cut_later(connection: AsyncConnection[Any], seconds: float) -> asyncio.TimerHandle:
    """Cut a connection off in so many seconds, unless the handle is cancelled: what waits for it fails at once.

    A server that hangs closes nothing, and psycopg answers a cancelled task with a request to cancel, which hangs too.
    """

    def cut() -> None:
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    return asyncio.get_running_loop().call_later(seconds, cut)


async def _migrate(connection: AsyncConnection[Any], service: str) -> None:
    files = sorted(
        (
            entry
            for entry in (resources.files("services") / service / "migrations").iterdir()
            if entry.name.endswith(".sql")
        ),
        key=lambda entry: entry.name,
    )
    # One replica at a time; the lock goes with the connection.
    await connection.execute("SELECT pg_advisory_lock(hashtext(%s))", (f"migrate {service}",))
    schema = sql.Identifier(service)
    await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
    await connection.execute(sql.SQL("SET search_path TO {}").format(schema))
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, sha256 text NOT NULL,"
        " run_at timestamptz NOT NULL DEFAULT now())"
    )
    await connection.commit()
    rows = await (await connection.execute("SELECT name, sha256 FROM migrations")).fetchall()
    done: dict[str, str] = dict(rows)
    if unknown := sorted(set(done) - {entry.name for entry in files}):
        raise ConfigError(
            f"the database of {service} was made by a newer version (it has {unknown[-1]}); run that version"
        )
    for entry in files:
        text = entry.read_bytes()
        digest = hashlib.sha256(text).hexdigest()
        if entry.name not in done:
            await connection.execute(text)
            await connection.execute("INSERT INTO migrations (name, sha256) VALUES (%s, %s)", (entry.name, digest))
            await connection.commit()
        elif done[entry.name] != digest:
            raise ConfigError(
                f"the database of {service} was made by another version ({entry.name} differs); "
                "run that version, or start with an empty data folder"
            )

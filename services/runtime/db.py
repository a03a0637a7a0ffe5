"""Db: a pool of PostgreSQL connections, and the schema brought up to date at start.

A service's schema is the numbered files `migrations/NNNN_name.sql` in its folder, each run once, in
order, in a transaction of its own. A file that was ever released is never changed or deleted: databases have run it.
The next one changes what it made. `tests/runtime/migrations.sha256` lists them.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
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


def migrations(service: str) -> dict[str, bytes]:
    """Returns the migrations of a service in the order in which they run: each file's name and text."""
    folder = resources.files("services") / service / "migrations"
    found = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".sql")}
    return dict(sorted(found.items()))


async def _migrate(connection: AsyncConnection[Any], service: str) -> None:
    files = migrations(service)
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
    ran: dict[str, str] = dict(rows)
    _check_history(service, files, ran)
    for name, text in files.items():
        if name in ran:
            continue
        try:
            await connection.execute(text)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as failure:
            await connection.rollback()
            raise ConfigError(
                f"the database of {service} cannot be brought up to date: its migration {name} failed"
                f" ({str(failure).splitlines()[0]}); nothing of it was kept. The schema was changed by something else:"
                " restore the database from a backup, or start with an empty data folder"
            ) from None
        await connection.execute(
            "INSERT INTO migrations (name, sha256) VALUES (%s, %s)", (name, hashlib.sha256(text).hexdigest())
        )
        await connection.commit()


def _check_history(service: str, files: Mapping[str, bytes], ran: Mapping[str, str]) -> None:
    """Raise ConfigError when a database ran migrations that this version does not have, or has in another form."""
    newest = max(files)
    unknown = sorted(set(ran) - set(files))
    if unknown and unknown[-1] > newest:
        raise ConfigError(
            f"the database of {service} ran the migration {unknown[-1]}, which is newer than the last one of this"
            f" version ({newest}); run the version that used the database last, or a later one"
        )
    if unknown:
        raise ConfigError(
            f"the database of {service} ran migrations that this version does not have ({', '.join(unknown)}), though"
            f" this version has newer ones (up to {newest}): another build used the database; run that build"
        )
    changed = [name for name, text in files.items() if ran.get(name) not in (None, hashlib.sha256(text).hexdigest())]
    if changed:
        raise ConfigError(
            f"the database of {service} ran other contents of {', '.join(changed)} than this version has: another"
            " build used the database; run that build, or start with an empty data folder"
        )

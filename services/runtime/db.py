"""Db: a pool of PostgreSQL connections, transactions with a time limit, and schema migrations at start.

A service's schema is the numbered files `migrations/NNNN_name.sql` in its folder, each run once, in order, in its own
transaction. A released file is never changed or deleted, because databases have run it; a later one changes the schema.
`tests/runtime/migrations.sha256` lists them.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import resources
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from moneyprinter.errors import Unavailable
from services.runtime.config import DATABASE_TIMEOUT_SECONDS, ConfigError

Parameters = Sequence[Any] | Mapping[str, Any]


class Pool(AsyncConnectionPool[AsyncConnection[DictRow]]):
    """A pool of connections."""

    timeout_seconds = DATABASE_TIMEOUT_SECONDS
    """The default time limit of a transaction, and the limit of the wait for a connection."""


# The pool retries with growing intervals. With this limit it soon stops, and starts again at the next request for a
# connection: so a database that returns is found within a second or two, however long its outage.
RECONNECT_SECONDS = 1.0
# For each of the hosts in a connection string: after a fail-over, the first one may not answer.
CONNECT_SECONDS = 3
TIMEOUTS = {
    "statement_timeout": "10s",
    # Less than a statement may take, so that those that wait for a lock fail before those that hold it.
    "lock_timeout": "5s",
    # A service that stops in the middle of a transaction, with its connection open, holds locks that others need.
    "idle_in_transaction_session_timeout": "15s",
}
"""The time limits that the server itself enforces."""
_OUTAGES = (
    psycopg.OperationalError,
    # Of psycopg's internal errors, those with which a server that was demoted, or ended this session, answers.
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
)
PREPARE_THRESHOLD = 5
"""How often a statement is executed before it is prepared, as psycopg has it."""


@asynccontextmanager
async def open_pool(
    service: str,
    conninfo: str | Callable[[], str],
    *,
    size: int = 8,
    timeout_seconds: float = DATABASE_TIMEOUT_SECONDS,
    pooler: bool = False,
) -> AsyncIterator[Pool]:
    """Migrate the schema `service` of a database, and open a pool of up to `size` connections that use it.

    `conninfo` is libpq's, with a `passfile` and no password, or a function that returns it for each new connection.
    `timeout_seconds` is the default time limit of transactions. With `pooler`, a pooler such as PgBouncer gives each
    transaction another server connection. Raises `ConfigError` when the migrations fail, and `psycopg.Error` when the
    database is unreachable.
    """

    async def configure(connection: AsyncConnection[Any]) -> None:
        await _set_defaults(connection, service)
        await connection.commit()

    first = conninfo if isinstance(conninfo, str) else conninfo()
    pool = Pool(
        conninfo,
        connection_class=AsyncConnection[DictRow],
        kwargs={
            "row_factory": dict_row,
            "connect_timeout": CONNECT_SECONDS,
            "application_name": service,
            # A prepared statement belongs to one server connection.
            "prepare_threshold": None if pooler else PREPARE_THRESHOLD,
        },
        configure=configure,
        min_size=1,
        max_size=size,
        timeout=5.0,
        reconnect_timeout=RECONNECT_SECONDS,
        open=False,
    )
    pool.timeout_seconds = timeout_seconds
    async with await AsyncConnection.connect(first, connect_timeout=10, prepare_threshold=None) as connection:
        await _migrate(connection, service, is_role_default=pooler)
    async with pool:
        yield pool


class Transaction:
    """A transaction on a connection of a pool, within a time limit. It is an asynchronous context manager.

    Raises `Unavailable` within `timeout_seconds` when the database is unreachable, hangs, or has a full disk. With
    `single`, each statement is its own transaction, which takes one round trip instead of three.
    """

    def __init__(self, pool: Pool, timeout_seconds: float | None = None, *, single: bool = False) -> None:
        self._single = single
        self._opened: AsyncConnection[DictRow] | None = None
        self._timeout_seconds = pool.timeout_seconds if timeout_seconds is None else timeout_seconds
        self._connection = pool.connection(timeout=min(self._timeout_seconds, pool.timeout_seconds))
        self._abort: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> AsyncConnection[DictRow]:
        began = asyncio.get_running_loop().time()
        try:
            connection = await self._connection.__aenter__()
        except (PoolTimeout, psycopg.OperationalError) as failure:
            raise _to_unavailable(failure) from failure
        self._opened = connection
        if self._single:
            await connection.set_autocommit(True)
        self._abort = abort_after(connection, began + self._timeout_seconds - asyncio.get_running_loop().time())
        return connection

    async def __aexit__(self, kind: Any, failure: Any, traceback: Any) -> None:
        if self._single and self._opened is not None:
            with suppress(psycopg.Error):  # A lost connection is not used again.
                await self._opened.set_autocommit(False)
        if isinstance(failure, psycopg.errors.ReadOnlySqlTransaction) and self._opened is not None:
            # The server was demoted: the pool connects anew, to the host that accepts writes now.
            await self._opened.close()
        try:
            await self._connection.__aexit__(kind, failure, traceback)
        except _OUTAGES as lost:
            # A cancelled task ends as cancelled, whatever becomes of the connection.
            if not isinstance(failure, asyncio.CancelledError):
                raise _to_unavailable(lost) from lost
        finally:
            if self._abort is not None:
                self._abort.cancel()
        if isinstance(failure, _OUTAGES):
            raise _to_unavailable(failure) from failure


async def fetch_all(pool: Pool, query: str, parameters: Parameters = ()) -> list[DictRow]:
    """Execute a single statement and return its rows. Raises `Unavailable` as `Transaction` does."""
    async with Transaction(pool, single=True) as connection:
        return await (await connection.execute(query, parameters)).fetchall()


def abort_after(connection: AsyncConnection[Any], seconds: float) -> asyncio.TimerHandle:
    """Shut a connection's socket down after `seconds`, unless the handle is cancelled; pending statements then fail.

    A hung server closes no connection, and psycopg handles the cancellation of a task with a cancel request, which
    hangs too.
    """

    def shut_down() -> None:
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    return asyncio.get_running_loop().call_later(seconds, shut_down)


def _to_unavailable(failure: Exception) -> Unavailable:
    if isinstance(failure, psycopg.errors.DiskFull):
        # Unlike for other full stores, jobs wait for this one, because their records must not be lost.
        return Unavailable(
            "the disk is full; free some space and try again", reason="STORAGE_FULL", retry_after_seconds=10.0
        )
    return Unavailable(
        "the database cannot be reached; try again in a moment", reason="SERVICE_UNAVAILABLE", retry_after_seconds=2.0
    )


def migrations(service: str) -> dict[str, bytes]:
    """Return the migrations of a service in the order in which they run: the text by file name."""
    folder = resources.files("services") / service / "migrations"
    found = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".sql")}
    return dict(sorted(found.items()))


def _session_settings(service: str) -> list[sql.Composed]:
    """Return the settings of the sessions of a service, each as `name TO value`."""
    path = sql.SQL("search_path TO {}").format(sql.Identifier(service))
    return [path, *(sql.SQL("{} TO {}").format(sql.Identifier(name), value) for name, value in TIMEOUTS.items())]


async def _set_defaults(connection: AsyncConnection[Any], service: str) -> None:
    assignments = [sql.SQL("SET {}").format(each) for each in _session_settings(service)]
    await connection.execute(sql.SQL("; ").join(assignments))


async def _migrate(connection: AsyncConnection[Any], service: str, *, is_role_default: bool) -> None:
    """Run the migrations that the database has not run, each in a transaction of its own.

    With `is_role_default`, the settings of sessions become defaults of the role: a pooler opens sessions by itself.
    """
    files = migrations(service)
    schema = sql.Identifier(service)
    while True:
        async with connection.transaction():
            # A migration takes as long as it needs, and so does the wait for another instance's.
            await connection.execute("; ".join(f"SET LOCAL {name} TO 0" for name in TIMEOUTS))
            # One replica at a time; the lock ends with the transaction, which may be all that a pooler keeps together.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"migrate {service}",))
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            await connection.execute(sql.SQL("SET search_path TO {}").format(schema))
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, sha256 text NOT NULL,"
                " run_at timestamptz NOT NULL DEFAULT now())"
            )
            rows = await (await connection.execute("SELECT name, sha256 FROM migrations")).fetchall()
            ran: dict[str, str] = dict(rows)
            _check_history(service, files, ran)
            name = next((name for name in files if name not in ran), None)
            if name is None:
                await _set_defaults(connection, service)
                if is_role_default:
                    await _set_role_defaults(connection, service)
                return
            await _run_migration(connection, service, name, files[name])


async def _run_migration(connection: AsyncConnection[Any], service: str, name: str, text: bytes) -> None:
    try:
        await connection.execute(text)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as failure:
        raise ConfigError(
            f"the database of {service} cannot be brought up to date: its migration {name} failed"
            f" ({str(failure).splitlines()[0]}); nothing of it was kept. The schema was changed by something else:"
            " restore the database from a backup, or start with an empty data folder"
        ) from None
    await connection.execute(
        "INSERT INTO migrations (name, sha256) VALUES (%s, %s)", (name, hashlib.sha256(text).hexdigest())
    )


async def _set_role_defaults(connection: AsyncConnection[Any], service: str) -> None:
    found = await (await connection.execute("SELECT current_database(), current_user")).fetchone()
    assert found is not None
    database, role = map(sql.Identifier, found)
    for assignment in _session_settings(service):
        await connection.execute(sql.SQL("ALTER ROLE {} IN DATABASE {} SET {}").format(role, database, assignment))


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

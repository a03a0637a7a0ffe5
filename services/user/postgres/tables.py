"""Tables: what the parts of the store share: transactions, rows, and how an account is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import PoolTimeout

from moneyprinter.errors import Unavailable
from services.runtime.db import Pool
from services.user.accounts import Account, Profile

Connection = AsyncConnection[DictRow]

ACCOUNTS = (
    "SELECT a.*, EXISTS (SELECT 1 FROM totp_factors f WHERE f.account_id = a.id AND f.confirmed) AS mfa FROM accounts a"
)

# Of an invitation `i`: it can be used.
GOOD_INVITATION = (
    "i.expire_time > %s AND EXISTS (SELECT 1 FROM accounts c WHERE c.id = i.creator_id"
    " AND c.disable_time IS NULL AND 'user.admin' = ANY (c.roles))"
)

# How many rows that have expired one request clears away.
CLEAR_AT_MOST = 100


class Tables:
    """A part of the store, on a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        """A transaction, which is committed when the context closes without an error."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError) as failure:
            raise Unavailable(
                "the database of the accounts does not answer; try again", reason="SERVICE_UNAVAILABLE"
            ) from failure

    async def _row(self, query: str, *values: object) -> DictRow | None:
        """The first row of a query."""
        async with self._transaction() as connection:
            return await row(connection, query, *values)

    async def _rows(self, query: str, *values: object) -> list[DictRow]:
        """The rows of a query."""
        async with self._transaction() as connection:
            return await rows(connection, query, *values)

    async def _changed(self, query: str, *values: object) -> int:
        """How many rows a statement changed."""
        async with self._transaction() as connection:
            return await changed(connection, query, *values)


async def row(connection: Connection, query: str, *values: object) -> DictRow | None:
    """The first row of a query in a transaction."""
    return await (await connection.execute(query, values)).fetchone()


async def rows(connection: Connection, query: str, *values: object) -> list[DictRow]:
    """The rows of a query in a transaction."""
    return await (await connection.execute(query, values)).fetchall()


async def changed(connection: Connection, query: str, *values: object) -> int:
    """How many rows a statement in a transaction changed."""
    return (await connection.execute(query, values)).rowcount


async def clear_expired(connection: Connection, table: str, key: str, now: datetime) -> None:
    """Remove some rows that have expired; what another instance removes just now is left to it."""
    await connection.execute(
        f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE expire_time <= %s"  # noqa: S608
        f" LIMIT {CLEAR_AT_MOST} FOR UPDATE SKIP LOCKED)",
        (now,),
    )


async def account(connection: Connection, account_id: str) -> Account | None:
    """An account, in a transaction."""
    found = await row(connection, f"{ACCOUNTS} WHERE a.id = %s", account_id)
    return account_of(found) if found else None


def account_of(found: Any) -> Account:
    """The account of a row."""
    return Account(
        id=found["id"],
        username=found["username"],
        password_hash=found["password_hash"],
        roles=tuple(found["roles"]),
        create_time=found["create_time"],
        profile=Profile(found["display_name"], found["email"], found["locale"]),
        disable_time=found["disable_time"],
        mfa=found["mfa"],
    )

"""Queries: transactions, queries and the reading of accounts, which all stores share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from services.runtime.db import Pool, Transaction
from services.user.accounts.model import Account, Profile

Connection = AsyncConnection[DictRow]

ACCOUNTS = (
    "SELECT a.*, EXISTS (SELECT 1 FROM totp_factors f WHERE f.account_id = a.id AND f.confirmed) AS mfa FROM accounts a"
)

# The condition that an invitation `i` is valid now.
VALID_INVITATION = (
    "i.expire_time > %s AND EXISTS (SELECT 1 FROM accounts c WHERE c.id = i.creator_id"
    " AND c.disable_time IS NULL AND 'user.admin' = ANY (c.roles))"
)

# How many expired rows one request removes.
MAX_EXPIRED_ROWS = 100


class PostgresStore:
    """The base of the stores, on a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def _transaction(self) -> Transaction:
        """Return a transaction, which is committed when its context closes without an error."""
        return Transaction(self._pool)

    async def _fetch_row(self, query: str, *values: object) -> DictRow | None:
        """Return the first row of a query."""
        async with self._transaction() as connection:
            return await fetch_row(connection, query, *values)

    async def _fetch_rows(self, query: str, *values: object) -> list[DictRow]:
        """Return the rows of a query."""
        async with self._transaction() as connection:
            return await fetch_rows(connection, query, *values)

    async def _execute(self, query: str, *values: object) -> int:
        """Execute a statement and return how many rows it changed."""
        async with self._transaction() as connection:
            return await execute(connection, query, *values)


async def fetch_row(connection: Connection, query: str, *values: object) -> DictRow | None:
    """Return the first row of a query in a transaction."""
    return await (await connection.execute(query, values)).fetchone()


async def fetch_rows(connection: Connection, query: str, *values: object) -> list[DictRow]:
    """Return the rows of a query in a transaction."""
    return await (await connection.execute(query, values)).fetchall()


async def execute(connection: Connection, query: str, *values: object) -> int:
    """Execute a statement in a transaction and return how many rows it changed."""
    return (await connection.execute(query, values)).rowcount


async def delete_expired(connection: Connection, table: str, key: str, now: datetime) -> None:
    """Delete some expired rows, without those that another instance is deleting."""
    await connection.execute(
        f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE expire_time <= %s"  # noqa: S608
        f" LIMIT {MAX_EXPIRED_ROWS} FOR UPDATE SKIP LOCKED)",
        (now,),
    )


async def find_account(connection: Connection, account_id: str) -> Account | None:
    """Return an account, in a transaction."""
    found = await fetch_row(connection, f"{ACCOUNTS} WHERE a.id = %s", account_id)
    return read_account(found) if found else None


def read_account(found: Any) -> Account:
    """Return the account of a row."""
    return Account(
        id=found["id"],
        username=found["username"],
        password_hash=found["password_hash"],
        roles=tuple(found["roles"]),
        create_time=found["create_time"],
        profile=Profile(found["display_name"], found["email"], found["locale"]),
        disable_time=found["disable_time"],
        mfa_enabled=found["mfa"],
    )

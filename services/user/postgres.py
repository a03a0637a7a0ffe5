"""Postgres: accounts, their refresh tokens and the attempts to sign in, for all replicas alike."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import PoolTimeout

from moneyprinter.errors import Unavailable
from services.runtime.db import Pool
from services.user.accounts import Account, RefreshToken, Throttle

log = structlog.get_logger()


class PostgresAccounts:
    """An AccountStore on a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""
        async with self._transaction() as connection:
            await connection.execute("SELECT 1")

    async def empty(self) -> bool:
        """Whether there is no account."""
        async with self._transaction() as connection:
            return await _row(connection, "SELECT 1 FROM accounts LIMIT 1") is None

    async def add_first(self, account: Account, now: datetime) -> bool:
        """Add an account if there is none."""
        async with self._transaction() as connection:
            # One replica at a time; it ends with the transaction.
            await connection.execute("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE")
            added = await connection.execute(
                "INSERT INTO accounts (id, username, password_hash, roles, create_time)"
                " SELECT %s, %s, %s, %s, %s WHERE NOT EXISTS (SELECT 1 FROM accounts)",
                (account.id, account.username, account.password_hash, list(account.roles), now),
            )
            return added.rowcount == 1

    async def named(self, username: str) -> Account | None:
        """The account of a name."""
        # PostgreSQL takes no such text, and therefore has none.
        if "\0" in username:
            return None
        async with self._transaction() as connection:
            row = await _row(connection, "SELECT * FROM accounts WHERE username = %s", username)
            return _account(row) if row else None

    async def attempt(self, username: str, throttle: Throttle, now: datetime) -> timedelta | None:
        """Note an attempt, or say how long to wait."""
        name = _name(username)
        async with self._transaction() as connection:
            # Those of other names that nobody tried for long; what another replica removes is left to it.
            await connection.execute(
                "DELETE FROM sign_in_attempts WHERE name_sha256 IN (SELECT name_sha256 FROM sign_in_attempts"
                " WHERE expire_time <= %s AND name_sha256 <> %s LIMIT 100 FOR UPDATE SKIP LOCKED)",
                (now, name),
            )
        async with self._transaction() as connection:
            await connection.execute(
                "INSERT INTO sign_in_attempts (name_sha256, times, expire_time) VALUES (%s, '{}', %s)"
                " ON CONFLICT DO NOTHING",
                (name, now + throttle.window),
            )
            row = await _row(connection, "SELECT times FROM sign_in_attempts WHERE name_sha256 = %s FOR UPDATE", name)
            times, wait = throttle.admit(row["times"] if row else [], now)
            await connection.execute(
                "UPDATE sign_in_attempts SET times = %s, expire_time = %s WHERE name_sha256 = %s",
                (times, times[-1] + throttle.window, name),
            )
            return wait

    async def forget_attempts(self, username: str) -> None:
        """Forget the attempts of a name."""
        async with self._transaction() as connection:
            await connection.execute("DELETE FROM sign_in_attempts WHERE name_sha256 = %s", (_name(username),))

    async def begin(self, account_id: str, family: str, token: RefreshToken, now: datetime) -> None:
        """Keep a first token."""
        async with self._transaction() as connection:
            await connection.execute("DELETE FROM refresh_tokens WHERE expire_time <= %s", (now,))
            await _add(connection, account_id, family, token)

    async def rotate(self, sha256: bytes, successor: RefreshToken, now: datetime) -> Account | None:
        """Replace a token."""
        async with self._transaction() as connection:
            # The lock makes the second of two uses at once wait, and see that the first was made.
            kept = await _row(
                connection,
                "SELECT family, account_id, use_time FROM refresh_tokens WHERE sha256 = %s AND expire_time > %s"
                " FOR UPDATE",
                sha256,
                now,
            )
            if kept is None:
                return None
            if kept["use_time"] is not None:
                await connection.execute("DELETE FROM refresh_tokens WHERE family = %s", (kept["family"],))
                log.warning("refresh token used twice", account_id=kept["account_id"])
                return None
            await connection.execute("UPDATE refresh_tokens SET use_time = %s WHERE sha256 = %s", (now, sha256))
            await _add(connection, kept["account_id"], kept["family"], successor)
            row = await _row(connection, "SELECT * FROM accounts WHERE id = %s", kept["account_id"])
            return _account(row) if row else None

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError) as failure:
            raise Unavailable(
                "the database of the accounts does not answer; try again", reason="SERVICE_UNAVAILABLE"
            ) from failure


async def _row(connection: AsyncConnection[DictRow], query: str, *values: object) -> DictRow | None:
    return await (await connection.execute(query, values)).fetchone()


async def _add(connection: AsyncConnection[DictRow], account_id: str, family: str, token: RefreshToken) -> None:
    await connection.execute(
        "INSERT INTO refresh_tokens (sha256, family, account_id, expire_time) VALUES (%s, %s, %s, %s)",
        (token.sha256, family, account_id, token.expire_time),
    )


def _account(row: DictRow) -> Account:
    return Account(row["id"], row["username"], row["password_hash"], tuple(row["roles"]))


def _name(username: str) -> bytes:
    return hashlib.sha256(username.encode()).digest()

"""Throttling in PostgreSQL: the times of attempts, by the hash of their counter."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from psycopg.rows import DictRow

from services.user.authentication.throttling import AttemptLimit
from services.user.postgres.queries import PostgresStore, delete_expired, fetch_row


class PostgresAttemptStore(PostgresStore):
    """An AttemptStore."""

    async def begin(self, counter: str, limit: AttemptLimit, now: datetime) -> timedelta | None:
        digest = _digest(counter)
        async with self._transaction() as connection:
            await delete_expired(connection, "sign_in_attempts", "key_sha256", now)
        async with self._transaction() as connection:
            found = await fetch_row(
                connection,
                # The same statement inserts or finds the row, and locks it.
                "INSERT INTO sign_in_attempts (key_sha256, times, expire_time) VALUES (%s, '{}', %s)"
                " ON CONFLICT (key_sha256) DO UPDATE SET key_sha256 = excluded.key_sha256 RETURNING times",
                *(digest, limit.expire_time([now])),
            )
            times, delay = limit.admit(_times(found), now)
            await connection.execute(
                "UPDATE sign_in_attempts SET times = %s, expire_time = %s WHERE key_sha256 = %s",
                (times, limit.expire_time(times), digest),
            )
            return delay

    async def withdraw(self, counter: str, time: datetime) -> None:
        digest = _digest(counter)
        async with self._transaction() as connection:
            times = _times(
                await fetch_row(
                    connection, "SELECT times FROM sign_in_attempts WHERE key_sha256 = %s FOR UPDATE", digest
                )
            )
            if time in times:
                times.remove(time)
                await connection.execute(
                    "UPDATE sign_in_attempts SET times = %s WHERE key_sha256 = %s", (times, digest)
                )

    async def clear(self, counter: str) -> None:
        await self._execute("DELETE FROM sign_in_attempts WHERE key_sha256 = %s", _digest(counter))

    async def retry_delay(self, counter: str, limit: AttemptLimit, now: datetime) -> timedelta | None:
        found = await self._fetch_row("SELECT times FROM sign_in_attempts WHERE key_sha256 = %s", _digest(counter))
        return limit.retry_delay(_times(found), now)


def _digest(counter: str) -> bytes:
    return hashlib.sha256(counter.encode()).digest()


def _times(found: DictRow | None) -> list[datetime]:
    return list(found["times"]) if found else []

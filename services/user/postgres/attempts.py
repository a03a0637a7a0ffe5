"""Attempts in PostgreSQL, by the hash of their key."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from psycopg.rows import DictRow

from services.user.attempts import Throttle
from services.user.postgres.tables import Tables, clear_expired, row


class PostgresAttempts(Tables):
    """An AttemptStore."""

    async def begin(self, key: str, throttle: Throttle, now: datetime) -> timedelta | None:
        digest = _digest(key)
        async with self._transaction() as connection:
            await clear_expired(connection, "sign_in_attempts", "key_sha256", now)
        async with self._transaction() as connection:
            found = await row(
                connection,
                # The row, made or found, is locked by the same statement.
                "INSERT INTO sign_in_attempts (key_sha256, times, expire_time) VALUES (%s, '{}', %s)"
                " ON CONFLICT (key_sha256) DO UPDATE SET key_sha256 = excluded.key_sha256 RETURNING times",
                *(digest, throttle.keep_until([now])),
            )
            times, wait = throttle.admit(_times(found), now)
            await connection.execute(
                "UPDATE sign_in_attempts SET times = %s, expire_time = %s WHERE key_sha256 = %s",
                (times, throttle.keep_until(times), digest),
            )
            return wait

    async def withdraw(self, key: str, time: datetime) -> None:
        digest = _digest(key)
        async with self._transaction() as connection:
            times = _times(
                await row(connection, "SELECT times FROM sign_in_attempts WHERE key_sha256 = %s FOR UPDATE", digest)
            )
            if time in times:
                times.remove(time)
                await connection.execute(
                    "UPDATE sign_in_attempts SET times = %s WHERE key_sha256 = %s", (times, digest)
                )

    async def forget(self, key: str) -> None:
        await self._changed("DELETE FROM sign_in_attempts WHERE key_sha256 = %s", _digest(key))

    async def wait(self, key: str, throttle: Throttle, now: datetime) -> timedelta | None:
        found = await self._row("SELECT times FROM sign_in_attempts WHERE key_sha256 = %s", _digest(key))
        return throttle.wait(_times(found), now)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _times(found: DictRow | None) -> list[datetime]:
    return list(found["times"]) if found else []

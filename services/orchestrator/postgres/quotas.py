"""The use of accounts in PostgreSQL. Checks of one account wait for each other on its row of `usage`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from services.orchestrator.jobs.model import Job
from services.orchestrator.postgres.rows import Transaction, fetched
from services.orchestrator.videos import quotas
from services.orchestrator.videos.quotas import Quotas, Usage
from services.orchestrator.videos.requests import expected_length
from services.runtime.db import Pool

# Longer than an upload may take.
RESERVED = timedelta(hours=2)
DAY = timedelta(days=1)

_USED = """
    SELECT coalesce(usage.bytes, 0) AS bytes, coalesce(usage.files, 0) AS files, asked.minutes, asked.fetched_bytes,
        (SELECT count(*) FROM jobs WHERE user_id = %(user_id)s AND status = 'processing') AS jobs
    FROM (
        SELECT coalesce(sum(seconds), 0) / 60 AS minutes, coalesce(sum(fetched_bytes), 0)::bigint AS fetched_bytes
        FROM asked_videos WHERE user_id = %(user_id)s AND create_time > %(day)s
    ) AS asked LEFT JOIN usage ON usage.user_id = %(user_id)s
"""
_LOCK = """
    INSERT INTO usage (user_id) VALUES (%s) ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id
    RETURNING bytes, files
"""
_UNDER_WAY = """
    SELECT coalesce(sum(bytes), 0)::bigint AS bytes, count(*) AS files FROM reservations
    WHERE user_id = %s AND id <> %s AND expire_time > %s
"""
_RESERVE = """
    INSERT INTO reservations (id, user_id, bytes, expire_time) VALUES (%s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes
"""


class PostgresUsage:
    """What all accounts use (`quotas.UsageStore`)."""

    def __init__(self, pool: Pool, limits: Quotas, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pool = pool
        self._limits = limits
        self._now = now

    async def usage(self, user_id: str) -> Usage:
        (row,) = await fetched(self._pool, _USED, {"user_id": user_id, "day": self._now() - DAY})
        return Usage(**row)

    async def reserve(self, user_id: str, asset_id: str, size_bytes: int) -> None:
        now = self._now()
        async with Transaction(self._pool) as connection:
            (used,) = await (await connection.execute(_LOCK, (user_id,))).fetchall()
            (others,) = await (await connection.execute(_UNDER_WAY, (user_id, asset_id, now))).fetchall()
            quotas.check_upload(
                self._limits, used["bytes"] + others["bytes"], used["files"] + others["files"], size_bytes
            )
            await connection.execute(_RESERVE, (asset_id, user_id, size_bytes, now + RESERVED))

    async def release(self, asset_id: str) -> None:
        async with Transaction(self._pool, single=True) as connection:
            await connection.execute(
                "DELETE FROM reservations WHERE id = %s OR expire_time < %s", (asset_id, self._now())
            )


async def admit(connection: AsyncConnection[DictRow], job: Job, limits: Quotas, now: datetime) -> None:
    """Let a new job begin, in the transaction that records it. Raises ResourceExhausted when a quota is used up."""
    seconds = expected_length(job.request)
    await _check(connection, job, limits, now, seconds)
    await connection.execute(
        "DELETE FROM asked_videos WHERE user_id = %s AND create_time <= %s", (job.user_id, now - DAY)
    )
    await connection.execute(
        "INSERT INTO asked_videos (job_id, user_id, seconds, create_time) VALUES (%s, %s, %s, %s)",
        (job.id, job.user_id, seconds, now),
    )


async def admit_again(connection: AsyncConnection[DictRow], job: Job, limits: Quotas, now: datetime) -> None:
    """Let a job begin again, whose minutes were counted before. Raises ResourceExhausted when a quota is used up."""
    await _check(connection, job, limits, now, 0.0)


async def fetch(connection: AsyncConnection[DictRow], job: Job, size_bytes: int) -> None:
    """Record that bytes were fetched from another host for a job."""
    await connection.execute(
        "UPDATE asked_videos SET fetched_bytes = fetched_bytes + %s WHERE job_id = %s", (size_bytes, job.id)
    )


async def measured(connection: AsyncConnection[DictRow], job: Job, seconds: float) -> None:
    """Record how long a finished video is."""
    await connection.execute("UPDATE asked_videos SET seconds = %s WHERE job_id = %s", (seconds, job.id))


async def _check(
    connection: AsyncConnection[DictRow], job: Job, limits: Quotas, now: datetime, more_seconds: float
) -> None:
    await connection.execute(_LOCK, (job.user_id,))
    cursor = await connection.execute(_USED, {"user_id": job.user_id, "day": now - DAY})
    (row,) = await cursor.fetchall()
    quotas.check_job(limits, Usage(**row), more_seconds / 60)

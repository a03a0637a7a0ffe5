"""The usage of accounts in PostgreSQL. Checks of one account run one after another, under an advisory lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from services.orchestrator.jobs.model import Job
from services.orchestrator.videos import quotas
from services.orchestrator.videos.quotas import Quotas, Usage
from services.orchestrator.videos.requests import expected_video_seconds
from services.runtime.db import Pool, Transaction, fetch_all

# Longer than an upload may take.
RESERVATION_TIME = timedelta(hours=2)
DAY = timedelta(days=1)
# Longer than a month, which is what limits count.
COST_TIME = timedelta(days=62)

_USED = """
    SELECT coalesce(usage.bytes, 0) AS bytes, coalesce(usage.files, 0) AS files, asked.minutes, asked.fetched_bytes,
        (SELECT count(*) FROM jobs WHERE user_id = %(user_id)s AND status = 'processing') AS jobs,
        (SELECT coalesce(sum(greatest(reserved, spent)), 0) FROM costs
         WHERE user_id = %(user_id)s AND create_time >= %(month)s) AS cost,
        (SELECT month FROM cost_limits WHERE user_id = %(user_id)s) AS max_cost
    FROM (
        SELECT coalesce(sum(seconds), 0) / 60 AS minutes, coalesce(sum(fetched_bytes), 0)::bigint AS fetched_bytes
        FROM requested_videos WHERE user_id = %(user_id)s AND create_time > %(day)s
    ) AS asked LEFT JOIN usage ON usage.user_id = %(user_id)s
"""
# Held until the transaction ends. A lock of its own, since one on the row of `usage` would write that row.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_RESERVED = """
    SELECT
        coalesce((SELECT bytes FROM usage WHERE user_id = %(user_id)s), 0) + coalesce(sum(bytes), 0)::bigint AS bytes,
        coalesce((SELECT files FROM usage WHERE user_id = %(user_id)s), 0) + count(*) AS files
    FROM reservations WHERE user_id = %(user_id)s AND id <> %(id)s AND expire_time > %(now)s
"""
_RESERVE = """
    INSERT INTO reservations (id, user_id, bytes, expire_time) VALUES (%s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes
"""


class PostgresUsage:
    """Implements `UsageStore`."""

    def __init__(self, pool: Pool, limits: Quotas, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pool = pool
        self._limits = limits
        self._now = now

    async def get_usage(self, user_id: str) -> Usage:
        (row,) = await fetch_all(self._pool, _USED, {"user_id": user_id, **_begins(self._now())})
        return Usage(**row)

    async def reserve(self, user_id: str, asset_id: str, size_bytes: int) -> None:
        now = self._now()
        async with Transaction(self._pool) as connection:
            (used,) = await _lock_and_read(connection, user_id, _RESERVED, {"id": asset_id, "now": now})
            quotas.check_upload(self._limits, used["bytes"], used["files"], size_bytes)
            await connection.execute(_RESERVE, (asset_id, user_id, size_bytes, now + RESERVATION_TIME))

    async def release(self, asset_id: str) -> None:
        async with Transaction(self._pool, single=True) as connection:
            await connection.execute(
                "DELETE FROM reservations WHERE id = %s OR expire_time < %s", (asset_id, self._now())
            )

    async def reserve_call(self, user_id: str, call_id: str, cost: float) -> float | None:
        now = self._now()
        async with Transaction(self._pool) as connection:
            (row,) = await _lock_and_read(connection, user_id, _USED, _begins(now))
            usage = Usage(**row)
            if quotas.max_month_cost(self._limits, usage) is None:
                return None
            left = quotas.reserve_cost(self._limits, usage)
            if left:
                await connection.execute(
                    "INSERT INTO costs (job_id, user_id, reserved, create_time) VALUES (%s, %s, %s, %s)",
                    (call_id, user_id, min(left, cost), now),
                )
            return left

    async def record_call(self, user_id: str, call_id: str, cost: float) -> None:
        now = self._now()
        async with Transaction(self._pool, single=True) as connection:
            if cost:
                await connection.execute(_RECORD_CALL, (call_id, user_id, cost, now))
            else:
                await connection.execute("DELETE FROM costs WHERE job_id = %s AND user_id = %s", (call_id, user_id))

    async def set_cost_limit(self, user_id: str, max_cost: float | None) -> None:
        async with Transaction(self._pool, single=True) as connection:
            if max_cost is None:
                await connection.execute("DELETE FROM cost_limits WHERE user_id = %s", (user_id,))
                return
            await connection.execute(
                "INSERT INTO cost_limits (user_id, month) VALUES (%s, %s)"
                " ON CONFLICT (user_id) DO UPDATE SET month = excluded.month",
                (user_id, max_cost),
            )


_RECORD_CALL = """
    INSERT INTO costs AS known (job_id, user_id, spent, create_time) VALUES (%s, %s, %s, %s)
    ON CONFLICT (job_id) DO UPDATE SET reserved = 0, spent = excluded.spent WHERE known.user_id = excluded.user_id
"""


async def check(connection: AsyncConnection[DictRow], job: Job, limits: Quotas, now: datetime) -> Job:
    """Check the quotas of a new job's account, in the transaction that records the job.

    Returns the job with what it may cost, which is reserved. Raises ResourceExhausted when a quota is used up.
    """
    usage = await _check(connection, job, limits, now, expected_video_seconds(job.request))
    max_cost = quotas.reserve_cost(limits, usage) if usage else None
    if max_cost is None:
        return job
    if max_cost:
        await connection.execute(
            "INSERT INTO costs (job_id, user_id, reserved, create_time) VALUES (%s, %s, %s, %s)",
            (job.id, job.user_id, max_cost, now),
        )
    return replace(job, request=replace(job.request, max_cost=max_cost))


async def record_cost(connection: AsyncConnection[DictRow], job: Job, cost: float, now: datetime) -> None:
    """Record what providers charged for a step of a job."""
    await connection.execute(
        "INSERT INTO costs AS known (job_id, user_id, spent, create_time) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (job_id) DO UPDATE SET spent = known.spent + excluded.spent",
        (job.id, job.user_id, cost, now),
    )


async def release_cost(connection: AsyncConnection[DictRow], job: Job) -> None:
    """Release what an ended job has reserved and not spent."""
    if job.request.max_cost:
        await connection.execute("UPDATE costs SET reserved = 0 WHERE job_id = %s", (job.id,))


async def check_retry(connection: AsyncConnection[DictRow], job: Job, limits: Quotas, now: datetime) -> None:
    """Check the quotas of the account of a job that is retried, whose minutes were counted before.

    Raises ResourceExhausted when a quota is used up.
    """
    usage = await _check(connection, job, limits, now, 0.0)
    if job.request.max_cost and usage:
        quotas.reserve_cost(limits, usage)
        await connection.execute("UPDATE costs SET reserved = %s WHERE job_id = %s", (job.request.max_cost, job.id))


async def record_fetch(connection: AsyncConnection[DictRow], job: Job, size_bytes: int) -> None:
    """Record that bytes were fetched from another host for a job."""
    await connection.execute(
        "UPDATE requested_videos SET fetched_bytes = fetched_bytes + %s WHERE job_id = %s", (size_bytes, job.id)
    )


async def delete_expired(connection: AsyncConnection[DictRow], now: datetime) -> None:
    """Delete what no quota counts any more: videos requested more than a day ago, and reservations that expired."""
    await connection.execute("DELETE FROM requested_videos WHERE create_time <= %s", (now - DAY,))
    await connection.execute("DELETE FROM reservations WHERE expire_time <= %s", (now,))
    await connection.execute("DELETE FROM costs WHERE create_time < %s AND reserved = 0", (now - COST_TIME,))


async def record_length(connection: AsyncConnection[DictRow], job: Job, seconds: float) -> None:
    """Record the length of a finished video in seconds."""
    await connection.execute("UPDATE requested_videos SET seconds = %s WHERE job_id = %s", (seconds, job.id))


async def _check(
    connection: AsyncConnection[DictRow], job: Job, limits: Quotas, now: datetime, more_seconds: float
) -> Usage | None:
    """Check all quotas but the cost. Returns the usage; None when nothing is limited."""
    if limits is quotas.UNLIMITED:
        return None
    (row,) = await _lock_and_read(connection, job.user_id, _USED, _begins(now))
    usage = Usage(**row)
    quotas.check_job(limits, usage, more_seconds / 60)
    return usage


def _begins(now: datetime) -> dict[str, datetime]:
    """The times at which the counted day and month begin."""
    month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return {"day": now - DAY, "month": month}


async def _lock_and_read(
    connection: AsyncConnection[DictRow], user_id: str, query: str, parameters: Mapping[str, Any]
) -> list[DictRow]:
    """Lock an account's usage until the transaction ends, and read it.

    Two statements, since one would read what was committed before it waited for the lock.
    """
    await connection.execute(_LOCK, (user_id,))
    return await (await connection.execute(query, {"user_id": user_id, **parameters})).fetchall()

"""Ended: what PostgreSQL knows of jobs that ended and are not done with, and of requests that were answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from services.orchestrator.jobs import idempotency
from services.orchestrator.jobs.cleanup import Remove
from services.orchestrator.jobs.estimates import Lately, PastJob, Waiting
from services.orchestrator.jobs.idempotency import IdempotencyKey
from services.orchestrator.jobs.model import PRIORITIES, Job
from services.orchestrator.postgres import quotas, rows
from services.orchestrator.postgres.rows import Transaction
from services.runtime.db import Pool

# So many jobs say how long the next ones take.
REMEMBERED = 200

# The sweeper waits for the store of files as well; nobody waits for it.
SWEEP_SECONDS = 30.0


class PostgresLeftovers:
    """Jobs that have files to be removed."""

    def __init__(self, pool: Pool, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pool = pool
        self._now = now

    async def sweep(self, remove: Remove) -> bool:
        # Whoever wants to go on with the job meanwhile waits for the row.
        async with Transaction(self._pool, SWEEP_SECONDS) as connection:
            cursor = await connection.execute(
                "SELECT * FROM jobs WHERE sweep_time <= %s ORDER BY sweep_time LIMIT 1 FOR UPDATE SKIP LOCKED",
                (self._now(),),
            )
            row = await cursor.fetchone()
            if row is None:
                await connection.execute(
                    "DELETE FROM request_keys WHERE create_time <= %s", (self._now() - idempotency.KEEP,)
                )
                await quotas.forget(connection, self._now())
                return False
            job, deleted = rows.job(row), row["delete_time"] is not None
            await remove(job, deleted)
            if deleted:
                await connection.execute("DELETE FROM jobs WHERE id = %s", (job.id,))
                return True
            await connection.execute("UPDATE jobs SET sweep_time = NULL WHERE id = %s", (job.id,))
            if job.result is None:
                # Should it be retried, the steps that made the files run again.
                await connection.execute(
                    "DELETE FROM steps WHERE job_id = %s AND position(%s IN result::text) > 0",
                    (job.id, f'"{job.folder}/'),
                )
        return True


class PostgresPast:
    """What is known of all users' jobs (`estimates.Past`)."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def lately(self) -> Lately:
        async with Transaction(self._pool) as connection:
            cursor = await connection.execute(
                "SELECT request ->> 'quality' AS quality, work_seconds,"
                " extract(epoch FROM end_time - start_time)::float AS took FROM jobs WHERE status = 'completed'"
                " AND work_seconds > 0 AND start_time IS NOT NULL ORDER BY end_time DESC LIMIT %s",
                (REMEMBERED,),
            )
            past = [PastJob(row["quality"], row["work_seconds"], row["took"]) for row in await cursor.fetchall()]
            cursor = await connection.execute(
                "SELECT priority, user_id, count(*) AS jobs, sum(work_seconds) AS work_seconds FROM jobs"
                " WHERE status = 'processing' AND attempt = base_attempt GROUP BY priority, user_id"
            )
            others: dict[str, dict[str, Waiting]] = defaultdict(dict)
            for row in await cursor.fetchall():
                others[PRIORITIES[row["priority"]]][row["user_id"]] = Waiting(row["jobs"], row["work_seconds"])
            waiting = others.pop("normal", {})
            cursor = await connection.execute(
                "SELECT count(*) AS running FROM jobs WHERE status = 'processing' AND attempt > base_attempt"
            )
            (now,) = await cursor.fetchall()
        return Lately(past, waiting, now["running"], dict(others))


async def known(connection: AsyncConnection[DictRow], job: Job, key: IdempotencyKey) -> Job | None:
    """The job that a request with this key was given; None when there was none, and this job is noted to be it."""
    # Of two at once, the second one waits here until the first is committed.
    cursor = await connection.execute(
        "INSERT INTO request_keys AS known (user_id, key, request_sha256, job_id, estimated_completion, create_time)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (user_id, key) DO UPDATE SET"
        " request_sha256 = excluded.request_sha256, job_id = excluded.job_id,"
        " estimated_completion = excluded.estimated_completion, create_time = excluded.create_time"
        " WHERE known.create_time <= %s",
        (
            job.user_id,
            key.key,
            key.request_sha256,
            job.id,
            job.estimated_completion,
            job.create_time,
            job.create_time - idempotency.KEEP,
        ),
    )
    if cursor.rowcount == 1:
        return None
    cursor = await connection.execute(
        "SELECT * FROM request_keys WHERE user_id = %s AND key = %s", (job.user_id, key.key)
    )
    (row,) = await cursor.fetchall()
    key.check(row["request_sha256"])
    return replace(job, id=row["job_id"], estimated_completion=row["estimated_completion"])

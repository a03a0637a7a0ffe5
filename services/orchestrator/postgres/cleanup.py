"""The cleanup queue in PostgreSQL: jobs whose `sweep_time` has come (`jobs/cleanup.py`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from services.orchestrator.jobs import idempotency
from services.orchestrator.jobs.cleanup import RemoveFiles
from services.orchestrator.postgres import quotas, rows
from services.runtime.db import Pool, Transaction

# The transaction also waits for the storage service. It is a background task: no client waits for it.
CLEANUP_SECONDS = 30.0


class PostgresCleanupQueue:
    """Implements `CleanupQueue`."""

    def __init__(self, pool: Pool, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pool = pool
        self._now = now

    async def clean_next(self, remove_files: RemoveFiles) -> bool:
        # The row stays locked meanwhile: a retry of the job waits until its files are removed.
        async with Transaction(self._pool, CLEANUP_SECONDS) as connection:
            cursor = await connection.execute(
                "SELECT * FROM jobs WHERE sweep_time <= %s ORDER BY sweep_time LIMIT 1 FOR UPDATE SKIP LOCKED",
                (self._now(),),
            )
            row = await cursor.fetchone()
            if row is None:
                await connection.execute(
                    "DELETE FROM request_keys WHERE create_time <= %s", (self._now() - idempotency.KEY_RETENTION,)
                )
                await quotas.delete_expired(connection, self._now())
                return False
            job, deleted = rows.job(row), row["delete_time"] is not None
            await remove_files(job, deleted)
            if deleted:
                await connection.execute("DELETE FROM jobs WHERE id = %s", (job.id,))
                return True
            await connection.execute("UPDATE jobs SET sweep_time = NULL WHERE id = %s", (job.id,))
            if job.result is None:
                # If the job is retried, the steps that made the removed files run again.
                await connection.execute(
                    "DELETE FROM steps WHERE job_id = %s AND position(%s IN result::text) > 0",
                    (job.id, f'"{job.folder}/'),
                )
        return True

"""Idempotency keys in PostgreSQL (`jobs/idempotency.py`)."""

from __future__ import annotations

from dataclasses import replace

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from services.orchestrator.jobs.idempotency import KEY_RETENTION, IdempotencyKey
from services.orchestrator.jobs.model import Job


async def find_or_record(connection: AsyncConnection[DictRow], job: Job, key: IdempotencyKey) -> Job | None:
    """Return the job that an earlier request with this key created, as it was created.

    Returns None when there was none; then the key is recorded with `job`. Raises `Conflict` when the earlier request
    was a different one.
    """
    # Of two concurrent requests with one key, the second one waits here until the first one is committed.
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
            job.create_time - KEY_RETENTION,
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

"""What the jobs of a group share, in PostgreSQL (`jobs/versions.py`)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar

from psycopg.types.json import Jsonb

from services.orchestrator.jobs.model import Job
from services.orchestrator.postgres.rows import from_json, to_json
from services.runtime.db import Pool, Transaction, fetch_all

T = TypeVar("T")

# A claim holds while its job works on: under the same attempt, and with heartbeats.
_CLAIM = """
    INSERT INTO shared_steps AS known (group_id, name, job_id, attempt)
    VALUES (%(group_id)s, %(name)s, %(job_id)s, %(attempt)s)
    ON CONFLICT (group_id, name) DO UPDATE SET job_id = excluded.job_id, attempt = excluded.attempt
    WHERE known.result IS NULL AND (known.job_id = excluded.job_id OR NOT EXISTS (
        SELECT 1 FROM jobs WHERE id = known.job_id AND attempt = known.attempt AND status = 'processing'
        AND heartbeat_time >= %(held_since)s
    ))
"""


async def claim(pool: Pool, job: Job, name: str, kind: type[T], lease: timedelta, now: datetime) -> T | bool:
    """Return a shared result; True when the job has claimed it, False while another job makes it."""
    places = _places(job, name)
    find = "SELECT result FROM shared_steps WHERE group_id = %(group_id)s AND name = %(name)s AND result IS NOT NULL"
    if found := await fetch_all(pool, find, places):
        return from_json(kind, found[0]["result"])
    async with Transaction(pool, single=True) as connection:
        cursor = await connection.execute(_CLAIM, {**places, "held_since": now - lease})
        return cursor.rowcount == 1


async def record(pool: Pool, job: Job, name: str, kind: type[T], result: T) -> None:
    """Record a shared result, unless another job has claimed it since."""
    async with Transaction(pool, single=True) as connection:
        await connection.execute(
            "UPDATE shared_steps SET result = %(result)s WHERE group_id = %(group_id)s AND name = %(name)s"
            " AND job_id = %(job_id)s AND attempt = %(attempt)s AND result IS NULL",
            {**_places(job, name), "result": Jsonb(to_json(kind, result))},
        )


def _places(job: Job, name: str) -> dict[str, Any]:
    group_id = job.request.version.group_id if job.request.version else job.id
    return {"group_id": group_id, "name": name, "job_id": job.id, "attempt": job.attempt}

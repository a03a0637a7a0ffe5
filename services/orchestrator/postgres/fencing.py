"""Fenced updates: an attempt that was superseded changes nothing."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.store import Superseded


async def update_fenced(
    connection: AsyncConnection[DictRow], job: Job, update: str, parameters: tuple[Any, ...]
) -> None:
    """Run an update of the row of a job. Raises `Superseded` when its attempt is old, or the job has ended."""
    cursor = await connection.execute(
        f"{update} WHERE id = %s AND attempt = %s AND status = 'processing'", (*parameters, job.id, job.attempt)
    )
    if cursor.rowcount != 1:
        raise Superseded(job.id)

"""Attempts and dead letters in PostgreSQL (`jobs/dead_letters.py`)."""

from __future__ import annotations

from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from services.orchestrator.jobs.dead_letters import Attempt, DeadLetter
from services.orchestrator.jobs.model import Failure, Job
from services.orchestrator.postgres.rows import from_json, to_json
from services.runtime.db import Pool, Transaction


async def end_attempt(connection: AsyncConnection[DictRow], job: Job, outcome: str, now: datetime) -> None:
    """Record the end of the current attempt at a job, and its outcome."""
    await connection.execute(
        "UPDATE attempts SET end_time = %s, outcome = %s WHERE job_id = %s AND attempt = %s",
        (now, outcome, job.id, job.attempt),
    )


async def add_dead_letter(connection: AsyncConnection[DictRow], job: Job, failure: Failure, now: datetime) -> None:
    """Record a failed job as a dead letter, with the failure and the history of its attempts."""
    error = Jsonb(to_json(Failure, failure))
    await connection.execute(
        "UPDATE attempts SET error = %s WHERE job_id = %s AND attempt = %s", (error, job.id, job.attempt)
    )
    cursor = await connection.execute(
        "SELECT attempt, start_time, end_time, outcome, error FROM attempts WHERE job_id = %s ORDER BY attempt",
        (job.id,),
    )
    history = tuple(_attempt(row) for row in await cursor.fetchall())
    await connection.execute(
        "INSERT INTO dead_letters (job_id, attempt, user_id, title, error, history, create_time)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            job.id,
            job.attempt,
            job.user_id,
            job.request.title,
            error,
            Jsonb(to_json(tuple[Attempt, ...], history)),
            now,
        ),
    )


async def resolve_dead_letter(connection: AsyncConnection[DictRow], job_id: str, now: datetime) -> None:
    """Take a job that is retried or deleted off the list of dead letters."""
    await connection.execute(
        "UPDATE dead_letters SET retry_time = %s WHERE job_id = %s AND retry_time IS NULL", (now, job_id)
    )


class PostgresDeadLetters:
    """Implements `DeadLetters`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_dead_letters(self, user_id: str, size: int, after: tuple[datetime, str] | None) -> list[DeadLetter]:
        create_time, job_id = after or (None, None)
        async with Transaction(self._pool) as connection:
            cursor = await connection.execute(
                "SELECT * FROM dead_letters WHERE user_id = %s AND retry_time IS NULL"
                " AND (%s::timestamptz IS NULL OR (create_time, job_id) < (%s::timestamptz, %s))"
                " ORDER BY create_time DESC, job_id DESC LIMIT %s",
                (user_id, create_time, create_time, job_id, size),
            )
            return [_dead_letter(row) for row in await cursor.fetchall()]

    async def find(self, user_id: str, job_id: str) -> DeadLetter | None:
        async with Transaction(self._pool) as connection:
            cursor = await connection.execute(
                "SELECT * FROM dead_letters WHERE user_id = %s AND job_id = %s AND retry_time IS NULL",
                (user_id, job_id),
            )
            row = await cursor.fetchone()
        return _dead_letter(row) if row else None


def _attempt(row: DictRow) -> Attempt:
    return Attempt(
        number=row["attempt"],
        start_time=row["start_time"],
        end_time=row["end_time"],
        outcome=row["outcome"] or "interrupted",
        failure=from_json(Failure, row["error"]) if row["error"] else None,
    )


def _dead_letter(row: DictRow) -> DeadLetter:
    return DeadLetter(
        job_id=row["job_id"],
        title=row["title"],
        failure=from_json(Failure, row["error"]),
        create_time=row["create_time"],
        attempts=from_json(tuple[Attempt, ...], row["history"]),
    )

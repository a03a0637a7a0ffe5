"""Reviews in PostgreSQL: a job waits for its owner, is approved, or fails when the time for that is over."""

from __future__ import annotations

from datetime import UTC, datetime

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from services.orchestrator.events import messages
from services.orchestrator.jobs.model import Failure, Job, JobProgress
from services.orchestrator.jobs.scenes import Approval, Review, approval_step
from services.orchestrator.postgres import dead_letters, quotas, rows
from services.orchestrator.postgres.fencing import update_fenced
from services.orchestrator.postgres.outbox import publish_events, queue_job
from services.orchestrator.postgres.rows import from_json, to_json

# The heartbeat of a waiting job: it never looks as if its instance had died.
_NEVER_SILENT = datetime(9999, 1, 1, tzinfo=UTC)
_LONG_AGO = datetime.fromtimestamp(0, UTC)


async def begin(
    connection: AsyncConnection[DictRow],
    job: Job,
    review: Review,
    stages: dict[str, str],
    progress_details: JobProgress,
) -> None:
    """Let a job wait for a review. Raises `Superseded` when its attempt is old, or the job has ended."""
    now = review.request_time
    await update_fenced(
        connection,
        job,
        "UPDATE jobs SET review = %s, review_expire_time = %s, heartbeat_time = %s, stages = %s, progress_details = %s",
        (
            Jsonb(to_json(Review, review)),
            review.expire_time,
            _NEVER_SILENT,
            Jsonb(stages),
            Jsonb(to_json(JobProgress, progress_details)),
        ),
    )
    await dead_letters.end_attempt(connection, job, "released", now)
    events = messages.make_stage_completed_events(job, stages, progress_details.percent, now)
    await publish_events(connection, job, *events, messages.make_review_requested_event(job, review, now))


async def approve(
    connection: AsyncConnection[DictRow], job: Job, approval: Approval, estimate: datetime, now: datetime
) -> tuple[Job, Approval | None]:
    """Queue a job again that waits for a review, whose row the transaction has locked, with its approval.

    Returns the job as it is then, unchanged when it does not wait, and its recorded approval. Raises `Conflict` when
    other scenes wait than those of the approval's version.
    """
    if job.review is None:
        return job, await _find_approval(connection, job)
    job.review.check_version(approval.version)
    await connection.execute(
        "INSERT INTO steps (job_id, name, result) VALUES (%s, %s, %s)"
        " ON CONFLICT (job_id, name) DO UPDATE SET result = excluded.result, finish_time = now()",
        (job.id, approval_step(job.review.subject), Jsonb(to_json(Approval, approval))),
    )
    # A new attempt: a late write of the instance that began the review cannot begin it again.
    cursor = await connection.execute(
        "UPDATE jobs SET review = NULL, review_expire_time = NULL, heartbeat_time = %s, attempt = attempt + 1,"
        " estimated_completion = %s, review_seconds = review_seconds + %s WHERE id = %s RETURNING *",
        (_LONG_AGO, estimate, max(0.0, (now - job.review.request_time).total_seconds()), job.id),
    )
    (row,) = await cursor.fetchall()
    await queue_job(connection, job.id, str(row["attempt"]))
    return rows.job(row), approval


async def expire(connection: AsyncConnection[DictRow], now: datetime) -> Job | None:
    """Fail the job whose review is longest overdue, and return it as it was; None when no review is overdue."""
    cursor = await connection.execute(
        "SELECT * FROM jobs WHERE review IS NOT NULL AND review_expire_time <= %s"
        " ORDER BY review_expire_time LIMIT 1 FOR UPDATE SKIP LOCKED",
        (now,),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    job = rows.job(row)
    failure = Failure(
        "audio_generation",
        "REVIEW_EXPIRED",
        "the job waited for the approval of its script until the time for that was over; retry it, and approve it",
    )
    await connection.execute(
        "UPDATE jobs SET status = 'failed', error = %s, end_time = %s, estimated_completion = %s, sweep_time = %s,"
        " review = NULL WHERE id = %s",
        (Jsonb(to_json(Failure, failure)), now, now, now, job.id),
    )
    await dead_letters.add_dead_letter(connection, job, failure, now)
    await quotas.release_cost(connection, job)
    await publish_events(connection, job, messages.make_failed_event(job, failure, now))
    return job


async def _find_approval(connection: AsyncConnection[DictRow], job: Job) -> Approval | None:
    cursor = await connection.execute(
        "SELECT result FROM steps WHERE job_id = %s AND name = %s", (job.id, approval_step(job.request.review))
    )
    row = await cursor.fetchone()
    return from_json(Approval, row["result"]) if row else None

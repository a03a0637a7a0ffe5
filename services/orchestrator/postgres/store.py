"""The job store in PostgreSQL. Each change of state and the messages that announce it are one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from services.orchestrator.events import messages
from services.orchestrator.jobs.idempotency import IdempotencyKey
from services.orchestrator.jobs.model import (
    Asset,
    Failure,
    Job,
    JobProgress,
    Result,
    StoredObject,
)
from services.orchestrator.jobs.scenes import Approval, Review
from services.orchestrator.jobs.stages import reset_stages, stop_stages
from services.orchestrator.jobs.store import ALL_JOBS, NO_DUE_EVENTS, AllJobsHeld, DueEvents, JobFilter, Superseded
from services.orchestrator.postgres import dead_letters, quotas, reviews, rows, shared_steps
from services.orchestrator.postgres.fencing import update_fenced
from services.orchestrator.postgres.idempotency import find_or_record
from services.orchestrator.postgres.outbox import QUEUE_JOB, publish_events, queue_job, queue_parameters
from services.orchestrator.postgres.rows import from_json, to_json
from services.orchestrator.videos.quotas import UNLIMITED, Quotas, charged_cost, check_fetched
from services.orchestrator.videos.quotas import fetched_bytes as count_fetched
from services.orchestrator.videos.requests import expected_video_seconds
from services.runtime.db import Pool, Transaction, fetch_all

T = TypeVar("T")

# Within this time after a cancellation, the instance that works on the job has stopped.
STOP_TIME = timedelta(seconds=10)

# Older results of steps may have expired from the cache of the storage service: those steps run again.
STEP_RETENTION = timedelta(days=14)

# One statement, and so one round trip, for the job, its minutes of the day, and its message to the queue.
_CREATE = f"""
    WITH counted AS (
        INSERT INTO requested_videos (job_id, user_id, seconds, create_time)
        VALUES (%(id)s, %(user_id)s, %(seconds)s, %(now)s)
    ), created AS (
        INSERT INTO jobs (id, user_id, title, request, original_request, status, stages, heartbeat_time, create_time,
            estimated_completion, first_estimate, work_seconds, priority, webhook_url, group_id)
        VALUES (%(id)s, %(user_id)s, %(title)s, %(request)s, %(original_request)s, %(status)s, %(stages)s,
            %(create_time)s, %(create_time)s, %(estimated_completion)s, %(estimated_completion)s, %(work_seconds)s,
            %(priority)s, %(webhook_url)s, %(group_id)s)
    )
    {QUEUE_JOB}
"""  # noqa: S608
_OWNED = "SELECT * FROM jobs WHERE id = %s AND user_id = %s AND delete_time IS NULL"

_ACTIVE = "FROM jobs WHERE status = 'processing' AND review IS NULL"

# A list contains no clips and no original requests: these may have a megabyte per job, and parsing a hundred of them
# would block the event loop for seconds.
_PAGE = """
    SELECT id, user_id, jsonb_set(request, '{clips}', '[]') AS request, '{}'::jsonb AS original_request, status,
        create_time, estimated_completion, priority, stages, progress, progress_details, attempt, base_attempt, error,
        work_seconds, webhook_url, jsonb_set(result, '{scenes}', '[]') AS result,
        jsonb_set(review, '{scenes}', '[]') AS review
    FROM jobs WHERE user_id = %(user_id)s AND delete_time IS NULL
    AND (%(status)s = '' OR status = %(status)s)
    AND (%(group_id)s = '' OR group_id = %(group_id)s)
    AND (%(title)s = '' OR position(lower(%(title)s) IN lower(title)) > 0)
    AND (%(from_time)s::timestamptz IS NULL OR create_time >= %(from_time)s)
    AND (%(to_time)s::timestamptz IS NULL OR create_time < %(to_time)s)
    AND (%(after)s::timestamptz IS NULL OR (create_time, id) < (%(after)s::timestamptz, %(after_id)s))
    ORDER BY create_time DESC, id DESC LIMIT %(size)s
"""

# Jobs that another instance is claiming at the same moment are skipped. `queue` walks the index over the priorities and
# users with unclaimed jobs; `waiting` is the first few jobs of each, however long its queue is, and the jobs whose
# instance released them or died.
_CLAIM = """
    WITH RECURSIVE queue AS (
        (SELECT -priority AS place, user_id FROM jobs WHERE status = 'processing' AND attempt = base_attempt
         ORDER BY -priority, user_id LIMIT 1)
        UNION ALL
        SELECT next.place, next.user_id FROM queue CROSS JOIN LATERAL (
            SELECT -priority AS place, user_id FROM jobs WHERE status = 'processing' AND attempt = base_attempt
            AND (-priority, user_id) > (queue.place, queue.user_id) ORDER BY -priority, user_id LIMIT 1
        ) AS next
    ), waiting AS (
        SELECT first.* FROM queue CROSS JOIN LATERAL (
            SELECT id, user_id, priority, create_time FROM jobs WHERE status = 'processing' AND attempt = base_attempt
            AND -priority = queue.place AND user_id = queue.user_id ORDER BY create_time, id LIMIT %(at_once)s
        ) AS first
        UNION ALL
        SELECT id, user_id, priority, create_time FROM jobs
        WHERE status = 'processing' AND attempt > base_attempt AND heartbeat_time < %(held_since)s AND review IS NULL
    ), running AS (
        SELECT user_id, count(*) AS jobs FROM jobs
        WHERE status = 'processing' AND attempt > base_attempt AND heartbeat_time >= %(held_since)s AND review IS NULL
        GROUP BY user_id
    ), served AS (
        SELECT user_id, (SELECT max(start_time) FROM jobs WHERE jobs.user_id = owners.user_id) AS last_time
        FROM (SELECT DISTINCT user_id FROM waiting) AS owners
    ), next AS (
        SELECT jobs.id FROM waiting JOIN jobs USING (id) JOIN served ON served.user_id = waiting.user_id
        LEFT JOIN running ON running.user_id = waiting.user_id
        WHERE jobs.status = 'processing' AND (jobs.attempt = jobs.base_attempt OR jobs.heartbeat_time < %(held_since)s)
        AND jobs.priority >= %(at_least)s AND jobs.review IS NULL
        ORDER BY waiting.priority DESC, coalesce(running.jobs, 0), served.last_time NULLS FIRST,
            waiting.create_time, waiting.id
        LIMIT 1 FOR UPDATE OF jobs SKIP LOCKED
    ), claimed AS (
        UPDATE jobs SET attempt = attempt + 1, heartbeat_time = %(now)s, start_time = coalesce(start_time, %(now)s)
        FROM next WHERE jobs.id = next.id RETURNING jobs.*
    ), begun AS (
        INSERT INTO attempts (job_id, attempt, start_time) SELECT id, attempt, %(now)s FROM claimed
    )
    SELECT * FROM claimed
"""
# This many instances can claim jobs of one user at the same moment without missing one.
CLAIMED_AT_ONCE = 32


class PostgresStore:
    """Implements `Store`.

    Calls `on_commit` after a transaction with messages to publish, `on_files_left` when files of a job can be removed.
    """

    def __init__(
        self,
        pool: Pool,
        on_commit: Callable[[], None],
        on_files_left: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        limits: Quotas = UNLIMITED,
    ) -> None:
        self._pool = pool
        self._limits = limits
        self._on_commit = on_commit
        self._on_files_left = on_files_left
        self._now = now

    async def create(self, job: Job, key: IdempotencyKey | None = None, others: Sequence[Job] = ()) -> Job:
        single = key is None and self._limits is UNLIMITED and not others
        async with self._transaction(single=single) as connection:
            if key is not None and (earlier := await find_or_record(connection, job, key)) is not None:
                return earlier
            for each in (job, *others):
                allowed = await quotas.check(connection, each, self._limits, self._now())
                seconds, now = expected_video_seconds(each.request), self._now()
                columns = {**rows.job_columns(allowed), "seconds": seconds, "now": now}
                await connection.execute(_CREATE, {**columns, **queue_parameters(each.id, "0")})
        self._on_commit()
        return job

    async def find(self, job_id: str, user_id: str) -> Job | None:
        found = await fetch_all(self._pool, _OWNED, (job_id, user_id))
        return rows.job(found[0]) if found else None

    async def versions(self, job_ids: Sequence[str]) -> Mapping[str, str]:
        # `xmin` is the transaction that wrote the row: it differs after each update.
        found = await fetch_all(
            self._pool, "SELECT id, xmin::text AS version FROM jobs WHERE id = ANY(%s)", (list(job_ids),)
        )
        return {row["id"]: row["version"] for row in found}

    async def page(
        self, user_id: str, size: int, after: tuple[datetime, str] | None, fitting: JobFilter = ALL_JOBS
    ) -> list[Job]:
        create_time, job_id = after or (None, None)
        places = {"user_id": user_id, "size": size, "after": create_time, "after_id": job_id, **asdict(fitting)}
        return [rows.job(row) for row in await fetch_all(self._pool, _PAGE, places)]

    async def claim(self, lease: timedelta, at_least: int = 0) -> Job | None:
        now = self._now()
        async with self._transaction() as connection:
            places = {"now": now, "held_since": now - lease, "at_once": CLAIMED_AT_ONCE, "at_least": at_least}
            cursor = await connection.execute(_CLAIM, places)
            row = await cursor.fetchone()
            if row is None:
                held = await connection.execute(f"SELECT 1 {_ACTIVE} LIMIT 1")
                if await held.fetchone():
                    raise AllJobsHeld
                return None
            job = rows.job(row)
            if job.attempt == job.base_attempt + 1:
                await publish_events(connection, job, messages.make_started_event(job, now))
        self._on_commit()
        return job

    async def heartbeat(self, job: Job) -> None:
        await self._update_fenced(job, "UPDATE jobs SET heartbeat_time = %s", (self._now(),))

    async def release(self, job: Job) -> None:
        async with self._transaction() as connection:
            await update_fenced(
                connection, job, "UPDATE jobs SET heartbeat_time = %s", (datetime.fromtimestamp(0, UTC),)
            )
            await dead_letters.end_attempt(connection, job, "released", self._now())

    async def interruptions(self, job: Job) -> int:
        found = await fetch_all(
            self._pool,
            "SELECT count(*) AS died FROM attempts"
            " WHERE job_id = %s AND attempt > %s AND attempt < %s AND outcome IS NULL",
            (job.id, job.base_attempt, job.attempt),
        )
        return int(found[0]["died"])

    async def advance(
        self,
        job: Job,
        progress: int,
        stages: dict[str, str],
        progress_details: JobProgress,
        estimate: datetime,
        due: DueEvents = NO_DUE_EVENTS,
    ) -> None:
        now = self._now()
        update = (
            "UPDATE jobs SET progress = %s, stages = %s, progress_details = %s, estimated_completion = %s,"
            " heartbeat_time = %s"
        )
        parameters = (progress, Jsonb(stages), Jsonb(to_json(JobProgress, progress_details)), estimate, now)
        if not due:
            await self._update_fenced(job, update, parameters)
            return
        events = messages.make_stage_completed_events(job, stages, progress, now) if due.stages else []
        if due.progress:
            events.append(messages.make_progress_event(job, progress, now))
        async with self._transaction() as connection:
            await update_fenced(connection, job, update, parameters)
            await publish_events(connection, job, *events)
        self._on_commit()

    async def step_names(self, job: Job) -> Collection[str]:
        return {
            row["name"] for row in await fetch_all(self._pool, "SELECT name FROM steps WHERE job_id = %s", (job.id,))
        }

    async def step(self, job: Job, name: str, kind: type[T]) -> T | None:
        found = await fetch_all(self._pool, "SELECT result FROM steps WHERE job_id = %s AND name = %s", (job.id, name))
        return from_json(kind, found[0]["result"]) if found else None

    async def steps(self, job_id: str, prefix: str, kind: type[T]) -> dict[str, T]:
        found = await fetch_all(
            self._pool, "SELECT name, result FROM steps WHERE job_id = %s AND starts_with(name, %s)", (job_id, prefix)
        )
        return {row["name"].removeprefix(prefix): from_json(kind, row["result"]) for row in found}

    async def record(self, job: Job, name: str, kind: type[T], result: T) -> None:
        fetched_bytes, cost = count_fetched(result), charged_cost(name, result)
        async with Transaction(self._pool, single=not (fetched_bytes or cost)) as connection:
            cursor = await connection.execute(
                "INSERT INTO steps (job_id, name, result)"
                " SELECT id, %s, %s FROM jobs WHERE id = %s AND attempt = %s AND status = 'processing' FOR UPDATE"
                " ON CONFLICT (job_id, name) DO UPDATE SET result = excluded.result",
                (name, Jsonb(to_json(kind, result)), job.id, job.attempt),
            )
            if cursor.rowcount != 1:
                raise Superseded(job.id)
            if fetched_bytes:
                await quotas.record_fetch(connection, job, fetched_bytes)
            if cost:
                await quotas.record_cost(connection, job, cost, self._now())
        if fetched_bytes:
            # The fetched bytes are counted even when they exceed the quota.
            used = await quotas.PostgresUsage(self._pool, self._limits, self._now).get_usage(job.user_id)
            check_fetched(self._limits, used.fetched_bytes)

    async def claim_shared(self, job: Job, name: str, kind: type[T], lease: timedelta) -> T | bool:
        return await shared_steps.claim(self._pool, job, name, kind, lease, self._now())

    async def record_shared(self, job: Job, name: str, kind: type[T], result: T) -> None:
        await shared_steps.record(self._pool, job, name, kind, result)

    async def step_results(self, job: Job, names: Collection[str]) -> dict[str, Any]:
        found = await fetch_all(
            self._pool, "SELECT name, result FROM steps WHERE job_id = %s AND name = ANY(%s)", (job.id, list(names))
        )
        return {row["name"]: row["result"] for row in found}

    async def forget_steps(self, job: Job, names: Collection[str]) -> None:
        async with self._transaction() as connection:
            await update_fenced(connection, job, "UPDATE jobs SET heartbeat_time = %s", (self._now(),))
            await connection.execute("DELETE FROM steps WHERE job_id = %s AND name = ANY(%s)", (job.id, list(names)))

    async def complete(self, job: Job, result: Result, stages: dict[str, str], progress_details: JobProgress) -> None:
        now = self._now()
        # Earlier attempts may have left files that are not part of the result.
        sweep_time = now if job.attempt > 1 else None
        async with self._transaction() as connection:
            await update_fenced(
                connection,
                job,
                "UPDATE jobs SET status = 'completed', progress = 100, stages = %s, progress_details = %s, result = %s,"
                " title = %s, end_time = %s, estimated_completion = %s, sweep_time = %s",
                (
                    Jsonb(stages),
                    Jsonb(to_json(JobProgress, progress_details)),
                    Jsonb(to_json(Result, result)),
                    result.title or job.request.title,
                    now,
                    now,
                    sweep_time,
                ),
            )
            await dead_letters.end_attempt(connection, job, "completed", now)
            await quotas.record_length(connection, job, result.seconds)
            await quotas.release_cost(connection, job)
            events = messages.make_stage_completed_events(job, stages, 100, now)
            await publish_events(connection, job, *events, messages.make_completed_event(job, result, now))
        self._on_commit()
        if sweep_time:
            self._on_files_left()

    async def fail(self, job: Job, failure: Failure, stages: dict[str, str]) -> None:
        now = self._now()
        async with self._transaction() as connection:
            await update_fenced(
                connection,
                job,
                "UPDATE jobs SET status = 'failed', stages = %s, error = %s, end_time = %s, estimated_completion = %s,"
                " sweep_time = %s",
                (Jsonb(stages), Jsonb(to_json(Failure, failure)), now, now, now),
            )
            await dead_letters.end_attempt(connection, job, "failed", now)
            await dead_letters.add_dead_letter(connection, job, failure, now)
            await quotas.release_cost(connection, job)
            events = messages.make_stage_completed_events(job, stages, job.progress, now)
            await publish_events(connection, job, *events, messages.make_failed_event(job, failure, now))
        self._on_commit()
        self._on_files_left()

    async def begin_review(
        self, job: Job, review: Review, stages: dict[str, str], progress_details: JobProgress
    ) -> None:
        async with self._transaction() as connection:
            await reviews.begin(connection, job, review, stages, progress_details)
        self._on_commit()

    async def approve(
        self, job_id: str, user_id: str, approval: Approval, estimate: datetime
    ) -> tuple[Job, Approval | None] | None:
        async with self._transaction() as connection:
            job = await _find_owned(connection, job_id, user_id)
            if job is None:
                return None
            approved = await reviews.approve(connection, job, approval, estimate, self._now())
        self._on_commit()
        return approved

    async def expire_review(self) -> Job | None:
        async with self._transaction() as connection:
            expired = await reviews.expire(connection, self._now())
        if expired:
            self._on_commit()
            self._on_files_left()
        return expired

    async def cancel(self, job_id: str, user_id: str) -> Job | None:
        async with self._transaction() as connection:
            job = await _find_owned(connection, job_id, user_id)
            if job is not None and job.status == "processing":
                job = await self._cancel(connection, job)
        self._on_commit()
        self._on_files_left()
        return job

    async def delete(self, job_id: str, user_id: str) -> Job | None:
        now = self._now()
        async with self._transaction() as connection:
            job = await _find_owned(connection, job_id, user_id)
            if job is None:
                return None
            if job.status == "processing":
                await self._cancel(connection, job)
            await connection.execute(
                "UPDATE jobs SET delete_time = %s, sweep_time = greatest(sweep_time, %s) WHERE id = %s",
                (now, now, job_id),
            )
            await dead_letters.resolve_dead_letter(connection, job_id, now)
        self._on_commit()
        self._on_files_left()
        return job

    async def retry(self, job_id: str, user_id: str, estimate: datetime) -> Job | None:
        async with self._transaction() as connection:
            job = await _find_owned(connection, job_id, user_id)
            if job is None or job.status not in ("failed", "cancelled"):
                return job
            await quotas.check_retry(connection, job, self._limits, self._now())
            # A new attempt: an instance that still works on the old one can no longer write.
            cursor = await connection.execute(
                "UPDATE jobs SET status = 'processing', stages = %s, error = NULL, end_time = NULL, sweep_time = NULL,"
                " estimated_completion = %s, heartbeat_time = %s, attempt = attempt + 1, base_attempt = attempt + 1"
                " WHERE id = %s RETURNING *",
                (Jsonb(reset_stages(job.stages)), estimate, self._now(), job_id),
            )
            (row,) = await cursor.fetchall()
            await dead_letters.resolve_dead_letter(connection, job_id, self._now())
            await connection.execute(
                "DELETE FROM steps WHERE job_id = %s AND finish_time < %s", (job_id, self._now() - STEP_RETENTION)
            )
            await queue_job(connection, job_id, str(row["attempt"]))
        self._on_commit()
        return rows.job(row)

    async def _cancel(self, connection: AsyncConnection[DictRow], job: Job) -> Job:
        now = self._now()
        cursor = await connection.execute(
            "UPDATE jobs SET status = 'cancelled', stages = %s, end_time = %s, estimated_completion = %s,"
            " sweep_time = %s, review = NULL WHERE id = %s RETURNING *",
            (Jsonb(stop_stages(job.stages)), now, now, now + STOP_TIME if job.attempt else now, job.id),
        )
        (row,) = await cursor.fetchall()
        await dead_letters.end_attempt(connection, job, "cancelled", now)
        await quotas.release_cost(connection, job)
        await publish_events(connection, job, messages.make_cancelled_event(job, now))
        return rows.job(row)

    async def active_jobs(self) -> int:
        found = await fetch_all(self._pool, f"SELECT count(*) AS active {_ACTIVE}")
        return int(found[0]["active"])

    async def requeue_silent(self, silence: timedelta) -> Sequence[str]:
        now = self._now()
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "UPDATE jobs SET heartbeat_time = %s WHERE status = 'processing' AND heartbeat_time < %s"
                " RETURNING id, attempt",
                (now, now - silence),
            )
            silent = await cursor.fetchall()
            for row in silent:
                # A new message id: JetStream would drop a duplicate id even when it has lost the message.
                await queue_job(connection, row["id"], f"{row['attempt']}-{int(now.timestamp() * 1000)}")
        found = [row["id"] for row in silent]
        if found:
            self._on_commit()
        return found

    async def add_asset(self, asset: Asset) -> None:
        async with self._transaction() as connection:
            await connection.execute(
                "INSERT INTO assets (id, user_id, filename, object, create_time) VALUES (%s, %s, %s, %s, %s)",
                (
                    asset.id,
                    asset.user_id,
                    asset.filename,
                    Jsonb(to_json(StoredObject, asset.object)),
                    asset.create_time,
                ),
            )
            # From now on its actual size counts instead of the reservation.
            await connection.execute("DELETE FROM reservations WHERE id = %s", (asset.id,))

    async def assets(self, user_id: str, ids: Sequence[str]) -> dict[str, Asset]:
        found = await fetch_all(
            self._pool,
            "SELECT * FROM assets WHERE user_id = %s AND id = ANY(%s)",
            (user_id, list(ids)),
        )
        return {row["id"]: rows.asset(row) for row in found}

    async def _update_fenced(self, job: Job, update: str, parameters: tuple[Any, ...]) -> None:
        async with Transaction(self._pool, single=True) as connection:
            await update_fenced(connection, job, update, parameters)

    def _transaction(self, *, single: bool = False) -> Transaction:
        return Transaction(self._pool, single=single)


async def _find_owned(connection: AsyncConnection[DictRow], job_id: str, user_id: str) -> Job | None:
    """Return a job of a user, and lock it until the transaction ends."""
    cursor = await connection.execute(f"{_OWNED} FOR UPDATE", (job_id, user_id))
    row = await cursor.fetchone()
    return rows.job(row) if row else None

"""PostgreSQL: where jobs are kept. Every change of state is written together with the message that tells of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import psycopg
from google.protobuf.message import Message
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from psycopg_pool import PoolTimeout
from pydantic import TypeAdapter

from moneyprinter.errors import Unavailable
from services.orchestrator import events
from services.orchestrator.jobs import Asset, Failure, Job, Result, StoredObject, Tally, VideoRequest
from services.orchestrator.store import JOBS_SUBJECT, Held, Superseded
from services.runtime.db import Pool, cut_later
from services.runtime.events import encode

T = TypeVar("T")

OUTBOX_BATCH = 100

# How long a transaction may take: whoever waits for it is told within two seconds that the database is away.
PATIENCE_SECONDS = 1.5
# The relay waits for NATS as well, a batch of messages long; nobody waits for it.
RELAY_SECONDS = 30.0


# Made once: building one takes longer than a query.
_codec: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def to_json(kind: type[T], value: T) -> Any:
    """A value as JSON can hold it."""
    return _codec(kind).dump_python(value, mode="json")


def from_json(kind: type[T], value: Any) -> T:
    """The value that `to_json` wrote."""
    found: T = _codec(kind).validate_python(value)
    return found


def _job(row: DictRow) -> Job:
    return Job(
        id=row["id"],
        user_id=row["user_id"],
        request=from_json(VideoRequest, row["request"]),
        status=row["status"],
        create_time=row["create_time"],
        estimated_completion=row["estimated_completion"],
        stages=row["stages"],
        progress=row["progress"],
        tally=from_json(Tally, row["tally"]),
        attempt=row["attempt"],
        result=from_json(Result, row["result"]) if row["result"] else None,
        failure=from_json(Failure, row["error"]) if row["error"] else None,
        wish=row["wish"],
    )


class PostgresStore:
    """The store on a pool. `committed` is called when something to publish was written."""

    def __init__(
        self,
        pool: Pool,
        committed: Callable[[], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._pool = pool
        self._committed = committed
        self._now = now

    async def create(self, job: Job) -> None:
        async with self._transaction() as connection:
            await connection.execute(
                "INSERT INTO jobs (id, user_id, title, request, wish, status, stages, heartbeat_time, create_time,"
                " estimated_completion) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    job.id,
                    job.user_id,
                    job.request.title,
                    Jsonb(to_json(VideoRequest, job.request)),
                    Jsonb(job.wish),
                    job.status,
                    Jsonb(job.stages),
                    job.create_time,
                    job.create_time,
                    job.estimated_completion,
                ),
            )
            await _queue(connection, job.id, "0")
        self._committed()

    async def find(self, job_id: str, user_id: str) -> Job | None:
        rows = await self._rows("SELECT * FROM jobs WHERE id = %s AND user_id = %s", (job_id, user_id))
        return _job(rows[0]) if rows else None

    async def page(self, user_id: str, size: int, after: tuple[datetime, str] | None) -> list[Job]:
        create_time, job_id = after or (None, None)
        rows = await self._rows(
            "SELECT * FROM jobs WHERE user_id = %s"
            " AND (%s::timestamptz IS NULL OR (create_time, id) < (%s::timestamptz, %s))"
            " ORDER BY create_time DESC, id DESC LIMIT %s",
            (user_id, create_time, create_time, job_id, size),
        )
        return [_job(row) for row in rows]

    async def take(self, job_id: str, lease: timedelta) -> Job | None:
        now = self._now()
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "UPDATE jobs SET attempt = attempt + 1, heartbeat_time = %s, start_time = coalesce(start_time, %s)"
                " WHERE id = %s AND status = 'processing' AND (attempt = 0 OR heartbeat_time < %s) RETURNING *",
                (now, now, job_id, now - lease),
            )
            row = await cursor.fetchone()
            if row is None:
                held = await connection.execute("SELECT 1 FROM jobs WHERE id = %s AND status = 'processing'", (job_id,))
                if await held.fetchone():
                    raise Held(job_id)
                return None
            job = _job(row)
            if job.attempt == 1:
                await _publish_event(connection, job, events.started(job, now))
        self._committed()
        return job

    async def heartbeat(self, job: Job) -> None:
        await self._fenced(job, "UPDATE jobs SET heartbeat_time = %s", (self._now(),))

    async def release(self, job: Job) -> None:
        await self._fenced(job, "UPDATE jobs SET heartbeat_time = %s", (datetime.fromtimestamp(0, UTC),))

    async def advance(self, job: Job, progress: int, stages: dict[str, str], tally: Tally, estimate: datetime) -> None:
        await self._fenced(
            job,
            "UPDATE jobs SET progress = %s, stages = %s, tally = %s, estimated_completion = %s, heartbeat_time = %s",
            (progress, Jsonb(stages), Jsonb(to_json(Tally, tally)), estimate, self._now()),
        )

    async def step(self, job: Job, name: str, kind: type[T]) -> T | None:
        rows = await self._rows("SELECT result FROM steps WHERE job_id = %s AND name = %s", (job.id, name))
        return from_json(kind, rows[0]["result"]) if rows else None

    async def steps(self, job_id: str, prefix: str, kind: type[T]) -> dict[str, T]:
        rows = await self._rows(
            "SELECT name, result FROM steps WHERE job_id = %s AND starts_with(name, %s)", (job_id, prefix)
        )
        return {row["name"].removeprefix(prefix): from_json(kind, row["result"]) for row in rows}

    async def record(self, job: Job, name: str, kind: type[T], result: T) -> None:
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "INSERT INTO steps (job_id, name, result)"
                " SELECT id, %s, %s FROM jobs WHERE id = %s AND attempt = %s AND status = 'processing' FOR UPDATE"
                " ON CONFLICT (job_id, name) DO UPDATE SET result = excluded.result",
                (name, Jsonb(to_json(kind, result)), job.id, job.attempt),
            )
            if cursor.rowcount != 1:
                raise Superseded(job.id)

    async def complete(self, job: Job, result: Result, stages: dict[str, str], tally: Tally) -> None:
        now = self._now()
        await self._end(
            job,
            "UPDATE jobs SET status = 'completed', progress = 100, stages = %s, tally = %s, result = %s, end_time = %s,"
            " estimated_completion = %s",
            (Jsonb(stages), Jsonb(to_json(Tally, tally)), Jsonb(to_json(Result, result)), now, now),
            events.completed(job, result, now),
        )

    async def fail(self, job: Job, failure: Failure, stages: dict[str, str]) -> None:
        now = self._now()
        await self._end(
            job,
            "UPDATE jobs SET status = 'failed', stages = %s, error = %s, end_time = %s, estimated_completion = %s",
            (Jsonb(stages), Jsonb(to_json(Failure, failure)), now, now),
            events.failed(job, failure, now),
        )

    async def active_jobs(self) -> int:
        rows = await self._rows("SELECT count(*) AS active FROM jobs WHERE status = 'processing'", ())
        return int(rows[0]["active"])

    async def requeue_silent(self, silence: timedelta) -> Sequence[str]:
        now = self._now()
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "UPDATE jobs SET heartbeat_time = %s WHERE status = 'processing' AND heartbeat_time < %s"
                " RETURNING id, attempt",
                (now, now - silence),
            )
            rows = await cursor.fetchall()
            for row in rows:
                # Under a new id: the queue would drop the old one even when it has lost its message.
                await _queue(connection, row["id"], f"{row['attempt']}-{int(now.timestamp() * 1000)}")
        found = [row["id"] for row in rows]
        if found:
            self._committed()
        return found

    async def add_asset(self, asset: Asset) -> None:
        async with self._transaction() as connection:
            await connection.execute(
                "INSERT INTO assets (id, user_id, filename, object) VALUES (%s, %s, %s, %s)",
                (asset.id, asset.user_id, asset.filename, Jsonb(to_json(StoredObject, asset.object))),
            )

    async def assets(self, user_id: str, ids: Sequence[str]) -> dict[str, Asset]:
        rows = await self._rows(
            "SELECT id, user_id, filename, object FROM assets WHERE user_id = %s AND id = ANY(%s)",
            (user_id, list(ids)),
        )
        return {
            row["id"]: Asset(row["id"], row["user_id"], row["filename"], from_json(StoredObject, row["object"]))
            for row in rows
        }

    async def _end(self, job: Job, update: str, parameters: tuple[Any, ...], event: tuple[str, Message]) -> None:
        async with self._transaction() as connection:
            await _fenced(connection, job, update, parameters)
            await _publish_event(connection, job, event)
        self._committed()

    async def _fenced(self, job: Job, update: str, parameters: tuple[Any, ...]) -> None:
        async with self._transaction() as connection:
            await _fenced(connection, job, update, parameters)

    async def _rows(self, query: str, parameters: tuple[Any, ...]) -> list[DictRow]:
        async with self._transaction() as connection:
            return await (await connection.execute(query, parameters)).fetchall()

    def _transaction(self) -> Transaction:
        return Transaction(self._pool)


class PostgresOutbox:
    """What was written with the changes of state, to be published."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def deliver(self, publish: Callable[[str, str, bytes], Awaitable[None]]) -> bool:
        async with Transaction(self._pool, RELAY_SECONDS) as connection:
            cursor = await connection.execute(
                "SELECT id, message_id, subject, payload FROM outbox WHERE publish_time IS NULL"
                " ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED",
                (OUTBOX_BATCH,),
            )
            rows = await cursor.fetchall()
            for row in rows:
                await publish(row["message_id"], row["subject"], row["payload"])
                await connection.execute("UPDATE outbox SET publish_time = now() WHERE id = %s", (row["id"],))
        return len(rows) == OUTBOX_BATCH


class Transaction:
    """A connection of the pool, in a transaction. When the database is away, or hangs, that is said as Unavailable."""

    def __init__(self, pool: Pool, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._connection = pool.connection(timeout=min(patience_seconds, PATIENCE_SECONDS))
        self._patience_seconds = patience_seconds
        self._end: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> AsyncConnection[DictRow]:
        began = asyncio.get_running_loop().time()
        try:
            connection = await self._connection.__aenter__()
        except (PoolTimeout, psycopg.OperationalError) as failure:
            raise _away(failure) from failure
        self._end = cut_later(connection, began + self._patience_seconds - asyncio.get_running_loop().time())
        return connection

    async def __aexit__(self, kind: Any, failure: Any, traceback: Any) -> None:
        try:
            await self._connection.__aexit__(kind, failure, traceback)
        except psycopg.OperationalError as lost:
            raise _away(lost) from lost
        finally:
            if self._end is not None:
                self._end.cancel()
        if isinstance(failure, psycopg.OperationalError):
            raise _away(failure) from failure


def _away(failure: Exception) -> Unavailable:
    return Unavailable(
        "the database cannot be reached; try again in a moment", reason="SERVICE_UNAVAILABLE", retry_after_seconds=2.0
    )


async def _fenced(connection: AsyncConnection[DictRow], job: Job, update: str, parameters: tuple[Any, ...]) -> None:
    cursor = await connection.execute(
        f"{update} WHERE id = %s AND attempt = %s AND status = 'processing'", (*parameters, job.id, job.attempt)
    )
    if cursor.rowcount != 1:
        raise Superseded(job.id)


async def _queue(connection: AsyncConnection[DictRow], job_id: str, number: str) -> None:
    await _publish(connection, f"{job_id}-{number}", JOBS_SUBJECT, json.dumps({"job_id": job_id}).encode())


async def _publish_event(connection: AsyncConnection[DictRow], job: Job, event: tuple[str, Message]) -> None:
    subject, message = event
    await _publish(connection, f"{job.id}-{subject}", subject, encode(message))


async def _publish(connection: AsyncConnection[DictRow], message_id: str, subject: str, payload: bytes) -> None:
    await connection.execute(
        "INSERT INTO outbox (message_id, subject, payload) VALUES (%s, %s, %s)"
        " ON CONFLICT (message_id) DO UPDATE SET publish_time = NULL",
        (message_id, subject, payload),
    )

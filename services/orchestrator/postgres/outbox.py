"""The outbox in PostgreSQL: messages to publish, written in the transaction of the change that they announce."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from services.orchestrator.events.messages import Event
from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.store import JOBS_SUBJECT
from services.runtime.db import Pool, Transaction
from services.runtime.events import encode

OUTBOX_BATCH = 100
# The transaction also waits until NATS acknowledges the batch. It is a background task: no client waits for it.
RELAY_SECONDS = 30.0

SEQUENCE_HEADER = "Moneyprinter-Sequence"

QUEUE_JOB = """
    INSERT INTO outbox (message_id, subject, payload) VALUES (%(message_id)s, %(subject)s, %(payload)s)
    ON CONFLICT (message_id) DO UPDATE SET publish_time = NULL
"""
"""The header with the sequence number of an event among those of its job."""

# The transaction has locked the job's row before: until it ends, no other one writes events of that job. Events that
# were published before are skipped, so a write whose outcome is unknown can be repeated.
_EVENTS = """
    WITH fresh AS (
        SELECT given.*, row_number() OVER (ORDER BY given.place) AS number
        FROM unnest(%(keys)s::text[], %(subjects)s::text[], %(payloads)s::bytea[]) WITH ORDINALITY
            AS given (event_key, subject, payload, place)
        WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.job_id = %(job)s AND outbox.event_key = given.event_key)
    ), counted AS (
        UPDATE jobs SET event_sequence = event_sequence + (SELECT count(*) FROM fresh)
        WHERE id = %(job)s AND EXISTS (SELECT 1 FROM fresh)
        RETURNING id, user_id, event_sequence - (SELECT count(*) FROM fresh) AS before
    )
    INSERT INTO outbox (message_id, subject, payload, user_id, job_id, sequence, event_key)
    SELECT id || '-event-' || (before + number), subject, payload, user_id, id, before + number, event_key
    FROM counted CROSS JOIN fresh ORDER BY number
"""


class PostgresOutbox:
    """Implements `Outbox` (`jetstream/relay.py`)."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def deliver(self, publish: Callable[[str, bytes, Mapping[str, str]], Awaitable[None]]) -> bool:
        async with Transaction(self._pool, RELAY_SECONDS) as connection:
            cursor = await connection.execute(
                "SELECT id, message_id, subject, payload, sequence FROM outbox WHERE publish_time IS NULL"
                " ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED",
                (OUTBOX_BATCH,),
            )
            rows = await cursor.fetchall()
            # They are sent in this order. JetStream acknowledges each when it is on disk.
            await asyncio.gather(*(publish(row["subject"], row["payload"], _headers(row)) for row in rows))
            done = [row["id"] for row in rows]
            await connection.execute("UPDATE outbox SET publish_time = now() WHERE id = ANY(%s)", (done,))
        return len(rows) == OUTBOX_BATCH


async def queue_job(connection: AsyncConnection[DictRow], job_id: str, number: str) -> None:
    """Publish that a job is queued. `number` makes the message id unique among those of the job."""
    await connection.execute(QUEUE_JOB, queue_parameters(job_id, number))


def queue_parameters(job_id: str, number: str) -> dict[str, Any]:
    """Return the parameters of `QUEUE_JOB`. `number` makes the message id unique among those of the job."""
    payload = json.dumps({"job_id": job_id}).encode()
    return {"message_id": f"{job_id}-{number}", "subject": JOBS_SUBJECT, "payload": payload}


async def publish_events(connection: AsyncConnection[DictRow], job: Job, *events: Event) -> None:
    """Publish the events of a job that were not published before, each with the next sequence number.

    The transaction must have locked the row of the job. An event's id is the job's id with that number, which has no
    gaps: `vid_12345abc-event-3`.
    """
    await connection.execute(
        _EVENTS,
        {
            "job": job.id,
            "keys": [f"{event.kind} {event.key}" for event in events],
            "subjects": [event.kind for event in events],
            "payloads": [encode(event.message) for event in events],
        },
    )


def _headers(row: DictRow) -> dict[str, str]:
    headers = {"Nats-Msg-Id": str(row["message_id"])}
    if row["sequence"] is not None:
        headers[SEQUENCE_HEADER] = str(row["sequence"])
    return headers

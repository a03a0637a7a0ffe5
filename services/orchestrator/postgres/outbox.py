"""Outbox: what is to be published, written in the transaction of the change that it tells of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from services.orchestrator.events.messages import Event
from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.store import JOBS_SUBJECT
from services.runtime.db import Pool, Transaction
from services.runtime.events import encode

OUTBOX_BATCH = 100
# The relay waits for NATS as well, a batch of messages long; nobody waits for it.
RELAY_SECONDS = 30.0

SEQUENCE_HEADER = "Moneyprinter-Sequence"
"""The header of a published event with its place among those of its job."""

# The transaction has changed the job's row before: until it ends, nobody else writes events of that job. What was
# told before is found in the job's own rows, so that a write whose outcome was not known may be made again.
_EVENTS = """
    WITH fresh AS (
        SELECT told.*, row_number() OVER (ORDER BY told.place) AS number
        FROM unnest(%(facts)s::text[], %(subjects)s::text[], %(payloads)s::bytea[]) WITH ORDINALITY
            AS told (fact, subject, payload, place)
        WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.job_id = %(job)s AND outbox.fact = told.fact)
    ), counted AS (
        UPDATE jobs SET event_sequence = event_sequence + (SELECT count(*) FROM fresh)
        WHERE id = %(job)s AND EXISTS (SELECT 1 FROM fresh)
        RETURNING id, user_id, event_sequence - (SELECT count(*) FROM fresh) AS before
    )
    INSERT INTO outbox (message_id, subject, payload, user_id, job_id, sequence, fact)
    SELECT id || '-event-' || (before + number), subject, payload, user_id, id, before + number, fact
    FROM counted CROSS JOIN fresh ORDER BY number
"""


class PostgresOutbox:
    """What was written with the changes of state, to be published."""

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
            # They are sent in this order, and acknowledged as JetStream has them on disk.
            await asyncio.gather(*(publish(row["subject"], row["payload"], _headers(row)) for row in rows))
            done = [row["id"] for row in rows]
            await connection.execute("UPDATE outbox SET publish_time = now() WHERE id = ANY(%s)", (done,))
        return len(rows) == OUTBOX_BATCH


async def queue(connection: AsyncConnection[DictRow], job_id: str, number: str) -> None:
    """Say on the queue that there is work, under an id of the job and a number."""
    await _publish(connection, f"{job_id}-{number}", JOBS_SUBJECT, json.dumps({"job_id": job_id}).encode())


async def publish_events(connection: AsyncConnection[DictRow], job: Job, *told: Event) -> None:
    """Publish events of a job, whose row the transaction has changed, those that were not before; each gets its number.

    An event's id is the job's and that number, which has no gaps: `vid_12345abc-event-3`.
    """
    await connection.execute(
        _EVENTS,
        {
            "job": job.id,
            "facts": [f"{event.kind} {event.of}" for event in told],
            "subjects": [event.kind for event in told],
            "payloads": [encode(event.message) for event in told],
        },
    )


def _headers(row: DictRow) -> dict[str, str]:
    headers = {"Nats-Msg-Id": str(row["message_id"])}
    if row["sequence"] is not None:
        headers[SEQUENCE_HEADER] = str(row["sequence"])
    return headers


async def _publish(connection: AsyncConnection[DictRow], message_id: str, subject: str, payload: bytes) -> None:
    await connection.execute(
        "INSERT INTO outbox (message_id, subject, payload) VALUES (%s, %s, %s)"
        " ON CONFLICT (message_id) DO UPDATE SET publish_time = NULL",
        (message_id, subject, payload),
    )

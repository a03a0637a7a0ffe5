"""Outbox: what is to be published, written in the transaction of the change that it tells of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from google.protobuf.message import Message
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from services.orchestrator.jobs import Job
from services.orchestrator.rows import Transaction
from services.orchestrator.store import JOBS_SUBJECT
from services.runtime.db import Pool
from services.runtime.events import encode

OUTBOX_BATCH = 100
# The relay waits for NATS as well, a batch of messages long; nobody waits for it.
RELAY_SECONDS = 30.0


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
            # They are sent in this order, and acknowledged as JetStream has them on disk.
            await asyncio.gather(*(publish(row["message_id"], row["subject"], row["payload"]) for row in rows))
            done = [row["id"] for row in rows]
            await connection.execute("UPDATE outbox SET publish_time = now() WHERE id = ANY(%s)", (done,))
        return len(rows) == OUTBOX_BATCH


async def queue(connection: AsyncConnection[DictRow], job_id: str, number: str) -> None:
    """Say on the queue that there is work, under an id of the job and a number."""
    await _publish(connection, f"{job_id}-{number}", JOBS_SUBJECT, json.dumps({"job_id": job_id}).encode())


async def publish_event(connection: AsyncConnection[DictRow], job: Job, event: tuple[str, Message]) -> None:
    """Publish an event of a job."""
    subject, message = event
    await _publish(connection, f"{job.id}-{job.base_attempt}-{subject}", subject, encode(message))


async def _publish(connection: AsyncConnection[DictRow], message_id: str, subject: str, payload: bytes) -> None:
    await connection.execute(
        "INSERT INTO outbox (message_id, subject, payload) VALUES (%s, %s, %s)"
        " ON CONFLICT (message_id) DO UPDATE SET publish_time = NULL",
        (message_id, subject, payload),
    )

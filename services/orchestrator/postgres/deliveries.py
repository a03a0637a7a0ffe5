"""The delivery queue in PostgreSQL: one instance at a time claims a pending delivery (`webhooks/deliveries.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from services.orchestrator.postgres.rows import to_json
from services.orchestrator.webhooks.deliveries import MAX_CONCURRENT_PER_WEBHOOK, BusyTargets, ClaimedDelivery
from services.orchestrator.webhooks.webhooks import SECRET_OVERLAP, DeliveryAttempt
from services.runtime.db import Pool, Transaction, fetch_all

MAX_HISTORY = 50

# Deliveries that another instance is claiming at the same moment are skipped.
_CLAIM = """
    WITH due AS (
        SELECT id, user_id, due_time, row_number() OVER (PARTITION BY webhook_id ORDER BY due_time, id) AS place
        FROM deliveries WHERE status = 'pending' AND due_time <= %(now)s
        AND webhook_id <> ALL (%(webhooks)s) AND user_id <> ALL (%(users)s)
    ), first AS (
        SELECT id, row_number() OVER (PARTITION BY user_id ORDER BY due_time, id) AS place FROM due WHERE place = 1
    ), next AS (
        SELECT deliveries.id FROM first JOIN deliveries USING (id)
        WHERE first.place <= %(of_user)s AND deliveries.status = 'pending' AND deliveries.due_time <= %(now)s
        ORDER BY deliveries.due_time LIMIT %(at_most)s FOR UPDATE OF deliveries SKIP LOCKED
    )
    UPDATE deliveries SET claim = claim + 1, due_time = %(until)s
    FROM next, webhooks, outbox
    WHERE deliveries.id = next.id AND webhooks.id = deliveries.webhook_id AND outbox.id = deliveries.event
    RETURNING deliveries.*, webhooks.secret_version, webhooks.rotate_time, outbox.message_id, outbox.payload,
        outbox.job_id
"""


class PostgresDeliveryQueue:
    """Implements `DeliveryQueue`."""

    def __init__(self, pool: Pool, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pool = pool
        self._now = now

    async def claim(self, at_most: int, busy: BusyTargets, lease: timedelta) -> Sequence[ClaimedDelivery]:
        now = self._now()
        parameters = {
            "now": now,
            "until": now + lease,
            "at_most": at_most,
            "of_user": MAX_CONCURRENT_PER_WEBHOOK,
            **_busy_parameters(busy),
        }
        async with Transaction(self._pool, single=True) as connection:
            return [
                _to_claimed_delivery(row, now)
                for row in await (await connection.execute(_CLAIM, parameters)).fetchall()
            ]

    async def record_attempt(
        self, delivery: ClaimedDelivery, attempt: DeliveryAttempt, status: str, due_time: datetime
    ) -> None:
        async with Transaction(self._pool) as connection:
            cursor = await connection.execute(
                "UPDATE deliveries SET status = %s, due_time = %s, attempt_count = attempt_count + 1,"
                " history = CASE WHEN jsonb_array_length(history) < %s THEN history ELSE history - 0 END || %s"
                " WHERE id = %s AND claim = %s",
                (
                    status,
                    due_time,
                    MAX_HISTORY,
                    Jsonb([to_json(DeliveryAttempt, attempt)]),
                    delivery.id,
                    delivery.claim,
                ),
            )
            if cursor.rowcount != 1 or status != "gone":
                return
            # Disable the address: of the webhook, or of this job when its request named the address.
            await connection.execute(
                "UPDATE webhooks SET disable_time = %s WHERE id = %s AND url = %s",
                (self._now(), delivery.webhook_id, delivery.url),
            )
            await connection.execute(
                "UPDATE jobs SET webhook_url = '' WHERE id = %s AND webhook_url = %s", (delivery.job_id, delivery.url)
            )
            await connection.execute(
                "UPDATE deliveries SET status = 'gone' WHERE webhook_id = %s AND url = %s AND status = 'pending'",
                (delivery.webhook_id, delivery.url),
            )

    async def postpone(self, delivery: ClaimedDelivery, due_time: datetime) -> None:
        async with Transaction(self._pool, single=True) as connection:
            await connection.execute(
                "UPDATE deliveries SET due_time = %s WHERE id = %s AND claim = %s",
                (due_time, delivery.id, delivery.claim),
            )

    async def next_due_time(self, busy: BusyTargets) -> datetime | None:
        (row,) = await fetch_all(
            self._pool,
            "SELECT min(due_time) AS due FROM deliveries"
            " WHERE status = 'pending' AND webhook_id <> ALL (%(webhooks)s) AND user_id <> ALL (%(users)s)",
            _busy_parameters(busy),
        )
        due: datetime | None = row["due"]
        return due


def _busy_parameters(busy: BusyTargets) -> dict[str, list[str]]:
    return {"webhooks": list(busy.webhooks), "users": list(busy.users)}


def _to_claimed_delivery(row: DictRow, now: datetime) -> ClaimedDelivery:
    newest = row["secret_version"]
    overlaps = row["rotate_time"] is not None and now - row["rotate_time"] < SECRET_OVERLAP
    return ClaimedDelivery(
        id=row["id"],
        claim=row["claim"],
        webhook_id=row["webhook_id"],
        user_id=row["user_id"],
        url=row["url"],
        job_id=row["job_id"],
        event_id=row["message_id"],
        body=bytes(row["payload"]),
        secret_versions=(newest, newest - 1) if overlaps else (newest,),
        attempt_count=row["attempt_count"],
        give_up_time=row["give_up_time"],
    )

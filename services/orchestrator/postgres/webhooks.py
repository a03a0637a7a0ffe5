"""Webhooks and their deliveries in PostgreSQL (`webhooks/webhooks.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import psycopg
from psycopg.rows import DictRow

from moneyprinter.errors import Conflict, ResourceExhausted
from services.orchestrator.postgres.rows import from_json
from services.orchestrator.webhooks.webhooks import RETRY_PERIOD, Delivery, DeliveryAttempt, Webhook
from services.runtime.db import Pool, Transaction, fetch_all
from services.runtime.pagination import Cursor

_DELIVERIES = (
    "SELECT deliveries.*, outbox.message_id, outbox.subject, outbox.job_id, outbox.payload"
    " FROM deliveries JOIN outbox ON outbox.id = deliveries.event"
)


class PostgresWebhookStore:
    """Implements `WebhookStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, webhook: Webhook, at_most: int) -> None:
        """Store a webhook. Raises ResourceExhausted beyond `at_most`, Conflict for a second one without an address."""
        async with Transaction(self._pool) as connection:
            # Concurrent requests of one user run one after another, so that each counts the others' webhooks.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"webhooks {webhook.user_id}",))
            cursor = await connection.execute(
                "SELECT count(*) AS count FROM webhooks WHERE user_id = %s", (webhook.user_id,)
            )
            (row,) = await cursor.fetchall()
            if row["count"] >= at_most:
                raise ResourceExhausted(
                    f"the account has {at_most} webhooks, which is as many as it may; delete one",
                    reason="WEBHOOKS_EXHAUSTED",
                )
            try:
                await connection.execute(
                    "INSERT INTO webhooks (id, user_id, url, event_types, create_time) VALUES (%s, %s, %s, %s, %s)",
                    (webhook.id, webhook.user_id, webhook.url, list(webhook.event_types), webhook.create_time),
                )
            except psycopg.errors.UniqueViolation:
                raise Conflict(
                    "the account has a webhook for single jobs already; rotate its secret if it is lost",
                    reason="WEBHOOK_EXISTS",
                ) from None

    async def list_webhooks(self, user_id: str, size: int, after: Cursor | None) -> Sequence[Webhook]:
        create_time, webhook_id = after or (None, None)
        found = await fetch_all(
            self._pool,
            "SELECT * FROM webhooks WHERE user_id = %s"
            " AND (%s::timestamptz IS NULL OR (create_time, id) < (%s::timestamptz, %s))"
            " ORDER BY create_time DESC, id DESC LIMIT %s",
            (user_id, create_time, create_time, webhook_id, size),
        )
        return [_webhook(row) for row in found]

    async def find(self, user_id: str, webhook_id: str) -> Webhook | None:
        found = await fetch_all(
            self._pool, "SELECT * FROM webhooks WHERE user_id = %s AND id = %s", (user_id, webhook_id)
        )
        return _webhook(found[0]) if found else None

    async def find_for_jobs(self, user_id: str) -> Webhook | None:
        found = await fetch_all(self._pool, "SELECT * FROM webhooks WHERE user_id = %s AND url = ''", (user_id,))
        return _webhook(found[0]) if found else None

    async def delete(self, user_id: str, webhook_id: str) -> bool:
        return bool(
            await fetch_all(
                self._pool, "DELETE FROM webhooks WHERE user_id = %s AND id = %s RETURNING id", (user_id, webhook_id)
            )
        )

    async def rotate_secret(self, user_id: str, webhook_id: str, now: datetime) -> Webhook | None:
        found = await fetch_all(
            self._pool,
            "UPDATE webhooks SET secret_version = secret_version + 1, rotate_time = %s, disable_time = NULL"
            " WHERE user_id = %s AND id = %s RETURNING *",
            (now, user_id, webhook_id),
        )
        return _webhook(found[0]) if found else None

    async def list_deliveries(
        self, user_id: str, size: int, after: Cursor | None, webhook_id: str, status: str
    ) -> Sequence[Delivery]:
        create_time, delivery_id = after or (None, None)
        found = await fetch_all(
            self._pool,
            f"{_DELIVERIES} WHERE deliveries.user_id = %s AND (%s = '' OR webhook_id = %s)"
            " AND (%s = '' OR status = %s)"
            " AND (%s::timestamptz IS NULL OR (deliveries.create_time, deliveries.id) < (%s::timestamptz, %s))"
            " ORDER BY deliveries.create_time DESC, deliveries.id DESC LIMIT %s",
            (user_id, webhook_id, webhook_id, status, status, create_time, create_time, delivery_id, size),
        )
        return [_delivery(row) for row in found]

    async def find_delivery(self, user_id: str, delivery_id: str) -> Delivery | None:
        found = await fetch_all(
            self._pool, f"{_DELIVERIES} WHERE deliveries.user_id = %s AND deliveries.id = %s", (user_id, delivery_id)
        )
        return _delivery(found[0]) if found else None

    async def replay(self, user_id: str, delivery_id: str, now: datetime) -> Delivery | None:
        await fetch_all(
            self._pool,
            # A new claim: the attempt that another instance is making now does not end the delivery.
            "UPDATE deliveries SET status = 'pending', claim = claim + 1, due_time = %s, give_up_time = %s"
            " WHERE user_id = %s AND id = %s RETURNING id",
            (now, now + RETRY_PERIOD, user_id, delivery_id),
        )
        return await self.find_delivery(user_id, delivery_id)


def _webhook(row: DictRow) -> Webhook:
    return Webhook(
        id=row["id"],
        user_id=row["user_id"],
        url=row["url"],
        event_types=tuple(row["event_types"]),
        create_time=row["create_time"],
        secret_version=row["secret_version"],
        rotate_time=row["rotate_time"],
        disable_time=row["disable_time"],
    )


def _delivery(row: DictRow) -> Delivery:
    return Delivery(
        id=row["id"],
        webhook_id=row["webhook_id"],
        url=row["url"],
        event_id=row["message_id"],
        event_type=row["subject"],
        job_id=row["job_id"],
        status=row["status"],
        create_time=row["create_time"],
        due_time=row["due_time"],
        attempt_count=row["attempt_count"],
        history=from_json(tuple[DeliveryAttempt, ...], row["history"]),
        body=row["payload"].decode(),
    )

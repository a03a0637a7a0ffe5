"""Posts: what is to be posted to webhooks, as PostgreSQL hands it to one instance at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from services.orchestrator.postgres.rows import Transaction, fetched, to_json
from services.orchestrator.webhooks.deliveries import AT_ONCE_EACH, Busy, Claimed
from services.orchestrator.webhooks.webhooks import OLD_SECRET, Try
from services.runtime.db import Pool

MAX_HISTORY = 50

# One that another instance is just claiming is passed over.
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


class PostgresPosts:
    """Those in the database."""

    def __init__(self, pool: Pool, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pool = pool
        self._now = now

    async def claim(self, at_most: int, busy: Busy, lease: timedelta) -> Sequence[Claimed]:
        now = self._now()
        places = {"now": now, "until": now + lease, "at_most": at_most, "of_user": AT_ONCE_EACH, **_places(busy)}
        async with Transaction(self._pool, single=True) as connection:
            return [_claimed(row, now) for row in await (await connection.execute(_CLAIM, places)).fetchall()]

    async def tried(self, post: Claimed, tried: Try, status: str, due_time: datetime) -> None:
        async with Transaction(self._pool) as connection:
            cursor = await connection.execute(
                "UPDATE deliveries SET status = %s, due_time = %s, tries = tries + 1,"
                " history = CASE WHEN jsonb_array_length(history) < %s THEN history ELSE history - 0 END || %s"
                " WHERE id = %s AND claim = %s",
                (status, due_time, MAX_HISTORY, Jsonb([to_json(Try, tried)]), post.id, post.claim),
            )
            if cursor.rowcount != 1 or status != "gone":
                return
            # Nothing more is posted there: to the webhook, or, where single jobs say where, of this job.
            await connection.execute(
                "UPDATE webhooks SET disable_time = %s WHERE id = %s AND url = %s",
                (self._now(), post.webhook_id, post.url),
            )
            await connection.execute(
                "UPDATE jobs SET webhook_url = '' WHERE id = %s AND webhook_url = %s", (post.job_id, post.url)
            )
            await connection.execute(
                "UPDATE deliveries SET status = 'gone' WHERE webhook_id = %s AND url = %s AND status = 'pending'",
                (post.webhook_id, post.url),
            )

    async def postpone(self, post: Claimed, due_time: datetime) -> None:
        async with Transaction(self._pool, single=True) as connection:
            await connection.execute(
                "UPDATE deliveries SET due_time = %s WHERE id = %s AND claim = %s", (due_time, post.id, post.claim)
            )

    async def next_due(self, busy: Busy) -> datetime | None:
        (row,) = await fetched(
            self._pool,
            "SELECT min(due_time) AS due FROM deliveries"
            " WHERE status = 'pending' AND webhook_id <> ALL (%(webhooks)s) AND user_id <> ALL (%(users)s)",
            _places(busy),
        )
        due: datetime | None = row["due"]
        return due


def _places(busy: Busy) -> dict[str, list[str]]:
    return {"webhooks": list(busy.webhooks), "users": list(busy.users)}


def _claimed(row: DictRow, now: datetime) -> Claimed:
    newest = row["secret_version"]
    old_is_good = row["rotate_time"] is not None and now - row["rotate_time"] < OLD_SECRET
    return Claimed(
        id=row["id"],
        claim=row["claim"],
        webhook_id=row["webhook_id"],
        user_id=row["user_id"],
        url=row["url"],
        job_id=row["job_id"],
        event_id=row["message_id"],
        body=bytes(row["payload"]),
        secret_versions=(newest, newest - 1) if old_is_good else (newest,),
        tries=row["tries"],
        give_up_time=row["give_up_time"],
    )

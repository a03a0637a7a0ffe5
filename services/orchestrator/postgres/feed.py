"""The event feed in PostgreSQL: positions of events and of consumers (`events/feed.py`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

from services.orchestrator.events.feed import FeedEvent, NewEvents, PositionLookup
from services.orchestrator.webhooks.webhooks import RETRY_PERIOD
from services.runtime.db import Pool, Transaction, fetch_all

BATCH_SIZE = 500
# Both are background tasks: no client waits for them.
ASSIGN_SECONDS = 10.0
DELETE_SECONDS = 30.0

# An event is written while the row of its job is locked, so the ids of one job's events are in their order. An advisory
# lock lets one transaction assign positions at a time, so a reader that sees a position sees all smaller ones. The last
# six digits are random: after an older copy of the database is restored, later events get other positions, and a
# position from before is recognised as one that no event has.
_ASSIGN_POSITIONS = """
    WITH next AS MATERIALIZED (
        SELECT id, nextval('feed_positions') * 1000000 + floor(random() * 1000000)::bigint AS place FROM (
            SELECT id FROM outbox WHERE position IS NULL AND user_id IS NOT NULL ORDER BY id LIMIT %(batch)s
        ) AS fresh
    ), placed AS (
        UPDATE outbox SET position = next.place FROM next WHERE outbox.id = next.id
        RETURNING outbox.id, outbox.user_id, outbox.job_id, outbox.subject
    ), posted AS (
        INSERT INTO deliveries (id, webhook_id, event, user_id, url, create_time, due_time, give_up_time)
        SELECT 'dlv_' || replace(gen_random_uuid()::text, '-', ''), webhooks.id, placed.id, placed.user_id,
            coalesce(nullif(webhooks.url, ''), jobs.webhook_url), now(), now(), now() + %(give_up)s
        FROM placed
        JOIN webhooks ON webhooks.user_id = placed.user_id AND webhooks.disable_time IS NULL
            AND (webhooks.event_types = '{}' OR placed.subject = ANY (webhooks.event_types))
        LEFT JOIN jobs ON jobs.id = placed.job_id
        WHERE webhooks.url <> '' OR jobs.webhook_url <> ''
        RETURNING 1
    )
    SELECT DISTINCT user_id, (SELECT count(*) FROM posted) AS posted FROM placed
"""


class PostgresFeedStore:
    """Implements `FeedStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def assign_positions(self) -> NewEvents | None:
        if not await fetch_all(
            self._pool, "SELECT 1 FROM outbox WHERE position IS NULL AND user_id IS NOT NULL LIMIT 1"
        ):
            return None
        async with Transaction(self._pool, ASSIGN_SECONDS) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('orchestrator feed'))")
            cursor = await connection.execute(_ASSIGN_POSITIONS, {"batch": BATCH_SIZE, "give_up": RETRY_PERIOD})
            found = await cursor.fetchall()
        if not found:
            return None
        return NewEvents([row["user_id"] for row in found], deliveries=found[0]["posted"] > 0)

    async def list_after(self, user_id: str, position: int, size: int) -> Sequence[FeedEvent]:
        found = await fetch_all(
            self._pool,
            "SELECT position, message_id, sequence, payload FROM outbox"
            " WHERE user_id = %s AND position > %s ORDER BY position LIMIT %s",
            (user_id, position, size),
        )
        return [
            FeedEvent(row["position"], row["message_id"], row["sequence"], json.loads(row["payload"])) for row in found
        ]

    async def look_up(self, user_id: str, position: int) -> PositionLookup:
        (row,) = await fetch_all(
            self._pool,
            "SELECT EXISTS (SELECT 1 FROM outbox WHERE user_id = %(user)s AND position = %(position)s) AS found,"
            " EXISTS (SELECT 1 FROM outbox WHERE user_id = %(user)s AND position < %(position)s) AS older",
            {"user": user_id, "position": position},
        )
        return PositionLookup(row["found"], row["older"])

    async def newest_position(self, user_id: str) -> int:
        found = await fetch_all(self._pool, "SELECT max(position) AS newest FROM outbox WHERE user_id = %s", (user_id,))
        return found[0]["newest"] or 0

    async def newest_positions(self, user_ids: Sequence[str]) -> Mapping[str, int]:
        found = await fetch_all(
            self._pool,
            "SELECT user_id, (SELECT max(position) FROM outbox WHERE outbox.user_id = watched.user_id) AS newest"
            " FROM unnest(%s::text[]) AS watched (user_id)",
            (list(user_ids),),
        )
        return {row["user_id"]: row["newest"] for row in found if row["newest"]}

    async def consumer_position(self, user_id: str, name: str) -> int:
        found = await fetch_all(
            self._pool, "SELECT position FROM consumers WHERE user_id = %s AND name = %s", (user_id, name)
        )
        return found[0]["position"] if found else 0

    async def acknowledge(self, user_id: str, name: str, position: int) -> int:
        found = await fetch_all(
            self._pool,
            "INSERT INTO consumers AS known (user_id, name, position, update_time) VALUES (%s, %s, %s, now())"
            " ON CONFLICT (user_id, name) DO UPDATE SET position = greatest(known.position, excluded.position),"
            " update_time = excluded.update_time RETURNING position",
            (user_id, name, position),
        )
        return int(found[0]["position"])

    async def delete_older_than(self, age: timedelta) -> bool:
        async with Transaction(self._pool, DELETE_SECONDS) as connection:
            # Ids are nearly in the order of age. Events without publication or position stay.
            cursor = await connection.execute(
                "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT %s)"
                " AND create_time < now() - %s AND publish_time IS NOT NULL"
                " AND (position IS NOT NULL OR user_id IS NULL)",
                (BATCH_SIZE, age),
            )
            deleted = cursor.rowcount
            await connection.execute("DELETE FROM consumers WHERE update_time < now() - %s", (2 * age,))
        return deleted == BATCH_SIZE

"""Positions: where PostgreSQL has each event among all others, and each consumer among those of its user."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

from services.orchestrator.events.feed import Arrived, Found, Placed
from services.orchestrator.postgres.rows import Transaction, fetched
from services.orchestrator.webhooks.webhooks import GIVE_UP
from services.runtime.db import Pool

BATCH = 500
# Nobody waits for either.
PLACE_SECONDS = 10.0
SWEEP_SECONDS = 30.0

# An event of a job is written while its row is held, so those of one job have ids in their order. Nobody else gives
# positions meanwhile, so whoever sees one sees all that are smaller. The last six digits are random: should an older
# copy of the database be restored, it gives other positions to the events that follow, and a position from before is
# recognised as one that no event has.
_PLACE = """
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


class PostgresPositions:
    """Those in the database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def place(self) -> Arrived | None:
        if not await fetched(self._pool, "SELECT 1 FROM outbox WHERE position IS NULL AND user_id IS NOT NULL LIMIT 1"):
            return None
        async with Transaction(self._pool, PLACE_SECONDS) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('orchestrator feed'))")
            cursor = await connection.execute(_PLACE, {"batch": BATCH, "give_up": GIVE_UP})
            found = await cursor.fetchall()
        if not found:
            return None
        return Arrived([row["user_id"] for row in found], deliveries=found[0]["posted"] > 0)

    async def after(self, user_id: str, position: int, size: int) -> Sequence[Placed]:
        found = await fetched(
            self._pool,
            "SELECT position, message_id, sequence, payload FROM outbox"
            " WHERE user_id = %s AND position > %s ORDER BY position LIMIT %s",
            (user_id, position, size),
        )
        return [
            Placed(row["position"], row["message_id"], row["sequence"], json.loads(row["payload"])) for row in found
        ]

    async def find(self, user_id: str, position: int) -> Found:
        (row,) = await fetched(
            self._pool,
            "SELECT EXISTS (SELECT 1 FROM outbox WHERE user_id = %(user)s AND position = %(position)s) AS known,"
            " EXISTS (SELECT 1 FROM outbox WHERE user_id = %(user)s AND position < %(position)s) AS older",
            {"user": user_id, "position": position},
        )
        return Found(row["known"], row["older"])

    async def newest(self, user_id: str) -> int:
        found = await fetched(self._pool, "SELECT max(position) AS newest FROM outbox WHERE user_id = %s", (user_id,))
        return found[0]["newest"] or 0

    async def newest_of(self, user_ids: Sequence[str]) -> Mapping[str, int]:
        found = await fetched(
            self._pool,
            "SELECT user_id, (SELECT max(position) FROM outbox WHERE outbox.user_id = watched.user_id) AS newest"
            " FROM unnest(%s::text[]) AS watched (user_id)",
            (list(user_ids),),
        )
        return {row["user_id"]: row["newest"] for row in found if row["newest"]}

    async def consumer(self, user_id: str, name: str) -> int:
        found = await fetched(
            self._pool, "SELECT position FROM consumers WHERE user_id = %s AND name = %s", (user_id, name)
        )
        return found[0]["position"] if found else 0

    async def acknowledge(self, user_id: str, name: str, position: int) -> int:
        found = await fetched(
            self._pool,
            "INSERT INTO consumers AS known (user_id, name, position, update_time) VALUES (%s, %s, %s, now())"
            " ON CONFLICT (user_id, name) DO UPDATE SET position = greatest(known.position, excluded.position),"
            " update_time = excluded.update_time RETURNING position",
            (user_id, name, position),
        )
        return int(found[0]["position"])

    async def sweep(self, keep: timedelta) -> bool:
        async with Transaction(self._pool, SWEEP_SECONDS) as connection:
            # Ids grow with age, nearly; what was never published or placed is not thrown away.
            cursor = await connection.execute(
                "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT %s)"
                " AND create_time < now() - %s AND publish_time IS NOT NULL"
                " AND (position IS NOT NULL OR user_id IS NULL)",
                (BATCH, keep),
            )
            swept = cursor.rowcount
            await connection.execute("DELETE FROM consumers WHERE update_time < now() - %s", (2 * keep,))
        return swept == BATCH

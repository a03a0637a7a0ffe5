"""Signed links in PostgreSQL (`videos/links.py`)."""

from __future__ import annotations

from datetime import datetime

from moneyprinter.errors import ResourceExhausted
from services.orchestrator.videos.links import Link
from services.runtime.db import Pool, Transaction, fetch_all


class PostgresLinkStore:
    """Implements `LinkStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, link: Link, at_most: int, now: datetime) -> None:
        """Store a link. Raises ResourceExhausted when its job has `at_most` that are valid at the time `now`."""
        async with Transaction(self._pool) as connection:
            # Concurrent requests for one video run one after another, so that each counts the others' links.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"links {link.job_id}",))
            await connection.execute("DELETE FROM links WHERE job_id = %s AND expire_time < %s", (link.job_id, now))
            cursor = await connection.execute("SELECT count(*) AS count FROM links WHERE job_id = %s", (link.job_id,))
            (row,) = await cursor.fetchall()
            if row["count"] >= at_most:
                raise ResourceExhausted(
                    f"the video has {at_most} valid links, the most it may; revoke them, or wait until one expires",
                    reason="LINKS_EXHAUSTED",
                )
            await connection.execute(
                "INSERT INTO links (id, job_id, user_id, expire_time) VALUES (%s, %s, %s, %s)",
                (link.id, link.job_id, link.user_id, link.expire_time),
            )

    async def find_owner(self, link_id: str, job_id: str) -> str | None:
        found = await fetch_all(
            self._pool, "SELECT user_id FROM links WHERE id = %s AND job_id = %s", (link_id, job_id)
        )
        return str(found[0]["user_id"]) if found else None

    async def delete(self, user_id: str, job_id: str) -> None:
        await fetch_all(
            self._pool, "DELETE FROM links WHERE user_id = %s AND job_id = %s RETURNING id", (user_id, job_id)
        )

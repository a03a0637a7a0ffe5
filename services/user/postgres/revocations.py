"""Revocations in PostgreSQL. Triggers record them in the transaction that ends the session or changes the account."""

from __future__ import annotations

from services.runtime.db import Pool, fetch_all
from services.runtime.revocation_feed import Change


class PostgresRevocationStore:
    """A RevocationStore."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_since(self, seconds: float) -> list[Change]:
        rows = await fetch_all(
            self._pool,
            "SELECT credential, extract(epoch FROM max(time))::float8 AS time FROM revocations"
            " WHERE time > clock_timestamp() - make_interval(secs => %s) GROUP BY credential",
            (seconds,),
        )
        return [(row["credential"], row["time"]) for row in rows]

    async def delete_older(self, seconds: float) -> None:
        await fetch_all(
            self._pool,
            "DELETE FROM revocations WHERE id IN (SELECT id FROM revocations"
            " WHERE time <= clock_timestamp() - make_interval(secs => %s) LIMIT 10000 FOR UPDATE SKIP LOCKED)"
            " RETURNING id",
            (seconds,),
        )

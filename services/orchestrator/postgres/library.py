"""The library in PostgreSQL: settings, uploads, and retention (`videos/library.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from moneyprinter.errors import FailedPrecondition, NotFound
from services.orchestrator.jobs.model import Asset
from services.orchestrator.jobs.options import Pronunciation
from services.orchestrator.postgres import rows
from services.orchestrator.videos.library import RemoveBytes, Settings
from services.runtime.db import Pool, Transaction, fetch_all

# The transaction also waits for the storage service, which removes the bytes of an upload.
REMOVE_SECONDS = 30.0

# The request of each job contains the keys of the uploads that it uses.
_ASSET_TO_DELETE = """
    SELECT assets.*, EXISTS (
        SELECT 1 FROM jobs WHERE jobs.user_id = assets.user_id AND jobs.status = 'processing'
        AND position(assets.object ->> 'key' IN jobs.request::text) > 0
    ) AS in_use
    FROM assets WHERE user_id = %s AND id = %s FOR UPDATE
"""

_EXPIRE_VIDEOS = """
    UPDATE jobs SET delete_time = %(now)s, sweep_time = greatest(sweep_time, %(now)s)
    FROM (
        SELECT owners.user_id, coalesce(settings.retention_days, %(default)s) AS days
        FROM (SELECT DISTINCT user_id FROM jobs) AS owners LEFT JOIN settings USING (user_id)
    ) AS chosen
    WHERE chosen.user_id = jobs.user_id AND chosen.days > 0 AND jobs.end_time IS NOT NULL AND jobs.delete_time IS NULL
    AND jobs.end_time < %(now)s - chosen.days * interval '1 day'
"""

_EXPIRED_ASSET = """
    SELECT assets.* FROM assets LEFT JOIN settings USING (user_id)
    WHERE coalesce(settings.retention_days, %(default)s) > 0
    AND assets.create_time < %(now)s - coalesce(settings.retention_days, %(default)s) * interval '1 day'
    AND NOT EXISTS (
        SELECT 1 FROM jobs WHERE jobs.user_id = assets.user_id AND jobs.delete_time IS NULL
        AND position(assets.object ->> 'key' IN jobs.request::text) > 0
    )
    LIMIT 1 FOR UPDATE OF assets SKIP LOCKED
"""


class PostgresLibraryStore:
    """Implements `LibraryStore`. `default_days` is the retention of accounts without a setting."""

    def __init__(self, pool: Pool, default_days: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pool = pool
        self._default_days = default_days
        self._now = now

    async def get_settings(self, user_id: str) -> Settings:
        found = await fetch_all(
            self._pool, "SELECT retention_days, lexicon FROM settings WHERE user_id = %s", (user_id,)
        )
        if not found:
            return Settings(self._default_days)
        days = found[0]["retention_days"]
        lexicon = tuple(Pronunciation(**entry) for entry in found[0]["lexicon"])
        return Settings(self._default_days if days is None else days, lexicon)

    async def update_settings(
        self, user_id: str, *, retention_days: int | None = None, lexicon: Sequence[Pronunciation] | None = None
    ) -> None:
        entries = None if lexicon is None else Jsonb([asdict(entry) for entry in lexicon])
        async with Transaction(self._pool, single=True) as connection:
            await connection.execute(
                "INSERT INTO settings AS old (user_id, retention_days, lexicon)"
                " VALUES (%(user)s, %(days)s, coalesce(%(lexicon)s::jsonb, '[]'))"
                " ON CONFLICT (user_id) DO UPDATE SET retention_days = coalesce(%(days)s, old.retention_days),"
                " lexicon = coalesce(%(lexicon)s::jsonb, old.lexicon)",
                {"user": user_id, "days": retention_days, "lexicon": entries},
            )

    async def list_assets(self, user_id: str, size: int, after: tuple[datetime, str] | None) -> list[Asset]:
        create_time, asset_id = after or (None, None)
        found = await fetch_all(
            self._pool,
            "SELECT * FROM assets WHERE user_id = %s"
            " AND (%s::timestamptz IS NULL OR (create_time, id) < (%s::timestamptz, %s))"
            " ORDER BY create_time DESC, id DESC LIMIT %s",
            (user_id, create_time, create_time, asset_id, size),
        )
        return [rows.asset(row) for row in found]

    async def delete_asset(self, user_id: str, asset_id: str, remove_bytes: RemoveBytes) -> None:
        """Delete an asset. Raises NotFound, or FailedPrecondition while an unfinished job needs it."""
        async with Transaction(self._pool, REMOVE_SECONDS) as connection:
            row = await (await connection.execute(_ASSET_TO_DELETE, (user_id, asset_id))).fetchone()
            if row is None:
                raise NotFound(f"there is no asset {asset_id}", reason="ASSET_NOT_FOUND")
            if row["in_use"]:
                raise FailedPrecondition(
                    "a job that is made of it has not ended; cancel that, or wait for it", reason="ASSET_IN_USE"
                )
            await remove_bytes(rows.asset(row))
            await connection.execute("DELETE FROM assets WHERE id = %s", (asset_id,))

    async def expire_videos(self) -> int:
        async with Transaction(self._pool, REMOVE_SECONDS, single=True) as connection:
            return (await connection.execute(_EXPIRE_VIDEOS, self._retention())).rowcount

    async def expire_asset(self, remove_bytes: RemoveBytes) -> bool:
        async with Transaction(self._pool, REMOVE_SECONDS) as connection:
            row = await (await connection.execute(_EXPIRED_ASSET, self._retention())).fetchone()
            if row is None:
                return False
            await remove_bytes(rows.asset(row))
            await connection.execute("DELETE FROM assets WHERE id = %s", (row["id"],))
        return True

    def _retention(self) -> dict[str, object]:
        return {"now": self._now(), "default": self._default_days}

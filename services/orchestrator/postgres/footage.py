"""The footage of users in PostgreSQL: their uploads, and the clips of their videos (`workers/footage.py`)."""

from __future__ import annotations

from collections.abc import Sequence

from services.orchestrator.jobs.model import Asset
from services.orchestrator.postgres import rows
from services.runtime.db import Pool, fetch_all

MAX_UPLOADS = 5000
# Clips of older videos count as unused.
REMEMBERED_VIDEOS = 100

_USED_CUTS = """
    SELECT cut ->> 'id' AS id FROM (
        SELECT result, end_time FROM jobs WHERE user_id = %s AND status = 'completed' AND delete_time IS NULL
        ORDER BY end_time DESC LIMIT %s
    ) AS recent
    CROSS JOIN LATERAL jsonb_array_elements(coalesce(recent.result -> 'scenes', '[]')) AS scene
    CROSS JOIN LATERAL jsonb_array_elements(coalesce(scene -> 'cuts', '[]')) AS cut
    WHERE cut ->> 'id' <> '' AND cut ->> 'background' IS NULL ORDER BY recent.end_time
"""


class PostgresFootageRecords:
    """Implements `FootageRecords`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_uploads(self, user_id: str) -> Sequence[Asset]:
        query = "SELECT * FROM assets WHERE user_id = %s ORDER BY create_time DESC LIMIT %s"
        return [rows.asset(row) for row in await fetch_all(self._pool, query, (user_id, MAX_UPLOADS))]

    async def find_upload(self, user_id: str, asset_id: str) -> Asset | None:
        query = "SELECT * FROM assets WHERE user_id = %s AND id = %s"
        found = await fetch_all(self._pool, query, (user_id, asset_id))
        return rows.asset(found[0]) if found else None

    async def list_used_cuts(self, user_id: str) -> Sequence[str]:
        return [row["id"] for row in await fetch_all(self._pool, _USED_CUTS, (user_id, REMEMBERED_VIDEOS))]

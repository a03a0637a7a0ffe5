"""The records of files of videos and uploads in PostgreSQL (`videos/reconciliation.py`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from services.orchestrator.jobs.model import Result, StoredObject
from services.orchestrator.postgres.rows import from_json
from services.orchestrator.videos.reconciliation import JobFiles
from services.runtime.db import Pool, fetch_all


class PostgresFileRecords:
    """Implements `FileRecords`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin_pass(self, period: timedelta) -> bool:
        found = await fetch_all(
            self._pool,
            "INSERT INTO reconciliations AS last (name, begin_time) VALUES ('files', now())"
            " ON CONFLICT (name) DO UPDATE SET begin_time = excluded.begin_time"
            " WHERE last.begin_time <= now() - %s RETURNING 1",
            (period,),
        )
        return bool(found)

    async def find_job_files(self, job_ids: Sequence[str]) -> Mapping[str, JobFiles]:
        found = await fetch_all(
            self._pool,
            "SELECT id, status <> 'processing' AND sweep_time IS NULL AND delete_time IS NULL AS settled, result"
            " FROM jobs WHERE id = ANY(%s)",
            (list(job_ids),),
        )
        return {row["id"]: JobFiles(row["settled"], {file.key for file in _files(row["result"])}) for row in found}

    async def find_asset_keys(self, keys: Sequence[str]) -> Collection[str]:
        found = await fetch_all(
            self._pool,
            "SELECT object ->> 'key' AS key FROM assets WHERE id = ANY(%s)",
            ([key.rpartition("/")[2] for key in keys],),
        )
        return {row["key"] for row in found}

    async def list_finished_after(self, job_id: str, size: int) -> Sequence[tuple[str, Sequence[StoredObject]]]:
        found = await fetch_all(
            self._pool,
            "SELECT id, result FROM jobs WHERE id > %s AND status = 'completed' AND delete_time IS NULL"
            " ORDER BY id LIMIT %s",
            (job_id, size),
        )
        return [(row["id"], _files(row["result"])) for row in found]

    async def list_assets_after(self, asset_id: str, size: int) -> Sequence[tuple[str, Sequence[StoredObject]]]:
        found = await fetch_all(
            self._pool, "SELECT id, object FROM assets WHERE id > %s ORDER BY id LIMIT %s", (asset_id, size)
        )
        return [(row["id"], [from_json(StoredObject, row["object"])]) for row in found]


def _files(result: object) -> list[StoredObject]:
    return [file.object for file in from_json(Result, result).files] if result else []

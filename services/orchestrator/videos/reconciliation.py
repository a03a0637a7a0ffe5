"""Reconciliation of storage with the database: removes orphaned files, and reports recorded files that are missing.

One instance at a time makes a pass, and pauses for longer than it works. An orphan is removed only when it is older
than a grace period, which protects running jobs and uploads, and when no active job could still need it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from moneyprinter.errors import Error
from services.orchestrator.jobs.model import StoredObject

JOBS = "jobs"
PAGE_SIZE = 100
# The pauses of a pass are four times as long as its work.
PAUSE_FACTOR = 4.0
POLL_SECONDS = 60.0
# One pass removes at most this many orphans.
MAX_ORPHANS = 10_000
# If more than this, and more than half of all files, are orphans, the database probably belongs to another storage.
MIN_SUSPICIOUS_ORPHANS = 100

log = structlog.get_logger()


@dataclass(frozen=True)
class JobFiles:
    """The recorded files of a job."""

    settled: bool
    """Whether the job has ended and its cleanup is done."""
    keys: Collection[str] = ()
    """The keys of the files of its result."""


class FileRecords(Protocol):
    """The records of files in the database."""

    async def begin_pass(self, period: timedelta) -> bool:
        """Record that a pass begins. Return False when one began within the period."""

    async def find_job_files(self, job_ids: Sequence[str]) -> Mapping[str, JobFiles]:
        """Return the files of each of these jobs that exists."""

    async def find_asset_keys(self, keys: Sequence[str]) -> Collection[str]:
        """Return those of the keys that belong to recorded uploads."""

    async def list_finished_after(self, job_id: str, size: int) -> Sequence[tuple[str, Sequence[StoredObject]]]:
        """Return the completed jobs whose ids follow `job_id`, in the order of their ids, with their files."""

    async def list_assets_after(self, asset_id: str, size: int) -> Sequence[tuple[str, Sequence[StoredObject]]]:
        """Return the uploads whose ids follow `asset_id`, in the order of their ids, with their files."""


class Objects(Protocol):
    """The object storage."""

    def list_keys(self, folder: str) -> AsyncIterator[Sequence[tuple[str, float]]]: ...

    async def is_stored(self, wanted: StoredObject) -> bool: ...

    async def delete(self, key: str) -> None: ...


Page = Callable[[str, int], Awaitable[Sequence[tuple[str, Sequence[StoredObject]]]]]


@dataclass
class Reconciliation:
    """Compares storage with the database. Files are not removed until `grace` has passed since they were stored."""

    records: FileRecords
    objects: Objects
    asset_folder: str
    grace: timedelta
    now: Callable[[], datetime]
    pause_factor: float = PAUSE_FACTOR
    """The ratio of pauses to work."""
    missing: dict[str, int] = field(default_factory=lambda: {"video": 0, "asset": 0})
    """The number of recorded files that the last pass did not find, by kind of owner."""

    async def run(self, period: timedelta) -> None:
        """Make a pass in each period, until cancelled. With a period of 0, returns at once."""
        while period:
            await asyncio.sleep(min(POLL_SECONDS, period.total_seconds()))
            try:
                if await self.records.begin_pass(period):
                    await self.make_pass()
            except Error as failure:
                log.warning("reconciliation of stored files postponed", reason=failure.reason)

    async def make_pass(self) -> None:
        """Make one pass over all files. Raises what `objects` and `records` raise."""
        uploads: set[str] = set()
        await self._remove_orphans(uploads)
        self.missing["video"] = await self._report_missing("video", self.records.list_finished_after, None)
        self.missing["asset"] = await self._report_missing("asset", self.records.list_assets_after, uploads)

    async def _remove_orphans(self, uploads: set[str]) -> None:
        """Remove orphaned files. Adds the keys of all stored uploads to `uploads`."""
        orphans: list[str] = []
        seen = 0
        for folder, find in ((JOBS, self._job_orphans), (self.asset_folder, self._asset_orphans)):
            async for entries in self.objects.list_keys(folder):
                began = asyncio.get_running_loop().time()
                seen += len(entries)
                before = (self.now() - self.grace).timestamp()
                found = await find([key for key, store_time in entries if store_time < before])
                orphans += found[: MAX_ORPHANS - len(orphans)]
                if folder == self.asset_folder:
                    uploads.update(key for key, _ in entries)
                await self._pause(began)
        if len(orphans) > MIN_SUSPICIOUS_ORPHANS and 2 * len(orphans) > seen:
            log.error(
                "most stored files are orphans, and none is removed: is this the right database?",
                orphans=len(orphans),
                files=seen,
            )
            return
        for key in orphans:
            await self.objects.delete(key)
            log.warning("orphaned file removed", key=key)

    async def _job_orphans(self, keys: Sequence[str]) -> list[str]:
        owners = {key: key.removeprefix(f"{JOBS}/").partition("/")[0] for key in keys}
        known = await self.records.find_job_files(sorted(set(owners.values())))
        nothing = JobFiles(settled=True)
        return [
            key for key, owner in owners.items() if (job := known.get(owner, nothing)).settled and key not in job.keys
        ]

    async def _asset_orphans(self, keys: Sequence[str]) -> list[str]:
        known = await self.records.find_asset_keys(keys)
        return [key for key in keys if key not in known]

    async def _report_missing(self, kind: str, page: Page, stored: Collection[str] | None) -> int:
        """Report the recorded files that are not among the `stored` keys. None: list the folder of each owner."""
        after, missing = "", 0
        while owners := await page(after, PAGE_SIZE):
            began = asyncio.get_running_loop().time()
            for owner, files in owners:
                keys = stored if stored is not None else await self._list_keys(f"{JOBS}/{owner}")
                for file in files:
                    # It may have been stored, or its record deleted, since the keys were listed.
                    if file.key not in keys and await self._is_missing(kind, owner, file):
                        missing += 1
                        log.error("recorded file is missing", kind=kind, owner=owner, key=file.key)
            after = owners[-1][0]
            await self._pause(began)
        return missing

    async def _list_keys(self, folder: str) -> set[str]:
        return {key async for entries in self.objects.list_keys(folder) for key, _ in entries}

    async def _is_missing(self, kind: str, owner: str, file: StoredObject) -> bool:
        if await self.objects.is_stored(file):
            return False
        if kind == "asset":
            return file.key in await self.records.find_asset_keys([file.key])
        job = (await self.records.find_job_files([owner])).get(owner)
        return job is not None and job.settled and file.key in job.keys

    async def _pause(self, began: float) -> None:
        await asyncio.sleep(self.pause_factor * (asyncio.get_running_loop().time() - began))

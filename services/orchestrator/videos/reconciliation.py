"""Reconciliation: files of the store that belong to nothing are removed, and recorded files that are gone are reported.

One instance at a time makes a pass, now and then, and takes its time: it rests for longer than it works. A file is
removed only when it has been there for long, so that what is being made or uploaded is never touched, and when no job
that has not ended could still need it.
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
# A pass works for a fifth of the time.
REST = 4.0
LOOK_SECONDS = 60.0
# More orphans than these wait for the next pass.
MOST_ORPHANS = 10_000
# When most files belong to nothing, the database is not the one that the files belong to.
FEW_ORPHANS = 100

log = structlog.get_logger()


@dataclass(frozen=True)
class JobFiles:
    """What a job says of its files."""

    settled: bool
    """Whether it has ended, and nothing is left to be removed after it."""
    keys: Collection[str] = ()
    """Those of its result."""


class Records(Protocol):
    """What is recorded of files."""

    async def begin_pass(self, period: timedelta) -> bool:
        """Note that a pass begins; False when one began within the period."""

    async def jobs(self, job_ids: Sequence[str]) -> Mapping[str, JobFiles]:
        """What these jobs say of their files. What is not there is not returned."""

    async def assets(self, keys: Sequence[str]) -> Collection[str]:
        """Those of the keys that uploads have."""

    async def finished_after(self, job_id: str, size: int) -> Sequence[tuple[str, Sequence[StoredObject]]]:
        """The completed jobs whose ids follow `job_id`, in the order of their ids, with their files."""

    async def assets_after(self, asset_id: str, size: int) -> Sequence[tuple[str, Sequence[StoredObject]]]:
        """The uploads whose ids follow `asset_id`, in the order of their ids, with their files."""


class Objects(Protocol):
    """Where files are kept."""

    def list_keys(self, folder: str) -> AsyncIterator[Sequence[tuple[str, float]]]: ...

    async def is_stored(self, wanted: StoredObject) -> bool: ...

    async def delete(self, key: str) -> None: ...


Page = Callable[[str, int], Awaitable[Sequence[tuple[str, Sequence[StoredObject]]]]]


@dataclass
class Reconciliation:
    """Compares what is stored with what is recorded. `grace` is how long a file is left alone after it was stored."""

    records: Records
    objects: Objects
    asset_folder: str
    grace: timedelta
    now: Callable[[], datetime]
    rest: float = REST
    """How much longer it rests than it works."""
    missing: dict[str, int] = field(default_factory=lambda: {"video": 0, "asset": 0})
    """How many recorded files the last pass did not find, by what they belong to."""

    async def run(self, period: timedelta) -> None:
        """Make a pass once in each period, until cancelled; none when the period is 0."""
        while period:
            await asyncio.sleep(min(LOOK_SECONDS, period.total_seconds()))
            try:
                if await self.records.begin_pass(period):
                    await self.make_pass()
            except Error as failure:
                log.warning("stored files cannot be compared", reason=failure.reason)

    async def make_pass(self) -> None:
        """Compare everything once. Raises what the store and the records raise."""
        uploads: set[str] = set()
        await self._remove_orphans(uploads)
        self.missing["video"] = await self._report_missing("video", self.records.finished_after, None)
        self.missing["asset"] = await self._report_missing("asset", self.records.assets_after, uploads)

    async def _remove_orphans(self, uploads: set[str]) -> None:
        """Remove the files that belong to nothing; the keys of all uploads are added to `uploads`."""
        orphans: list[str] = []
        seen = 0
        for folder, find in ((JOBS, self._job_orphans), (self.asset_folder, self._asset_orphans)):
            async for entries in self.objects.list_keys(folder):
                began = asyncio.get_running_loop().time()
                seen += len(entries)
                before = (self.now() - self.grace).timestamp()
                found = await find([key for key, store_time in entries if store_time < before])
                orphans += found[: MOST_ORPHANS - len(orphans)]
                if folder == self.asset_folder:
                    uploads.update(key for key, _ in entries)
                await self._rest(began)
        if len(orphans) > FEW_ORPHANS and 2 * len(orphans) > seen:
            log.error(
                "most stored files belong to no video or upload, and none is removed: is this the right database?",
                orphans=len(orphans),
                files=seen,
            )
            return
        for key in orphans:
            await self.objects.delete(key)
            log.warning("file removed that belongs to nothing", key=key)

    async def _job_orphans(self, keys: Sequence[str]) -> list[str]:
        owners = {key: key.removeprefix(f"{JOBS}/").partition("/")[0] for key in keys}
        known = await self.records.jobs(sorted(set(owners.values())))
        nothing = JobFiles(settled=True)
        return [
            key for key, owner in owners.items() if (job := known.get(owner, nothing)).settled and key not in job.keys
        ]

    async def _asset_orphans(self, keys: Sequence[str]) -> list[str]:
        known = await self.records.assets(keys)
        return [key for key in keys if key not in known]

    async def _report_missing(self, kind: str, page: Page, stored: Collection[str] | None) -> int:
        """Report the recorded files that are not among the `stored` keys (None: of each owner's own folder)."""
        after, missing = "", 0
        while owners := await page(after, PAGE_SIZE):
            began = asyncio.get_running_loop().time()
            for owner, files in owners:
                keys = stored if stored is not None else await self._listed(f"{JOBS}/{owner}")
                for file in files:
                    # It may have been added, or deleted, since.
                    if file.key not in keys and await self._is_missing(kind, owner, file):
                        missing += 1
                        log.error("recorded file is missing", kind=kind, owner=owner, key=file.key)
            after = owners[-1][0]
            await self._rest(began)
        return missing

    async def _listed(self, folder: str) -> set[str]:
        return {key async for entries in self.objects.list_keys(folder) for key, _ in entries}

    async def _is_missing(self, kind: str, owner: str, file: StoredObject) -> bool:
        if await self.objects.is_stored(file):
            return False
        if kind == "asset":
            return file.key in await self.records.assets([file.key])
        job = (await self.records.jobs([owner])).get(owner)
        return job is not None and job.settled and file.key in job.keys

    async def _rest(self, began: float) -> None:
        await asyncio.sleep(self.rest * (asyncio.get_running_loop().time() - began))

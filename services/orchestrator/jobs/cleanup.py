"""Leftovers: what is left of a job that made no video or was deleted is removed, whatever dies meanwhile.

Pictures, segments and sounds are kept by their content and may belong to other jobs too; they are no leftovers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from moneyprinter.errors import Error
from services.orchestrator.jobs.model import Job
from services.runtime.tasks import wait_any

LOOK_SECONDS = 5.0

log = structlog.get_logger()


LAST_ATTEMPT = 999_999_999
"""No attempt has a higher number."""

Remove = Callable[[Job, bool], Awaitable[None]]
"""Removes the files of a job that has ended and are not its result's; all of them of one that was deleted (True)."""


class Leftovers(Protocol):
    """Jobs that have files to be removed."""

    async def sweep(self, remove: Remove) -> bool:
        """Give a job to `remove`, and have done with it when that returns; whether there was one.

        The steps whose results are files of the job are forgotten with the files, in one transaction.
        """


class Objects(Protocol):
    """Where bytes are kept."""

    async def delete(self, key: str) -> None: ...

    async def fence(self, folder: str, up_to: int) -> None: ...


async def sweep(leftovers: Leftovers, objects: Objects, left: asyncio.Event) -> None:
    """Remove what is left, as soon as `left` is set and now and then, until cancelled."""

    async def remove(job: Job, deleted: bool) -> None:
        up_to = LAST_ATTEMPT if deleted else job.last_stale_attempt
        if up_to >= 0:
            await objects.fence(job.folder, up_to)
        if deleted or job.result is None:
            # Earlier versions stored the files in the folder itself.
            for name in job.request.file_names:
                await objects.delete(f"{job.folder}/{name}")
        log.info("files removed", job_id=job.id, attempts=up_to)

    while True:
        left.clear()
        try:
            while await leftovers.sweep(remove):
                pass
        except Error as failure:
            log.warning("files wait to be removed", reason=failure.reason)
        await wait_any(left, seconds=LOOK_SECONDS)

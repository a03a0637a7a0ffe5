"""Cleanup: removes the files of jobs that made no video or were deleted. A job whose removal failed stays queued.

Cached clips, segments and narrations are stored by content hash and may belong to other jobs: they are not removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from moneyprinter.errors import Error
from services.orchestrator.jobs.model import Job
from services.runtime.tasks import wait_any

POLL_SECONDS = 5.0

log = structlog.get_logger()


LAST_ATTEMPT = 999_999_999
"""Greater than the number of any attempt."""

RemoveFiles = Callable[[Job, bool], Awaitable[None]]
"""Removes the files of an ended job that are not part of its result; all of its files when it was deleted (True)."""


class CleanupQueue(Protocol):
    """The jobs that have files to remove."""

    async def clean_next(self, remove_files: RemoveFiles) -> bool:
        """Call `remove_files` with the next job, and take it off the queue. Return whether there was one.

        The steps whose results are files of the job are deleted in the same transaction.
        """


class Objects(Protocol):
    """The object storage."""

    async def delete(self, key: str) -> None: ...

    async def fence(self, folder: str, up_to: int) -> None: ...


async def run_cleanup(queue: CleanupQueue, objects: Objects, files_left: asyncio.Event) -> None:
    """Remove leftover files whenever `files_left` is set, and every `POLL_SECONDS`, until cancelled."""

    async def remove_files(job: Job, deleted: bool) -> None:
        up_to = LAST_ATTEMPT if deleted else job.last_stale_attempt
        if up_to >= 0:
            await objects.fence(job.folder, up_to)
        if deleted or job.result is None:
            # Earlier versions stored the files in the folder itself.
            for name in job.request.file_names:
                await objects.delete(f"{job.folder}/{name}")
        log.info("job files removed", job_id=job.id, attempts=up_to)

    while True:
        files_left.clear()
        try:
            while await queue.clean_next(remove_files):
                pass
        except Error as failure:
            log.warning("removal of job files postponed", reason=failure.reason)
        await wait_any(files_left, seconds=POLL_SECONDS)

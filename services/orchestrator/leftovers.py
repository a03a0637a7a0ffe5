"""Leftovers: what is left of a job that made no video or was deleted is removed, whatever dies meanwhile.

Pictures, segments and sounds are kept by their content and may belong to other jobs too; they are no leftovers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from moneyprinter.errors import Error
from services.orchestrator.jobs import Job
from services.orchestrator.waking import woken

LOOK_SECONDS = 5.0

log = structlog.get_logger()


class Leftovers(Protocol):
    """Jobs that have files to be removed."""

    async def sweep(self, remove: Callable[[Job], Awaitable[None]]) -> bool:
        """Give a job to `remove`, and have done with it when that returns; whether there was one."""


class Objects(Protocol):
    """Where bytes are kept."""

    async def delete(self, key: str) -> None: ...


async def sweep(leftovers: Leftovers, objects: Objects, left: asyncio.Event) -> None:
    """Remove what is left, as soon as `left` is set and now and then, until cancelled."""

    async def remove(job: Job) -> None:
        for name in job.request.file_names:
            await objects.delete(f"{job.folder}/{name}")
        log.info("files removed", job_id=job.id)

    while True:
        left.clear()
        try:
            while await leftovers.sweep(remove):
                pass
        except Error as failure:
            log.warning("files wait to be removed", reason=failure.reason)
        await woken(left, seconds=LOOK_SECONDS)

"""Library: what accounts keep, and for how long: their settings, their uploads, and the removal of what has expired."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from moneyprinter.errors import Error
from services.orchestrator.jobs.model import Asset
from services.orchestrator.videos import pages
from services.orchestrator.videos.quotas import UNLIMITED, Quotas, UsageStore
from services.runtime.contract import Place

EXPIRE_SECONDS = 60.0

log = structlog.get_logger()

Remove = Callable[[Asset], Awaitable[None]]
"""Removes the bytes of an upload."""


@dataclass(frozen=True)
class Settings:
    """What an account has chosen for all its videos."""

    retention_days: int = 0
    """How long they are kept after their end, and uploads that none of them is made of; 0: until they are deleted."""


class Shelf(Protocol):
    """Where the settings and uploads of all accounts are recorded."""

    async def settings(self, user_id: str) -> Settings:
        """What an account has chosen."""

    async def choose(self, user_id: str, settings: Settings) -> None:
        """Record what an account has chosen."""

    async def page(self, user_id: str, size: int, after: Place | None) -> Sequence[Asset]:
        """A user's uploads, newest first, from the one that follows `after` on."""

    async def delete(self, user_id: str, asset_id: str, remove: Remove) -> None:
        """Give an upload to `remove`, and forget it. Raises NotFound, and FailedPrecondition while a job needs it."""

    async def expire_videos(self) -> int:
        """Delete the videos that have been kept for long enough, as their owners would; how many they were."""

    async def expire_asset(self, remove: Remove) -> bool:
        """Give an upload that has been kept for long enough to `remove`, and forget it; whether there was one.

        One of which a video is still there, which could be made again with changes, is kept with it.
        """


class Objects(Protocol):
    """Where bytes are kept."""

    async def delete(self, key: str) -> None: ...


@dataclass(frozen=True)
class Library:
    """What the public may ask of it. A user sees only what is the user's own."""

    shelf: Shelf
    objects: Objects
    usage: UsageStore
    quotas: Quotas = UNLIMITED

    async def page(self, user_id: str, size: int, token: str) -> tuple[Sequence[Asset], str]:
        """A page of a user's uploads, newest first, and the token of the next."""
        return await pages.page(
            size, token, lambda size, after: self.shelf.page(user_id, size, after), lambda asset: asset.id
        )

    async def delete(self, user_id: str, asset_id: str) -> None:
        """Forget an upload. Raises NotFound, and FailedPrecondition while a job needs it."""
        await self.shelf.delete(user_id, asset_id, self._remove)

    async def expire(self, left: Callable[[], None]) -> None:
        """Remove what has been kept for long enough, once; `left` is called when there are files to be removed."""
        if expired := await self.shelf.expire_videos():
            log.info("videos expired", videos=expired)
            left()
        while await self.shelf.expire_asset(self._remove):
            pass

    async def keep(self, left: Callable[[], None]) -> None:
        """Remove what has been kept for long enough, now and then, until cancelled."""
        while True:
            try:
                await self.expire(left)
            except Error as failure:
                log.warning("what has expired waits to be removed", reason=failure.reason)
            await asyncio.sleep(EXPIRE_SECONDS)

    async def _remove(self, asset: Asset) -> None:
        await self.objects.delete(asset.object.key)
        log.info("upload removed", asset_id=asset.id)

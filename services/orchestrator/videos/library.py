"""Library: the settings and uploads of accounts, and the removal of videos and uploads after their retention."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from moneyprinter.errors import Error
from services.orchestrator.jobs.model import Asset
from services.orchestrator.jobs.options import Pronunciation
from services.orchestrator.videos.quotas import UNLIMITED, Quotas, UsageStore
from services.runtime.pagination import Cursor, PageRequest, item_cursor, list_page

EXPIRY_PERIOD_SECONDS = 60.0

log = structlog.get_logger()

RemoveBytes = Callable[[Asset], Awaitable[None]]
"""Removes the bytes of an upload."""


@dataclass(frozen=True)
class Settings:
    """The settings of an account."""

    retention_days: int = 0
    """How long ended videos, and uploads that no video uses, are kept; 0: until they are deleted."""
    lexicon: tuple[Pronunciation, ...] = ()
    """What is spoken for words in all videos."""


class LibraryStore(Protocol):
    """The records of the settings and uploads of all accounts."""

    async def get_settings(self, user_id: str) -> Settings:
        """Return the settings of an account."""

    async def update_settings(
        self, user_id: str, *, retention_days: int | None = None, lexicon: Sequence[Pronunciation] | None = None
    ) -> None:
        """Record settings of an account; None: unchanged."""

    async def list_assets(self, user_id: str, size: int, after: Cursor | None) -> Sequence[Asset]:
        """Return a user's uploads, newest first, starting behind `after`."""

    async def delete_asset(self, user_id: str, asset_id: str, remove_bytes: RemoveBytes) -> None:
        """Call `remove_bytes` with an upload, and delete its record.

        Raises `NotFound` when there is none, and `FailedPrecondition` while an active job uses it.
        """

    async def expire_videos(self) -> int:
        """Delete the videos whose retention is over, as their owners would. Return how many were deleted."""

    async def expire_asset(self, remove_bytes: RemoveBytes) -> bool:
        """Call `remove_bytes` with an upload whose retention is over, and delete its record. Return whether one was.

        An upload is kept as long as a video uses it, since the video can be revised.
        """


class Objects(Protocol):
    """The object storage."""

    async def delete(self, key: str) -> None: ...


@dataclass(frozen=True)
class Library:
    """The settings and uploads of all accounts. Each method accesses only what belongs to the user."""

    store: LibraryStore
    objects: Objects
    usage: UsageStore
    quotas: Quotas = UNLIMITED

    async def find_lexicon(self, user_id: str) -> tuple[Pronunciation, ...]:
        """Return what is spoken for words in all videos of a user."""
        return (await self.store.get_settings(user_id)).lexicon

    async def list_assets(self, user_id: str, size: int, token: str) -> tuple[Sequence[Asset], str]:
        """Return a page of a user's uploads, newest first, and the token of the next page."""
        return await list_page(
            PageRequest(size, token), lambda size, after: self.store.list_assets(user_id, size, after), item_cursor
        )

    async def delete_asset(self, user_id: str, asset_id: str) -> None:
        """Delete an upload. Raises `NotFound`, and `FailedPrecondition` while an active job uses it."""
        await self.store.delete_asset(user_id, asset_id, self._remove_bytes)

    async def expire(self, on_files_left: Callable[[], None]) -> None:
        """Delete the videos and uploads whose retention is over, once.

        Calls `on_files_left` when files of deleted videos remain to be removed.
        """
        if expired := await self.store.expire_videos():
            log.info("videos expired", videos=expired)
            on_files_left()
        while await self.store.expire_asset(self._remove_bytes):
            pass

    async def run_expiry(self, on_files_left: Callable[[], None]) -> None:
        """Delete the videos and uploads whose retention is over, once a minute, until cancelled."""
        while True:
            try:
                await self.expire(on_files_left)
            except Error as failure:
                log.warning("removal of expired videos and uploads postponed", reason=failure.reason)
            await asyncio.sleep(EXPIRY_PERIOD_SECONDS)

    async def _remove_bytes(self, asset: Asset) -> None:
        await self.objects.delete(asset.object.key)
        log.info("upload removed", asset_id=asset.id)

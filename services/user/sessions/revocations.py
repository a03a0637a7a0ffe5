"""Revocations: publishes which sessions, API keys and accounts were revoked or changed, for the other services."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import structlog

from moneyprinter.errors import Error
from services.runtime.revocation_feed import PUBLISH_SECONDS, RETAIN_SECONDS, Change, RevocationPublisher

log = structlog.get_logger()

DELETE_SECONDS = 600.0


class RevocationStore(Protocol):
    """The recorded changes."""

    async def list_since(self, seconds: float) -> list[Change]:
        """Return the changes of the last so many seconds, the last one of each credential."""

    async def delete_older(self, seconds: float) -> None:
        """Delete changes that are older than so many seconds."""


async def delete_old_revocations(store: RevocationStore) -> None:
    """Delete changes that no token outlives, from time to time, until cancelled."""
    while True:
        try:
            await store.delete_older(RETAIN_SECONDS)
        except Error as failure:
            log.debug("old revocations not deleted", reason=failure.reason)
        await asyncio.sleep(DELETE_SECONDS)


async def publish_revocations(publisher: RevocationPublisher) -> None:
    """Publish changes every `PUBLISH_SECONDS`, until cancelled. While Redis is away, readers ask this service."""
    while True:
        began = time.monotonic()
        try:
            await publisher.publish()
        except Error as failure:
            log.debug("revocations not published", reason=failure.reason)
        await asyncio.sleep(max(0.0, began + PUBLISH_SECONDS - time.monotonic()))

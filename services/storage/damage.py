"""Damage: altered or unreadable objects are reported, and deleted where they can be made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from moneyprinter.errors import DataLoss, NotFound
from services.storage import objects
from services.storage.lifecycle import CACHE
from services.storage.objects import Blobs

log = structlog.get_logger()


@dataclass(frozen=True)
class DamageMonitor:
    """Counts and reports the damaged objects that reads find."""

    blobs: Blobs
    counts: Counter[str] = field(default_factory=Counter)
    """How many damaged objects were found, by the first part of their keys."""

    @asynccontextmanager
    async def watch(self, key: str) -> AsyncIterator[None]:
        """Report the damage that the body of this context finds.

        A damaged object that can be made again is deleted, and `NotFound` is raised in place of `DataLoss`: the reader
        then makes it, as it makes an object that never existed.
        """
        try:
            yield
        except DataLoss as failure:
            is_cached = key.startswith(CACHE)
            self.counts[key.partition("/")[0]] += 1
            log.error("object damaged", key=key, removed=is_cached, error=failure.message)
            if not is_cached:
                raise
            await objects.delete(self.blobs, key)
            raise NotFound(
                f"there is no object {key} any more: it was damaged, and removed; make it again",
                reason="OBJECT_NOT_FOUND",
            ) from None

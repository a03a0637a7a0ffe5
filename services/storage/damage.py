"""Damage: stored objects that are not what was stored. They are reported, and removed where they can be made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from moneyprinter.errors import DataLoss, NotFound
from services.storage import objects
from services.storage.objects import Blobs

CACHE = "cache/"
"""The first part of the keys of what can be made again."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Damage:
    """The damaged objects that were found."""

    blobs: Blobs
    found: Counter[str] = field(default_factory=Counter)
    """How many, by the first part of their keys."""

    @asynccontextmanager
    async def reported(self, key: str) -> AsyncIterator[None]:
        """Report a damaged object that is found while the context is open.

        One that can be made again is removed, and NotFound raised in place of DataLoss: a reader makes it anew, as it
        does with one that never was there.
        """
        try:
            yield
        except DataLoss as failure:
            cached = key.startswith(CACHE)
            self.found[key.partition("/")[0]] += 1
            log.error("object damaged", key=key, removed=cached, error=failure.message)
            if not cached:
                raise
            await objects.delete(self.blobs, key)
            raise NotFound(
                f"there is no object {key} any more: it was damaged, and removed; make it again",
                reason="OBJECT_NOT_FOUND",
            ) from None

"""Stored answers: what writers have answered, in the object storage, so that no instance pays for it again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from moneyprinter.errors import Error
from services.content.writers.cache import MAX_AGE_SECONDS

log = structlog.get_logger()

# A script does not wait longer for the storage.
_SECONDS = 2.0
_MAX_BYTES = 4 * 1024 * 1024


class Objects(Protocol):
    """The object storage."""

    async def head(self, key: str) -> Any: ...

    def get(self, key: str) -> AsyncIterator[bytes]: ...

    async def put_bytes(self, key: str, data: bytes) -> Any: ...


@dataclass(frozen=True)
class StoredAnswer:
    """An answer that passed its checks."""

    document: Any
    """The JSON document of the model."""
    writer: str


class StoredAnswers:
    """Keeps answers for a day. What cannot be read or written is written by a model again.

    Args:
        objects: The object storage.
        now: Returns the seconds since the epoch.
    """

    def __init__(self, objects: Objects, now: Callable[[], float] = time.time) -> None:
        self._objects = objects
        self._now = now

    async def find(self, key: str) -> StoredAnswer | None:
        """Return the answer to the request with a hash, when one was kept within a day."""
        try:
            async with asyncio.timeout(_SECONDS):
                found = await self._objects.head(_name(key))
                if found is None or found.size_bytes > _MAX_BYTES:
                    return None
                data = b"".join([chunk async for chunk in self._objects.get(_name(key))])
            kept = json.loads(data)
            if self._now() - kept["time"] > MAX_AGE_SECONDS:
                return None
            return StoredAnswer(kept["document"], str(kept["writer"]))
        except (Error, TimeoutError, ValueError, KeyError, TypeError) as failure:
            log.warning("stored answer not read", error=type(failure).__name__)
            return None

    async def keep(self, key: str, answer: StoredAnswer) -> None:
        """Keep the answer to the request with a hash."""
        kept = {"time": self._now(), "document": answer.document, "writer": answer.writer}
        try:
            async with asyncio.timeout(_SECONDS):
                await self._objects.put_bytes(_name(key), json.dumps(kept, ensure_ascii=False).encode())
        except (Error, TimeoutError) as failure:
            log.warning("answer not stored", error=type(failure).__name__)


def _name(key: str) -> str:
    return f"cache/texts/{key}.json"

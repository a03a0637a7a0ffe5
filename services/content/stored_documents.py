"""Stored documents: JSON documents of bounded size and age in the object storage, which all instances share."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol

import structlog

from moneyprinter.errors import Error

log = structlog.get_logger()

# A request does not wait longer for the storage.
_SECONDS = 2.0
_MAX_BYTES = 4 * 1024 * 1024


class Objects(Protocol):
    """The object storage."""

    async def head(self, key: str) -> Any: ...

    def get(self, key: str) -> AsyncIterator[bytes]: ...

    async def put_bytes(self, key: str, data: bytes) -> Any: ...


class StoredDocuments:
    """Keeps documents of one kind. What cannot be read counts as missing, and what cannot be written is not kept.

    Args:
        objects: The object storage.
        folder: The folder of the kind, for example `cache/texts`.
        max_age: How long a document is used.
        now: Returns the seconds since the epoch.
    """

    def __init__(self, objects: Objects, folder: str, max_age: timedelta, now: Callable[[], float] = time.time) -> None:
        self._objects = objects
        self._folder = folder
        self._max_age = max_age
        self._now = now

    async def find(self, key: str, max_age: timedelta | None = None) -> Any:
        """Return the document of a key; None when there is none of at most `max_age`, which is that of the kind."""
        name = f"{self._folder}/{key}.json"
        try:
            async with asyncio.timeout(_SECONDS):
                found = await self._objects.head(name)
                if found is None or found.size_bytes > _MAX_BYTES:
                    return None
                data = b"".join([chunk async for chunk in self._objects.get(name)])
            kept = json.loads(data)
            if self._now() - kept["time"] > (max_age or self._max_age).total_seconds():
                return None
            return kept["document"]
        except (Error, TimeoutError, ValueError, KeyError, TypeError) as failure:
            log.warning("stored document not read", folder=self._folder, error=type(failure).__name__)
            return None

    async def keep(self, key: str, document: Any) -> None:
        """Keep the document of a key."""
        data = json.dumps({"time": self._now(), "document": document}, ensure_ascii=False).encode()
        if len(data) > _MAX_BYTES:
            return
        try:
            async with asyncio.timeout(_SECONDS):
                await self._objects.put_bytes(f"{self._folder}/{key}.json", data)
        except (Error, TimeoutError) as failure:
            log.warning("document not stored", folder=self._folder, error=type(failure).__name__)


def hash_request(parts: Sequence[Any]) -> str:
    """The key of a request: equal for equal parts, which JSON can represent."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()

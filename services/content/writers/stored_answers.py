"""Stored answers: what writers have answered, in the object storage, so that no instance pays for it again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.content.stored_documents import Objects, StoredDocuments
from services.content.writers.cache import MAX_AGE_SECONDS


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
        self._documents = StoredDocuments(objects, "cache/texts", timedelta(seconds=MAX_AGE_SECONDS), now)

    async def find(self, key: str) -> StoredAnswer | None:
        """Return the answer to the request with a hash, when one was kept within a day."""
        match await self._documents.find(key):
            case {"answer": answer, "writer": str(writer)}:
                return StoredAnswer(answer, writer)
        return None

    async def keep(self, key: str, answer: StoredAnswer) -> None:
        """Keep the answer to the request with a hash."""
        await self._documents.keep(key, {"answer": answer.document, "writer": answer.writer})

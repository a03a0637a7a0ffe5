"""Uploads: streams files of clients into storage, within the quotas of their accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from moneyprinter.errors import InvalidArgument, ResourceExhausted, Unavailable
from services.orchestrator.jobs.model import Asset, StoredObject
from services.orchestrator.jobs.store import Store
from services.orchestrator.videos.quotas import UsageStore, reserve_chunks


class Objects(Protocol):
    """The object storage."""

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject: ...


@dataclass(frozen=True)
class Uploads:
    """Receives uploads."""

    store: Store
    usage: UsageStore
    objects: Objects
    now: Callable[[], datetime]
    new_id: Callable[[str], str]
    """Returns a new unique id: `new_id("ast")` is `ast_...`."""
    max_bytes: int
    """The size of the largest upload."""
    folder: str
    """The first part of the keys of uploads."""

    async def upload(
        self, user_id: str, read_name: Callable[[], str], chunks: AsyncIterator[bytes], length: int | None = None
    ) -> Asset:
        """Store an upload, and record it. `length` is its size in bytes, if the client declared it.

        `read_name` returns the file name; it is called after the first chunk. Raises `ResourceExhausted` when the file
        is too large or a quota of the account is exhausted, `InvalidArgument` when the file is empty.
        """
        asset_id = self.new_id("ast")
        if length is not None and length > self.max_bytes:
            raise self._too_large()
        key = f"{self.folder}/{asset_id}"
        checked = self._check_size(chunks)
        try:
            stored = await self.objects.put(key, reserve_chunks(self.usage, user_id, asset_id, checked, length))
            asset = Asset(asset_id, user_id, read_name() or asset_id, stored, self.now())
            await self.store.add_asset(asset)
        except BaseException:
            with suppress(Unavailable):
                # If this fails, the reservation expires after some hours.
                await asyncio.shield(self.usage.release(asset_id))
            raise
        return asset

    async def _check_size(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self.max_bytes:
                raise self._too_large()
            yield chunk
        if size == 0:
            raise InvalidArgument("the file is empty; send its bytes as the body", reason="ASSET_EMPTY")

    def _too_large(self) -> ResourceExhausted:
        return ResourceExhausted(
            f"the file is larger than the {self.max_bytes // 1_000_000} MB that are taken",
            reason="ASSET_TOO_LARGE",
        )

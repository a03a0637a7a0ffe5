"""Lifecycle: deletes objects and temporary blobs whose time has passed, in every kind of store."""

from __future__ import annotations

from services.storage.fences import FENCES, Blobs

CACHE = "cache/"
"""The prefix of the keys of objects that can be made again."""
TEMPORARY = "temporary!/"
"""The prefix of the names of blobs that exist during a put only; no key can begin like this."""


async def expire_cache(blobs: Blobs, before: float) -> None:
    """Delete the blobs of the cache whose last use was before a time; they are made again when needed."""
    await _delete_old(blobs, CACHE, before)


async def expire_fences(blobs: Blobs, before: float) -> None:
    """Delete the fences that were raised before a time, after which no writer that they stop is alive."""
    await _delete_old(blobs, FENCES, before)


async def delete_temporary(blobs: Blobs, before: float) -> None:
    """Delete the temporary blobs of puts whose process died, written before a time."""
    await _delete_old(blobs, TEMPORARY, before)


async def _delete_old(blobs: Blobs, prefix: str, before: float) -> None:
    async for entries in blobs.entries(prefix.rstrip("/")):
        for entry in entries:
            if entry.store_time < before:
                await blobs.delete(entry.name)

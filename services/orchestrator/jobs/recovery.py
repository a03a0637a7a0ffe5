"""Recovery: what a job made and the store lost is made again. Originals cannot be: their loss is explained.

Most of what steps give is kept by its content: speech, mixes, segments, joined videos, fetched clips. Storage removes
such an object when it finds it damaged, and after a time in which nothing used it. A recorded step whose object is
gone runs again, and so do the steps that depend on it: what they need is found by its content, and costs little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from moneyprinter.errors import DataLoss, Error
from services.orchestrator.jobs.model import StoredObject, VideoRequest

COMPLETE = "complete"
"""Stands for the end of a job, as a step that needs the files."""

LOST = ("OBJECT_NOT_FOUND", "DATA_CORRUPT", "CHECKSUM_MISMATCH")
"""The reasons of a step that did not get an object which it needs."""

# What each kind of step is made of; a kind is the first word of a step's name.
_NEEDS: Mapping[str, Sequence[str]] = {
    "caption": ("validate", "speak"),
    "mix": ("validate", "speak"),
    "render": ("validate", "caption"),
    "join": ("render",),
    "finish": ("join", "mix", "caption"),
    COMPLETE: ("finish",),
}
# So many objects are looked at at once.
_AT_ONCE = 8

IsStored = Callable[[StoredObject], Awaitable[bool]]
"""Whether an object is in the store, with the content that is recorded."""


def needed_steps(step: str, recorded: Collection[str]) -> list[str]:
    """Returns the recorded steps whose results a step is made of."""
    return [name for name in recorded if _kind(name) in _NEEDS.get(_kind(step), ())]


def dependent_steps(lost: Collection[str], recorded: Collection[str]) -> list[str]:
    """Returns the recorded steps that are made of lost ones, directly or not, and the lost ones."""
    kinds = {_kind(name) for name in lost}
    following: set[str] = set()
    while more := {kind for kind, needs in _NEEDS.items() if {*kinds, *following} & set(needs)} - following:
        following |= more
    return [name for name in recorded if name in lost or _kind(name) in following]


async def find_lost_steps(results: Mapping[str, Any], is_stored: IsStored) -> list[str]:
    """Returns the steps, by name, whose results (as JSON) name an object that the store does not have any more."""
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def is_lost(result: Any) -> bool:
        for found in find_objects(result):
            async with at_once:
                if not await is_stored(found):
                    return True
        return False

    lost = await asyncio.gather(*map(is_lost, results.values()))
    return [name for name, gone in zip(results, lost, strict=True) if gone]


def find_objects(result: Any) -> Iterator[StoredObject]:
    """The objects that a recorded result (JSON) names."""
    match result:
        case {"key": str(key), "sha256": str(sha256), "size_bytes": int(size_bytes)}:
            yield StoredObject(key, sha256, size_bytes)
        case dict():
            for value in result.values():
                yield from find_objects(value)
        case list() | tuple():
            for value in result:
                yield from find_objects(value)


def explain(error: Error, request: VideoRequest) -> Error:
    """Returns the error of a job that failed; when an upload is lost, one that names the upload and what to do."""
    if error.reason not in LOST:
        return error
    uploads = [(f"clips[{place}]", clip.asset) for place, clip in enumerate(request.clips)]
    uploads += [(f"overlays[{place}]", overlay.image) for place, overlay in enumerate(request.overlays)]
    for field, upload in uploads:
        if upload is not None and upload.key in error.message:
            return lost_upload_error(upload.key.rpartition("/")[2], field)
    return error


def lost_upload_error(asset_id: str, field: str = "") -> DataLoss:
    """The error for an upload whose stored bytes are damaged or gone."""
    return DataLoss(
        f"{field and f'{field}: '}the stored file of the asset {asset_id} is damaged or missing; upload the file again"
        " and name the new asset, or restore the storage from a backup",
        reason="DATA_CORRUPT",
    )


def _kind(step: str) -> str:
    return step.partition(" ")[0]

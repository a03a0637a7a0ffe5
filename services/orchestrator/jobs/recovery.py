"""Recovery: a job whose results the storage service has lost makes them again; a lost upload fails the job.

Most results are cached under a hash of their inputs: speech, mixes, segments, joined videos, fetched clips. The storage
service removes such an object when it finds the object damaged or unused for long. A recorded step whose object is gone
runs again, and so do the steps that depend on it; they find what still exists in the cache, and cost little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from moneyprinter.errors import DataLoss, Error
from services.orchestrator.jobs.model import StoredObject, VideoRequest

COMPLETE = "complete"
"""The end of a job, as a step that needs the files."""

LOST = ("OBJECT_NOT_FOUND", "DATA_CORRUPT", "CHECKSUM_MISMATCH")
"""The error reasons of a step that could not read an object."""

# The kinds of steps whose results each kind of step needs; a kind is the first word of a step's name.
_NEEDS: Mapping[str, Sequence[str]] = {
    "caption": ("validate", "speak"),
    "mix": ("validate", "speak"),
    "render": ("validate", "caption"),
    "join": ("render",),
    "finish": ("join", "mix", "caption"),
    COMPLETE: ("finish",),
}
# At most this many objects are checked at once.
_AT_ONCE = 8

IsStored = Callable[[StoredObject], Awaitable[bool]]
"""Returns whether an object is stored with its recorded content."""


def needed_steps(step: str, recorded: Collection[str]) -> list[str]:
    """Returns the recorded steps whose results a step needs."""
    return [name for name in recorded if _kind(name) in _NEEDS.get(_kind(step), ())]


def dependent_steps(lost: Collection[str], recorded: Collection[str]) -> list[str]:
    """Returns the lost steps and the recorded steps that depend on them, directly or not."""
    kinds = {_kind(name) for name in lost}
    following: set[str] = set()
    while more := {kind for kind, needs in _NEEDS.items() if {*kinds, *following} & set(needs)} - following:
        following |= more
    return [name for name in recorded if name in lost or _kind(name) in following]


async def find_lost_steps(results: Mapping[str, Any], is_stored: IsStored) -> list[str]:
    """Returns the names of the steps whose results (as JSON) name an object that is no longer stored."""
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
    """Returns the objects that a recorded result (JSON) names."""
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
    """Returns the error of a failed job; when an upload is lost, an error that names the upload and what to do."""
    if error.reason not in LOST:
        return error
    uploads = [(f"clips[{place}]", clip.asset) for place, clip in enumerate(request.clips)]
    uploads += [(f"overlays[{place}]", overlay.image) for place, overlay in enumerate(request.overlays)]
    sounds = (("narration_asset_id", request.recording), ("music_asset_id", request.music))
    uploads += [(f"audio.{field}", sound.object) for field, sound in sounds if sound is not None]
    for field, upload in uploads:
        if upload is not None and upload.key in error.message:
            return lost_upload_error(upload.key.rpartition("/")[2], field)
    return error


def lost_upload_error(asset_id: str, field: str = "") -> DataLoss:
    """Returns the error for an upload whose stored bytes are damaged or gone."""
    return DataLoss(
        f"{field and f'{field}: '}the stored file of the asset {asset_id} is damaged or missing; upload the file again"
        " and name the new asset, or restore the storage from a backup",
        reason="DATA_CORRUPT",
    )


def _kind(step: str) -> str:
    return step.partition(" ")[0]

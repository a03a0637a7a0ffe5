"""Quotas: how much of the platform one account may use, so that it leaves room for others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from moneyprinter.errors import FailedPrecondition, ResourceExhausted
from services.orchestrator.jobs.model import SourceClip

# Uploads whose length is not known reserve room in steps.
STEP_BYTES = 16 * 1024 * 1024

FETCHED = "cache/"
"""The first part of the keys of clips that were fetched; uploads have another."""
_MEGA = 1_000_000


@dataclass(frozen=True)
class Quotas:
    """The limits of each account; 0: there is no limit."""

    bytes: int = 0
    """Of uploads, and of the files of finished videos."""
    files: int = 0
    """Uploads and finished videos."""
    jobs: int = 0
    """Jobs that have not ended."""
    minutes: int = 0
    """Minutes of video that are asked for within 24 hours."""
    fetched_bytes: int = 0
    """Bytes of clips that are fetched from other hosts within 24 hours."""


UNLIMITED = Quotas()


@dataclass(frozen=True)
class Usage:
    """What an account uses now."""

    bytes: int
    files: int
    jobs: int
    minutes: float
    fetched_bytes: int = 0


class UsageStore(Protocol):
    """Where it is recorded what accounts use."""

    async def usage(self, user_id: str) -> Usage:
        """What an account uses."""

    async def reserve(self, user_id: str, asset_id: str, size_bytes: int) -> None:
        """Reserve room for an upload, or more room. Raises ResourceExhausted when the account has none left."""

    async def release(self, asset_id: str) -> None:
        """Give back the room of an upload that did not end well."""


def check_upload(quotas: Quotas, used_bytes: int, used_files: int, size_bytes: int) -> None:
    """Raise ResourceExhausted when an account that uses so much has no room for one more file of a size."""
    if quotas.bytes and used_bytes + size_bytes > quotas.bytes:
        raise _exceeded(
            f"your uploads and videos take {_megabytes(used_bytes)} of the {_megabytes(quotas.bytes)} that an account"
            f" has, and this file needs {_megabytes(size_bytes)} or more; delete videos or uploads"
        )
    _check_files(quotas, used_files)


def check_job(quotas: Quotas, usage: Usage, more_minutes: float) -> None:
    """Raise ResourceExhausted when an account that uses so much may not begin a job for a video of so many minutes."""
    if quotas.jobs and usage.jobs >= quotas.jobs:
        raise _exceeded(
            f"{usage.jobs} of your jobs have not ended, and an account may have {quotas.jobs} at once; wait for one, or"
            " cancel one"
        )
    if quotas.minutes and usage.minutes + more_minutes > quotas.minutes:
        raise _exceeded(
            f"you asked for {usage.minutes:.1f} minutes of video within 24 hours, and this one has about"
            f" {more_minutes:.1f}; an account may have {quotas.minutes}; try again later"
        )
    if quotas.fetched_bytes and usage.fetched_bytes >= quotas.fetched_bytes:
        raise _exceeded(_fetched(quotas, usage.fetched_bytes))
    if quotas.bytes and usage.bytes >= quotas.bytes:
        raise _exceeded(
            f"your uploads and videos take {_megabytes(usage.bytes)} of the {_megabytes(quotas.bytes)} that an account"
            " has; delete videos or uploads"
        )
    _check_files(quotas, usage.files)


def fetched_bytes(result: object) -> int:
    """How many bytes were fetched from another host for a step that gave `result`."""
    if isinstance(result, SourceClip) and result.source is not None:
        stored = result.source.object
        return stored.size_bytes if stored.key.startswith(FETCHED) else 0
    return 0


def check_fetched(quotas: Quotas, used_bytes: int) -> None:
    """Raise FailedPrecondition, which ends the job, when more than allowed was fetched for an account."""
    if quotas.fetched_bytes and used_bytes > quotas.fetched_bytes:
        raise FailedPrecondition(f"quota exceeded: {_fetched(quotas, used_bytes)}", reason="QUOTA_EXCEEDED")


def _fetched(quotas: Quotas, used_bytes: int) -> str:
    return (
        f"{_megabytes(used_bytes)} were fetched for your videos within 24 hours, and an account may have"
        f" {_megabytes(quotas.fetched_bytes)} fetched; try again later, or upload the clips"
    )


def _check_files(quotas: Quotas, used_files: int) -> None:
    if quotas.files and used_files >= quotas.files:
        raise _exceeded(
            f"you have {used_files} uploads and videos, and an account may have {quotas.files}; delete some"
        )


async def reserved(
    store: UsageStore, user_id: str, asset_id: str, chunks: AsyncIterator[bytes], length: int | None
) -> AsyncIterator[bytes]:
    """The chunks of an upload, for which room is reserved before they are taken. `length` is in bytes, if it is known.

    Raises ResourceExhausted when there is no room for more.
    """
    room, taken = length or 0, 0
    await store.reserve(user_id, asset_id, room)
    async for chunk in chunks:
        taken += len(chunk)
        if taken > room:
            room = taken + STEP_BYTES
            try:
                await store.reserve(user_id, asset_id, room)
            except ResourceExhausted:
                # It may end before that.
                room = taken
                await store.reserve(user_id, asset_id, room)
        yield chunk


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / _MEGA:,.1f} MB"


def _exceeded(message: str) -> ResourceExhausted:
    return ResourceExhausted(f"quota exceeded: {message}", reason="QUOTA_EXCEEDED")

"""Quotas: limits on what one account may use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from moneyprinter.errors import FailedPrecondition, ResourceExhausted
from services.orchestrator.jobs.footage import PreparedCuts
from services.orchestrator.jobs.model import NarratedScript, SourceClip
from services.orchestrator.jobs.scenes import WrittenScript

# Uploads without a declared length reserve space in steps of this size.
RESERVATION_STEP_BYTES = 16 * 1024 * 1024

FETCHED_PREFIX = "cache/"
"""The first part of the keys of fetched clips; uploads have another one."""
_MEGA = 1_000_000
# Of the limit for a month, what one job may cost when there is no limit for a job.
JOB_SHARE = 0.1
# How many refused accounts are remembered.
MAX_REFUSED = 1000
# Less than this is nothing: sums of prices are not exact.
_LEAST_COST = 1e-6


@dataclass(frozen=True)
class Quotas:
    """The limits of each account; 0: no limit."""

    bytes: int = 0
    """Bytes of uploads, and of the files of finished videos."""
    files: int = 0
    """Number of uploads and finished videos."""
    jobs: int = 0
    """Number of active jobs."""
    minutes: int = 0
    """Minutes of video requested within 24 hours."""
    fetched_bytes: int = 0
    """Bytes of clips fetched from other hosts within 24 hours."""
    month_cost: float | None = None
    """What providers may charge for an account in a calendar month; None: no limit."""
    job_cost: float | None = None
    """What providers may charge for a job; None: a part of the limit of the month."""


UNLIMITED = Quotas()


@dataclass(frozen=True)
class Usage:
    """What an account uses."""

    bytes: int
    files: int
    jobs: int
    minutes: float
    fetched_bytes: int = 0
    cost: float = 0.0
    """What providers have charged in this month, with what unfinished jobs may cost."""
    max_cost: float | None = None
    """The limit of the cost that an administrator set for the account; None: that of the quotas."""


class UsageStore(Protocol):
    """The records of what accounts use."""

    async def get_usage(self, user_id: str) -> Usage:
        """Return what an account uses."""

    async def reserve(self, user_id: str, asset_id: str, size_bytes: int) -> None:
        """Set the reservation of an upload to `size_bytes`. Raises `ResourceExhausted` when a quota is exhausted."""

    async def release(self, asset_id: str) -> None:
        """Delete the reservation of a failed upload."""

    async def set_cost_limit(self, user_id: str, max_cost: float | None) -> None:
        """Set the limit of the cost of an account for a month; None: that of the quotas."""

    async def reserve_call(self, user_id: str, call_id: str, cost: float) -> float | None:
        """Reserve what a call without a job may cost. Return what providers may charge for it; None: no limit.

        Raises `ResourceExhausted` (COST_LIMIT_REACHED) when nothing is left of the limit of the account's month.
        """

    async def record_call(self, user_id: str, call_id: str, cost: float) -> None:
        """Record what providers charged for a call, in place of what is reserved for it."""


def check_upload(quotas: Quotas, used_bytes: int, used_files: int, size_bytes: int) -> None:
    """Raise `ResourceExhausted` when an account cannot store one more file of `size_bytes`."""
    if quotas.bytes and used_bytes + size_bytes > quotas.bytes:
        raise _quota_error(
            f"your uploads and videos take {_megabytes(used_bytes)} of the {_megabytes(quotas.bytes)} that an account"
            f" has, and this file needs {_megabytes(size_bytes)} or more; delete videos or uploads"
        )
    _check_files(quotas, used_files)


def check_job(quotas: Quotas, usage: Usage, more_minutes: float) -> None:
    """Raise `ResourceExhausted` when an account cannot start a job for a video of `more_minutes`."""
    if quotas.jobs and usage.jobs >= quotas.jobs:
        raise _quota_error(
            f"{usage.jobs} of your jobs have not ended, and an account may have {quotas.jobs} at once; wait for one, or"
            " cancel one"
        )
    if quotas.minutes and usage.minutes + more_minutes > quotas.minutes:
        raise _quota_error(
            f"you asked for {usage.minutes:.1f} minutes of video within 24 hours, and this one has about"
            f" {more_minutes:.1f}; an account may have {quotas.minutes}; try again later"
        )
    if quotas.fetched_bytes and usage.fetched_bytes >= quotas.fetched_bytes:
        raise _quota_error(_describe_fetched(quotas, usage.fetched_bytes))
    if quotas.bytes and usage.bytes >= quotas.bytes:
        raise _quota_error(
            f"your uploads and videos take {_megabytes(usage.bytes)} of the {_megabytes(quotas.bytes)} that an account"
            " has; delete videos or uploads"
        )
    _check_files(quotas, usage.files)


def max_month_cost(quotas: Quotas, usage: Usage) -> float | None:
    """Return what providers may charge for an account in a month; None: no limit."""
    return quotas.month_cost if usage.max_cost is None else usage.max_cost


def reserve_cost(quotas: Quotas, usage: Usage) -> float | None:
    """Return what providers may charge for a new job; None: no limit, 0: no provider that charges is used.

    Raises `ResourceExhausted` (COST_LIMIT_REACHED) when nothing is left of the limit of the account's month.
    """
    month = max_month_cost(quotas, usage)
    if month is None:
        return quotas.job_cost
    if not month:
        return 0.0
    left = month - usage.cost
    if left < _LEAST_COST:
        raise ResourceExhausted(
            f"cost limit reached: providers charged {usage.cost:.4f} for your videos since the month began, unfinished"
            f" ones included, and an account may have {month:.4f}; try again next month, or ask an administrator for"
            " more",
            reason="COST_LIMIT_REACHED",
        )
    return min(left, month * JOB_SHARE if quotas.job_cost is None else quotas.job_cost)


def charged_cost(step: str, result: object) -> float:
    """Return what providers charged for a step with this result."""
    if step == "script" and isinstance(result, WrittenScript):
        return sum(each.cost for each in result.usage)
    if step == "speak" and isinstance(result, NarratedScript):
        return sum(each.cost for each in result.narration.usage)
    return 0.0


def fetched_bytes(result: object) -> int:
    """Return the number of bytes that a step with this result fetched from another host."""
    clips = result.clips if isinstance(result, PreparedCuts) else (result,)
    stored = [clip.source.object for clip in clips if isinstance(clip, SourceClip) and clip.source is not None]
    return sum(each.size_bytes for each in stored if each.key.startswith(FETCHED_PREFIX))


def check_fetched(quotas: Quotas, used_bytes: int) -> None:
    """Raise `FailedPrecondition`, which fails the job, when an account has exceeded its quota of fetched bytes."""
    if quotas.fetched_bytes and used_bytes > quotas.fetched_bytes:
        raise FailedPrecondition(f"quota exceeded: {_describe_fetched(quotas, used_bytes)}", reason="QUOTA_EXCEEDED")


def _describe_fetched(quotas: Quotas, used_bytes: int) -> str:
    return (
        f"{_megabytes(used_bytes)} were fetched for your videos within 24 hours, and an account may have"
        f" {_megabytes(quotas.fetched_bytes)} fetched; try again later, or upload the clips"
    )


def _check_files(quotas: Quotas, used_files: int) -> None:
    if quotas.files and used_files >= quotas.files:
        raise _quota_error(
            f"you have {used_files} uploads and videos, and an account may have {quotas.files}; delete some"
        )


async def reserve_chunks(
    store: UsageStore, user_id: str, asset_id: str, chunks: AsyncIterator[bytes], length: int | None
) -> AsyncIterator[bytes]:
    """Yield the chunks of an upload; space for each is reserved before it is yielded.

    `length` is the declared size in bytes, if any. Raises `ResourceExhausted` when a quota is exhausted.
    """
    reserved, received = length or 0, 0
    await store.reserve(user_id, asset_id, reserved)
    async for chunk in chunks:
        received += len(chunk)
        if received > reserved:
            reserved = received + RESERVATION_STEP_BYTES
            try:
                await store.reserve(user_id, asset_id, reserved)
            except ResourceExhausted:
                # The upload may end before the full step is needed.
                reserved = received
                await store.reserve(user_id, asset_id, reserved)
        yield chunk


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / _MEGA:,.1f} MB"


def _quota_error(message: str) -> ResourceExhausted:
    return ResourceExhausted(f"quota exceeded: {message}", reason="QUOTA_EXCEEDED")


class QuotaRefusals:
    """Refuses requests of accounts that are over a quota before costly checks, which the store's check comes after.

    It reads the usage only of accounts that were refused lately, so that others do not wait for it.
    """

    def __init__(self, usage: UsageStore, quotas: Quotas) -> None:
        self._usage = usage
        self._quotas = quotas
        # The accounts that were refused last, oldest first.
        self._refused: dict[str, None] = {}

    async def check(self, user_id: str) -> None:
        """Raise `ResourceExhausted` when an account that was refused lately still cannot start a job."""
        if user_id in self._refused:
            check_job(self._quotas, await self._usage.get_usage(user_id), 0.0)
            self._refused.pop(user_id, None)

    @contextmanager
    def record(self, user_id: str) -> Iterator[None]:
        """Remember the account when the body raises `ResourceExhausted` (QUOTA_EXCEEDED)."""
        try:
            yield
        except ResourceExhausted as refusal:
            if refusal.reason == "QUOTA_EXCEEDED":
                self._refused.pop(user_id, None)
                self._refused[user_id] = None
                while len(self._refused) > MAX_REFUSED:
                    del self._refused[next(iter(self._refused))]
            raise

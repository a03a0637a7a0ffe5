"""Rows: a transaction on the database, and what its rows hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import PoolTimeout
from pydantic import TypeAdapter

from moneyprinter.errors import Unavailable
from services.orchestrator.jobs.model import (
    PRIORITIES,
    Asset,
    Failure,
    Job,
    JobProgress,
    Result,
    StoredObject,
    VideoRequest,
)
from services.runtime.db import Pool, cut_later

T = TypeVar("T")

Parameters = Sequence[Any] | Mapping[str, Any]

# How long a transaction may take: whoever waits for it is told within two seconds that the database is away.
PATIENCE_SECONDS = 1.5

# Made once: building one takes longer than a query.
_codec: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def to_json(kind: type[T], value: T) -> Any:
    """A value as JSON can hold it."""
    return _codec(kind).dump_python(value, mode="json")


def from_json(kind: type[T], value: Any) -> T:
    """The value that `to_json` wrote."""
    found: T = _codec(kind).validate_python(value)
    return found


def asset(row: DictRow) -> Asset:
    """The upload of a row of `assets`."""
    return Asset(
        id=row["id"],
        user_id=row["user_id"],
        filename=row["filename"],
        object=from_json(StoredObject, row["object"]),
        create_time=row["create_time"],
    )


def job(row: DictRow) -> Job:
    """The job of a row of `jobs`."""
    return Job(
        id=row["id"],
        user_id=row["user_id"],
        request=from_json(VideoRequest, row["request"]),
        status=row["status"],
        create_time=row["create_time"],
        estimated_completion=row["estimated_completion"],
        priority=PRIORITIES[row["priority"]],
        stages=row["stages"],
        progress=row["progress"],
        progress_details=from_json(JobProgress, row["tally"]),
        attempt=row["attempt"],
        base_attempt=row["base_attempt"],
        result=from_json(Result, row["result"]) if row["result"] else None,
        failure=from_json(Failure, row["error"]) if row["error"] else None,
        original_request=row["wish"],
        work_seconds=row["work_seconds"],
        webhook_url=row["webhook_url"],
    )


class Transaction:
    """A connection of the pool, in a transaction. When the database is away, or hangs, that is said as Unavailable.

    Of a `single` statement the database makes a transaction by itself, in one round trip instead of three.
    """

    def __init__(self, pool: Pool, patience_seconds: float = PATIENCE_SECONDS, *, single: bool = False) -> None:
        self._single = single
        self._opened: AsyncConnection[DictRow] | None = None
        self._connection = pool.connection(timeout=min(patience_seconds, PATIENCE_SECONDS))
        self._patience_seconds = patience_seconds
        self._end: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> AsyncConnection[DictRow]:
        began = asyncio.get_running_loop().time()
        try:
            connection = await self._connection.__aenter__()
        except (PoolTimeout, psycopg.OperationalError) as failure:
            raise _away(failure) from failure
        if self._single:
            self._opened = connection
            await connection.set_autocommit(True)
        self._end = cut_later(connection, began + self._patience_seconds - asyncio.get_running_loop().time())
        return connection

    async def __aexit__(self, kind: Any, failure: Any, traceback: Any) -> None:
        if self._single and self._opened is not None:
            with suppress(psycopg.Error):  # One that is lost is not used again.
                await self._opened.set_autocommit(False)
        try:
            await self._connection.__aexit__(kind, failure, traceback)
        except psycopg.OperationalError as lost:
            # Who is cancelled ends as that, whatever becomes of the connection.
            if not isinstance(failure, asyncio.CancelledError):
                raise _away(lost) from lost
        finally:
            if self._end is not None:
                self._end.cancel()
        if isinstance(failure, psycopg.OperationalError):
            raise _away(failure) from failure


async def fetched(pool: Pool, query: str, parameters: Parameters = ()) -> list[DictRow]:
    """What a statement that stands alone returns."""
    async with Transaction(pool, single=True) as connection:
        return await (await connection.execute(query, parameters)).fetchall()


def _away(failure: Exception) -> Unavailable:
    if isinstance(failure, psycopg.errors.DiskFull):
        # Unlike other full stores this one makes jobs wait, since their records must not be lost.
        return Unavailable(
            "the disk is full; free some space and try again", reason="STORAGE_FULL", retry_after_seconds=10.0
        )
    return Unavailable(
        "the database cannot be reached; try again in a moment", reason="SERVICE_UNAVAILABLE", retry_after_seconds=2.0
    )

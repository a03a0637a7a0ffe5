"""Conversion of table rows and JSON columns to the types of the domain."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic import TypeAdapter

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
from services.orchestrator.jobs.scenes import Review

T = TypeVar("T")

# Cached: building a TypeAdapter takes longer than a query.
_codec: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def to_json(kind: type[T], value: T) -> Any:
    """Return a value as JSON types."""
    return _codec(kind).dump_python(value, mode="json")


def from_json(kind: type[T], value: Any) -> T:
    """Return the value that `to_json` converted."""
    found: T = _codec(kind).validate_python(value)
    return found


def asset(row: DictRow) -> Asset:
    """Return the upload of a row of `assets`."""
    return Asset(
        id=row["id"],
        user_id=row["user_id"],
        filename=row["filename"],
        object=from_json(StoredObject, row["object"]),
        create_time=row["create_time"],
    )


def job_columns(job: Job) -> dict[str, Any]:
    """Return the values of a new row of `jobs`, by the names of the parameters of its statement."""
    return {
        "id": job.id,
        "user_id": job.user_id,
        "title": job.request.title,
        "request": Jsonb(to_json(VideoRequest, job.request)),
        "original_request": Jsonb(job.original_request),
        "status": job.status,
        "stages": Jsonb(job.stages),
        "create_time": job.create_time,
        "estimated_completion": job.estimated_completion,
        "work_seconds": job.work_seconds,
        "priority": PRIORITIES.index(job.priority),
        "webhook_url": job.webhook_url,
        "group_id": job.request.version.group_id if job.request.version else None,
    }


def job(row: DictRow) -> Job:
    """Return the job of a row of `jobs`."""
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
        progress_details=from_json(JobProgress, row["progress_details"]),
        attempt=row["attempt"],
        base_attempt=row["base_attempt"],
        result=from_json(Result, row["result"]) if row["result"] else None,
        failure=from_json(Failure, row["error"]) if row["error"] else None,
        original_request=row["original_request"],
        work_seconds=row["work_seconds"],
        webhook_url=row["webhook_url"],
        review=from_json(Review, row["review"]) if row["review"] else None,
    )

"""The messages of the lifecycle events of a job, as `event.v1` defines them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from google.protobuf.message import Message

from moneyprinter.event.v1 import event_pb2
from services.orchestrator.jobs.model import Failure, Job, Result
from services.orchestrator.jobs.scenes import Review
from services.orchestrator.jobs.stages import STAGES


class Event(NamedTuple):
    """An event of a job, before it has a sequence number."""

    kind: str
    """Its type, which is also its NATS subject."""
    message: Message
    key: str
    """Identifies it among the events of its type and job: an event with the same key is published once."""


def format_timestamp(time: datetime) -> str:
    """Return a time in the format of the public API: `2025-01-29T10:00:00Z`."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _event(kind: str, make: Callable[..., Message], payload: Message, job: Job, now: datetime, *, key: str) -> Event:
    """Return an event in the common envelope."""
    message = make(
        event_type=kind, job_id=job.id, user_id=job.user_id, timestamp=format_timestamp(now), payload=payload
    )
    return Event(kind, message, key)


def make_started_event(job: Job, now: datetime) -> Event:
    """Return `video.processing.started`."""
    spans = [
        clip.end_seconds - (clip.start_seconds or 0.0) for clip in job.request.clips if clip.end_seconds is not None
    ]
    payload = event_pb2.VideoProcessingStarted.Payload(
        clips_count=len(job.request.clips),
        total_duration=round(sum(spans), 3),
        quality_settings=job.request.quality,
    )
    return _event(
        "video.processing.started", event_pb2.VideoProcessingStarted, payload, job, now, key=str(job.base_attempt)
    )


def make_progress_event(job: Job, percent: int, now: datetime) -> Event:
    """Return `video.processing.progress`."""
    payload = event_pb2.VideoProcessingProgress.Payload(progress=percent)
    return _event("video.processing.progress", event_pb2.VideoProcessingProgress, payload, job, now, key=str(percent))


def make_stage_completed_event(job: Job, stage: str, percent: int, now: datetime) -> Event:
    """Return `video.processing.stage_completed`."""
    payload = event_pb2.VideoProcessingStageCompleted.Payload(stage=stage, progress=percent)
    return _event(
        "video.processing.stage_completed", event_pb2.VideoProcessingStageCompleted, payload, job, now, key=stage
    )


def make_stage_completed_events(job: Job, stages: Mapping[str, str], percent: int, now: datetime) -> list[Event]:
    """Return `video.processing.stage_completed` of each completed stage, published before or not."""
    return [
        make_stage_completed_event(job, stage, percent, now) for stage in STAGES if stages.get(stage) == "completed"
    ]


def make_review_requested_event(job: Job, review: Review, now: datetime) -> Event:
    """Return `video.processing.review_requested`."""
    payload = event_pb2.VideoProcessingReviewRequested.Payload(
        subject=review.subject,
        video_url=f"/videos/{job.id}",
        approve_url=f"/videos/{job.id}/approve",
        expire_time=format_timestamp(review.expire_time),
    )
    make = event_pb2.VideoProcessingReviewRequested
    return _event("video.processing.review_requested", make, payload, job, now, key=str(job.base_attempt))


def make_completed_event(job: Job, result: Result, now: datetime) -> Event:
    """Return `video.processing.completed`."""
    payload = event_pb2.VideoProcessingCompleted.Payload(
        output_url=f"/videos/{job.id}/file",
        duration=round(result.seconds, 3),
        file_size=result.files[0].object.size_bytes,
        processing_time=round((now - job.create_time).total_seconds(), 3),
    )
    return _event(
        "video.processing.completed", event_pb2.VideoProcessingCompleted, payload, job, now, key=str(job.base_attempt)
    )


def make_failed_event(job: Job, failure: Failure, now: datetime) -> Event:
    """Return `video.processing.failed`."""
    payload = event_pb2.VideoProcessingFailed.Payload(
        stage=failure.stage, reason=failure.reason, message=failure.message
    )
    return _event(
        "video.processing.failed", event_pb2.VideoProcessingFailed, payload, job, now, key=str(job.base_attempt)
    )


def make_cancelled_event(job: Job, now: datetime) -> Event:
    """Return `video.processing.cancelled`."""
    payload = event_pb2.VideoProcessingCancelled.Payload(progress=job.progress)
    return _event(
        "video.processing.cancelled", event_pb2.VideoProcessingCancelled, payload, job, now, key=str(job.base_attempt)
    )

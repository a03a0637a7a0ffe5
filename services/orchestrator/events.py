"""Events: the lifecycle events of a job as their contract writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.message import Message

from moneyprinter.event.v1 import event_pb2
from services.orchestrator.jobs import Failure, Job, Result


def timestamp(moment: datetime) -> str:
    """A moment as the public API writes it: `2025-01-29T10:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def started(job: Job, now: datetime) -> tuple[str, Message]:
    """Subject and message of `video.processing.started`."""
    kind = "video.processing.started"
    spans = [
        clip.end_seconds - (clip.start_seconds or 0.0) for clip in job.request.clips if clip.end_seconds is not None
    ]
    return kind, event_pb2.VideoProcessingStarted(
        event_type=kind,
        job_id=job.id,
        user_id=job.user_id,
        timestamp=timestamp(now),
        payload=event_pb2.VideoProcessingStarted.Payload(
            clips_count=len(job.request.clips),
            total_duration=round(sum(spans), 3),
            quality_settings=job.request.quality,
        ),
    )


def completed(job: Job, result: Result, now: datetime) -> tuple[str, Message]:
    """Subject and message of `video.processing.completed`."""
    kind = "video.processing.completed"
    return kind, event_pb2.VideoProcessingCompleted(
        event_type=kind,
        job_id=job.id,
        user_id=job.user_id,
        timestamp=timestamp(now),
        payload=event_pb2.VideoProcessingCompleted.Payload(
            output_url=f"/videos/{job.id}/file",
            duration=round(result.seconds, 3),
            file_size=result.files[0].object.size_bytes,
            processing_time=round((now - job.create_time).total_seconds(), 3),
        ),
    )


def failed(job: Job, failure: Failure, now: datetime) -> tuple[str, Message]:
    """Subject and message of `video.processing.failed`."""
    kind = "video.processing.failed"
    return kind, event_pb2.VideoProcessingFailed(
        event_type=kind,
        job_id=job.id,
        user_id=job.user_id,
        timestamp=timestamp(now),
        payload=event_pb2.VideoProcessingFailed.Payload(
            stage=failure.stage, reason=failure.reason, message=failure.message
        ),
    )


def cancelled(job: Job, now: datetime) -> tuple[str, Message]:
    """Subject and message of `video.processing.cancelled`."""
    kind = "video.processing.cancelled"
    return kind, event_pb2.VideoProcessingCancelled(
        event_type=kind,
        job_id=job.id,
        user_id=job.user_id,
        timestamp=timestamp(now),
        payload=event_pb2.VideoProcessingCancelled.Payload(progress=job.progress),
    )

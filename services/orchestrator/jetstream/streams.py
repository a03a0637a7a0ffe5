"""The streams in JetStream: their configuration, and their reconstruction when their files are damaged.

PostgreSQL holds the truth. A damaged stream is deleted and created empty: queued jobs are published again.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError, ServerError

JOBS = "JOBS"
EVENTS = "EVENTS"

EVENT_RETENTION = timedelta(days=7)
DUPLICATE_WINDOW = timedelta(minutes=10)
# A stream that was created within this time is not created again.
MIN_STREAM_AGE = timedelta(minutes=1)

log = structlog.get_logger()


async def make_streams(stream: JetStreamContext) -> None:
    """Create the streams, or update their configuration. A stream whose files are damaged is created anew.

    Raises `nats.errors.Error` or `APIError`.
    """
    for config in (
        StreamConfig(
            name=JOBS,
            subjects=["jobs.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            duplicate_window=DUPLICATE_WINDOW.total_seconds(),
        ),
        StreamConfig(
            name=EVENTS,
            subjects=["video.processing.>"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            max_age=EVENT_RETENTION.total_seconds(),
            duplicate_window=DUPLICATE_WINDOW.total_seconds(),
        ),
    ):
        try:
            await _create_or_update(stream, config)
        except ServerError:
            # The server answers this when the stream's files are damaged.
            with suppress(APIError):
                await stream.delete_stream(str(config.name))
            await _create_or_update(stream, config)
            log.error("damaged JetStream stream created anew", stream=config.name)


async def recreate_stream(stream: JetStreamContext, name: str) -> None:
    """Delete a damaged stream and create it empty; `requeue_lost_jobs` publishes its jobs again.

    Raises `nats.errors.Error` or `APIError`.
    """
    with suppress(APIError):
        await stream.delete_stream(name)
    await make_streams(stream)
    log.error("damaged JetStream stream created anew", stream=name)


async def recreate_refusing_stream(stream: JetStreamContext, name: str) -> None:
    """Create a stream anew that accepts no messages although its server responds, unless it is new.

    Raises `nats.errors.Error`, `APIError` or `TimeoutError` when the server does not respond.
    """
    try:
        created = (await stream.stream_info(name)).created
    except NotFoundError:
        await make_streams(stream)
        return
    if created is None or datetime.now(UTC) - created > MIN_STREAM_AGE:
        await recreate_stream(stream, name)


async def _create_or_update(stream: JetStreamContext, config: StreamConfig) -> None:
    try:
        await stream.add_stream(config)
    except APIError:
        await stream.update_stream(config)

"""The job queue in JetStream: a message announces that a job is queued, and wakes one instance.

PostgreSQL holds the truth: it decides which job is next. A message does not name the job that its receiver claims;
there is one message for each job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import APIError, ServerError

from moneyprinter.errors import Unavailable
from services.orchestrator.jetstream.streams import JOBS, make_streams, recreate_stream
from services.orchestrator.jobs.store import JOBS_SUBJECT, AllJobsHeld, Store, StoreUnavailable, Superseded

FETCH_SECONDS = 5.0
RETRY_SECONDS = 1.0
HELD_SECONDS = 2.0

log = structlog.get_logger()

Drive = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""Claims and runs the next job; calls its argument now and then while it runs."""


async def consume_jobs(stream: JetStreamContext, drive: Drive, *, jobs_at_once: int, lease_seconds: float) -> None:
    """Receive messages and call `drive` for each, at most `jobs_at_once` at a time, until cancelled.

    On cancellation the messages of unfinished jobs are returned to the queue.
    """
    subscription = await _subscribe_first(stream, lease_seconds)
    slots = asyncio.Semaphore(jobs_at_once)
    running: set[asyncio.Task[None]] = set()

    def on_done(task: asyncio.Task[None]) -> None:
        running.discard(task)
        slots.release()
        if not task.cancelled() and (failure := task.exception()):
            # The message is not acknowledged: JetStream delivers it again after the lease.
            log.error("defect", exc_info=failure)

    try:
        while True:
            await slots.acquire()
            try:
                message = await _fetch_message(subscription)
            except (nats.errors.Error, APIError) as failure:
                slots.release()
                log.warning("job queue unavailable", error=str(failure) or type(failure).__name__)
                await asyncio.sleep(RETRY_SECONDS)
                # A server that lost its disk has neither the stream nor the consumer.
                with suppress(nats.errors.Error, APIError, TimeoutError):
                    subscription = await _resubscribe(stream, lease_seconds)
                continue
            if message is None:
                slots.release()
                continue
            task = asyncio.create_task(_handle(message, drive))
            running.add(task)
            task.add_done_callback(on_done)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def requeue_lost_jobs(
    store: Store, stream: JetStreamContext, *, lease_seconds: float, pause_seconds: float
) -> None:
    """Queue active jobs again whose messages were lost, every `pause_seconds`, until cancelled.

    Acts only when the queue holds fewer messages than there are active jobs: messages were lost, or the whole stream
    was. A job that waits for its turn has no heartbeat either, and must not be queued twice.
    """
    while True:
        try:
            if (await stream.stream_info(JOBS)).state.messages < await store.active_jobs():
                for job_id in await store.requeue_silent(timedelta(seconds=3 * lease_seconds)):
                    log.warning("job queued again", job_id=job_id)
        except (nats.errors.Error, APIError, TimeoutError, Unavailable) as failure:
            log.warning("job queue not compared with the database", error=str(failure) or type(failure).__name__)
        await asyncio.sleep(pause_seconds)


async def subscribe(stream: JetStreamContext, lease_seconds: float) -> JetStreamContext.PullSubscription:
    """Subscribe to the job queue. A message that is not acknowledged within the lease is delivered again."""
    return await stream.pull_subscribe(
        JOBS_SUBJECT,
        durable="orchestrator",
        stream=JOBS,
        config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=lease_seconds, max_deliver=-1),
    )


async def _subscribe_first(stream: JetStreamContext, lease_seconds: float) -> JetStreamContext.PullSubscription:
    while True:
        try:
            return await subscribe(stream, lease_seconds)
        except (nats.errors.Error, APIError, TimeoutError) as failure:
            log.warning("job queue unavailable", error=str(failure) or type(failure).__name__)
            with suppress(nats.errors.Error, APIError, TimeoutError):
                return await _resubscribe(stream, lease_seconds)
            await asyncio.sleep(RETRY_SECONDS)


async def _resubscribe(stream: JetStreamContext, lease_seconds: float) -> JetStreamContext.PullSubscription:
    """Subscribe when the streams may be gone, or the consumer's files damaged."""
    await make_streams(stream)
    try:
        return await subscribe(stream, lease_seconds)
    except ServerError:
        await recreate_stream(stream, JOBS)
        return await subscribe(stream, lease_seconds)


async def _fetch_message(subscription: JetStreamContext.PullSubscription) -> Msg | None:
    try:
        return (await subscription.fetch(1, timeout=FETCH_SECONDS))[0]
    except (TimeoutError, nats.errors.TimeoutError):
        return None


async def _handle(message: Msg, drive: Drive) -> None:
    """Run the next job. Acknowledge the message when the job has ended, otherwise return it to the queue."""

    async def extend_lease() -> None:
        with suppress(nats.errors.Error):
            await message.in_progress()

    try:
        await drive(extend_lease)
    except asyncio.CancelledError:
        with suppress(nats.errors.Error):
            await message.nak()
        raise
    except Superseded as failure:
        log.warning("job was claimed by another instance, or ended", job_id=str(failure))
    except (StoreUnavailable, AllJobsHeld, Unavailable) as failure:
        # If an instance that holds a job dies, this message lets another one claim the job.
        log.info("message returned to the queue", reason=type(failure).__name__)
        with suppress(nats.errors.Error):
            await message.nak(delay=HELD_SECONDS)
    else:
        # If the acknowledgement is lost, the message is delivered again, and there is no job to claim.
        with suppress(nats.errors.Error):
            await message.ack()

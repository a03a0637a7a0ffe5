"""JetStream: the queue that hands jobs to one instance each, and the relay that publishes what was recorded.

PostgreSQL is the truth, and decides which job is next. A message on the queue only says that there is work, one
for each job; an outbox row is published until JetStream acknowledges it, and its id lets JetStream drop what it
has seen.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError, ServerError

from moneyprinter.errors import Unavailable
from services.orchestrator.jobs.store import JOBS_SUBJECT, AllJobsHeld, Store, StoreUnavailable, Superseded
from services.runtime.events import until_subscribed
from services.runtime.tasks import wait_any

JOBS = "JOBS"
EVENTS = "EVENTS"
STATUS_SUBJECT = "status"
CANCELLED_SUBJECT = f"{STATUS_SUBJECT}.cancelled"
FEED_SUBJECT = f"{STATUS_SUBJECT}.feed"

IDLE_SECONDS = 5.0
RETRY_SECONDS = 1.0
BETWEEN_SECONDS = 0.01
HELD_SECONDS = 2.0
KEEP_EVENTS = timedelta(days=7)
DUPLICATE_WINDOW = timedelta(minutes=10)
PUBLISH_SECONDS = 5.0
# A stream that takes no message in so many tries, though its server answers, is damaged.
TRIES = 4
# One that was made so lately is not made anew.
REBUILT = timedelta(minutes=1)

log = structlog.get_logger()


class Outbox(Protocol):
    """What was recorded and is to be published."""

    async def deliver(self, publish: Callable[[str, bytes, Mapping[str, str]], Awaitable[None]]) -> bool:
        """Give some messages to `publish` (subject, payload, headers), the oldest first; whether there may be more."""


Drive = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]


async def make_streams(stream: JetStreamContext) -> None:
    """Make the streams, or bring those that are there up to date. One that cannot be is made anew."""
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
            max_age=KEEP_EVENTS.total_seconds(),
            duplicate_window=DUPLICATE_WINDOW.total_seconds(),
        ),
    ):
        try:
            await _add_stream(stream, config)
        except ServerError:
            # Its files are damaged.
            with suppress(APIError):
                await stream.delete_stream(str(config.name))
            await _add_stream(stream, config)
            log.error("JetStream stream damaged, made anew from PostgreSQL", stream=config.name)


async def _add_stream(stream: JetStreamContext, config: StreamConfig) -> None:
    try:
        await stream.add_stream(config)
    except APIError:
        await stream.update_stream(config)


async def rebuild(stream: JetStreamContext, name: str) -> None:
    """Make a damaged stream anew, without its messages; what is still of use is queued again by `reconcile`.

    Raises nats.errors.Error or APIError.
    """
    with suppress(APIError):
        await stream.delete_stream(name)
    await make_streams(stream)
    log.error("JetStream stream damaged, made anew from PostgreSQL", stream=name)


async def _rebuild_refusing(stream: JetStreamContext, name: str) -> None:
    """Make a stream anew that takes no messages, though its server answers. One that is new is left.

    Raises nats.errors.Error, APIError or TimeoutError when the server does not answer.
    """
    try:
        created = (await stream.stream_info(name)).created
    except NotFoundError:
        await make_streams(stream)
        return
    if created is None or datetime.now(UTC) - created > REBUILT:
        await rebuild(stream, name)


async def consume(stream: JetStreamContext, drive: Drive, *, jobs_at_once: int, lease_seconds: float) -> None:
    """Take jobs from the queue and drive them, some at once, until cancelled; then give back what is not done."""
    subscription = await _first_subscription(stream, lease_seconds)
    places = asyncio.Semaphore(jobs_at_once)
    running: set[asyncio.Task[None]] = set()

    def ended(task: asyncio.Task[None]) -> None:
        running.discard(task)
        places.release()
        if not task.cancelled() and (failure := task.exception()):
            # The message was not acknowledged: it comes again when the lease is over.
            log.error("defect", exc_info=failure)

    try:
        while True:
            await places.acquire()
            try:
                message = await _next(subscription)
            except (nats.errors.Error, APIError) as failure:
                places.release()
                log.warning("queue cannot be read", error=str(failure) or type(failure).__name__)
                await asyncio.sleep(RETRY_SECONDS)
                # A server that lost its disk has neither the stream nor its consumer.
                with suppress(nats.errors.Error, APIError, TimeoutError):
                    subscription = await _subscribe_again(stream, lease_seconds)
                continue
            if message is None:
                places.release()
                continue
            task = asyncio.create_task(_handle(message, drive))
            running.add(task)
            task.add_done_callback(ended)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _first_subscription(stream: JetStreamContext, lease_seconds: float) -> JetStreamContext.PullSubscription:
    while True:
        try:
            return await _subscribe(stream, lease_seconds)
        except (nats.errors.Error, APIError, TimeoutError) as failure:
            log.warning("queue cannot be read", error=str(failure) or type(failure).__name__)
            with suppress(nats.errors.Error, APIError, TimeoutError):
                return await _subscribe_again(stream, lease_seconds)
            await asyncio.sleep(RETRY_SECONDS)


async def _subscribe_again(stream: JetStreamContext, lease_seconds: float) -> JetStreamContext.PullSubscription:
    """Subscribe where the streams may be gone, or the consumer's files damaged."""
    await make_streams(stream)
    try:
        return await _subscribe(stream, lease_seconds)
    except ServerError:
        await rebuild(stream, JOBS)
        return await _subscribe(stream, lease_seconds)


async def _subscribe(stream: JetStreamContext, lease_seconds: float) -> JetStreamContext.PullSubscription:
    return await stream.pull_subscribe(
        JOBS_SUBJECT,
        durable="orchestrator",
        stream=JOBS,
        config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=lease_seconds, max_deliver=-1),
    )


async def _next(subscription: JetStreamContext.PullSubscription) -> Msg | None:
    try:
        return (await subscription.fetch(1, timeout=IDLE_SECONDS))[0]
    except (TimeoutError, nats.errors.TimeoutError):
        return None


async def _handle(message: Msg, drive: Drive) -> None:
    """Drive the next job; acknowledge the message when that has ended, and give it back otherwise."""

    async def alive() -> None:
        with suppress(nats.errors.Error):
            await message.in_progress()

    try:
        await drive(alive)
    except asyncio.CancelledError:
        with suppress(nats.errors.Error):
            await message.nak()
        raise
    except Superseded as failure:
        log.warning("job was taken up by another instance, or ended", job_id=str(failure))
    except (StoreUnavailable, AllJobsHeld, Unavailable) as failure:
        # Should an instance that holds a job die, somebody has to look again.
        log.info("message given back", why=type(failure).__name__)
        with suppress(nats.errors.Error):
            await message.nak(delay=HELD_SECONDS)
    else:
        # When the acknowledgement is lost, the message comes again, and finds nothing to do.
        with suppress(nats.errors.Error):
            await message.ack()


async def relay(outbox: Outbox, stream: JetStreamContext, written: asyncio.Event) -> None:
    """Publish what the outbox holds, as soon as `written` is set, until cancelled.

    A stream that takes nothing for long, though its server answers, is made anew.
    """
    refused: Counter[str] = Counter()
    failing: set[str] = set()

    async def publish(subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        name = JOBS if subject == JOBS_SUBJECT else EVENTS
        try:
            await stream.publish(subject, payload, headers=dict(headers), timeout=PUBLISH_SECONDS)
        except (nats.errors.Error, APIError, TimeoutError):
            refused[name] += name not in failing
            failing.add(name)
            raise
        del refused[name]

    while True:
        written.clear()
        failing.clear()
        try:
            while await outbox.deliver(publish):
                pass
        except (nats.errors.Error, APIError, TimeoutError, Unavailable) as failure:
            log.warning("outbox waits", error=str(failure) or type(failure).__name__)
            for name in [name for name, count in refused.items() if count >= TRIES]:
                with suppress(nats.errors.Error, APIError, TimeoutError):
                    await _rebuild_refusing(stream, name)
                    del refused[name]
            await asyncio.sleep(RETRY_SECONDS)
            continue
        # What comes within a moment is published together.
        await asyncio.sleep(BETWEEN_SECONDS)
        # What another instance wrote and could not publish is found without being told of.
        await wait_any(written, seconds=IDLE_SECONDS)


async def reconcile(store: Store, stream: JetStreamContext, *, lease_seconds: float, pause_seconds: float) -> None:
    """Queue the jobs again that nobody works on although they have not ended, now and then, until cancelled.

    It is needed only when the queue has lost a message, or was lost itself: then it holds fewer messages than
    there are jobs. A job that waits its turn is silent too, and is not to be queued twice.
    """
    while True:
        try:
            if (await stream.stream_info(JOBS)).state.messages < await store.active_jobs():
                for job_id in await store.requeue_silent(timedelta(seconds=3 * lease_seconds)):
                    log.warning("job queued again", job_id=job_id)
        except (nats.errors.Error, APIError, TimeoutError, Unavailable) as failure:
            log.warning("queue cannot be compared", error=str(failure) or type(failure).__name__)
        await asyncio.sleep(pause_seconds)


class Changes:
    """Tells the watchers of a job, wherever they are connected, that it has changed."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def tell(self, job_id: str) -> None:
        """A job has changed. Lost while NATS is away: a watcher also looks now and then by itself."""
        with suppress(nats.errors.Error):
            await self._client.publish(f"{STATUS_SUBJECT}.{job_id}")

    async def tell_cancelled(self, job_id: str) -> None:
        """A job was cancelled. Lost while NATS is away: whoever works on it also finds out when it writes."""
        with suppress(nats.errors.Error):
            await self._client.publish(f"{CANCELLED_SUBJECT}.{job_id}")
        await self.tell(job_id)

    async def listen_cancelled(self, stop_work: Callable[[str], None]) -> None:
        """Call `stop_work` with every job that is cancelled from now on."""

        async def heard(message: Msg) -> None:
            stop_work(message.subject.removeprefix(f"{CANCELLED_SUBJECT}."))

        await self._client.subscribe(f"{CANCELLED_SUBJECT}.*", cb=heard)

    async def tell_feed(self, user_ids: Sequence[str]) -> None:
        """There are events of these users. Lost while NATS is away: who follows them also looks now and then."""
        with suppress(nats.errors.Error):
            await self._client.publish(FEED_SUBJECT, json.dumps(user_ids).encode())

    async def listen_feed(self, heard_of: Callable[[Sequence[str]], None]) -> None:
        """Call `heard_of` with the users of whom there are events from now on."""

        async def heard(message: Msg) -> None:
            heard_of(json.loads(message.data))

        await self._client.subscribe(FEED_SUBJECT, cb=heard)

    async def listen(self, job_id: str, changed: asyncio.Event) -> Callable[[], Awaitable[None]]:
        """Set `changed` whenever a job has changed; call what is returned to listen no more."""

        async def heard(_: Msg) -> None:
            changed.set()

        subscription = await self._client.subscribe(f"{STATUS_SUBJECT}.{job_id}", cb=heard)
        with suppress(nats.errors.Error):
            await until_subscribed(self._client, timeout_seconds=1)

        async def stop() -> None:
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()

        return stop

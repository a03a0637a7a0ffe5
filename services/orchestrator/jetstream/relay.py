"""The relay: publishes the outbox of the database to JetStream.

An outbox row is published until JetStream acknowledges it. Its message id lets JetStream drop duplicates.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.errors import APIError

from moneyprinter.errors import Unavailable
from services.orchestrator.jetstream.streams import EVENTS, JOBS, recreate_refusing_stream
from services.orchestrator.jobs.store import JOBS_SUBJECT
from services.runtime.tasks import wait_any

POLL_SECONDS = 5.0
RETRY_SECONDS = 1.0
BATCH_SECONDS = 0.01
PUBLISH_SECONDS = 5.0
# A stream that refuses this many publications in a row, although its server responds, is damaged.
MAX_REFUSALS = 4

log = structlog.get_logger()

Publish = Callable[[str, bytes, Mapping[str, str]], Awaitable[None]]
"""Publishes a message: subject, payload, headers."""


class Outbox(Protocol):
    """The recorded messages that are not published yet."""

    async def deliver(self, publish: Publish) -> bool:
        """Call `publish` with a batch of messages, oldest first. Return whether there may be more."""


async def relay_outbox(outbox: Outbox, stream: JetStreamContext, written: asyncio.Event) -> None:
    """Publish the messages of the outbox whenever `written` is set, until cancelled.

    Creates a stream anew that keeps refusing messages although its server responds.
    """
    refusals: Counter[str] = Counter()
    failing: set[str] = set()

    async def publish(subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        name = JOBS if subject == JOBS_SUBJECT else EVENTS
        try:
            await stream.publish(subject, payload, headers=dict(headers), timeout=PUBLISH_SECONDS)
        except (nats.errors.Error, APIError, TimeoutError):
            refusals[name] += name not in failing
            failing.add(name)
            raise
        del refusals[name]

    while True:
        written.clear()
        failing.clear()
        try:
            while await outbox.deliver(publish):
                pass
        except (nats.errors.Error, APIError, TimeoutError, Unavailable) as failure:
            log.warning("publication of the outbox postponed", error=str(failure) or type(failure).__name__)
            for name in [name for name, count in refusals.items() if count >= MAX_REFUSALS]:
                with suppress(nats.errors.Error, APIError, TimeoutError):
                    await recreate_refusing_stream(stream, name)
                    del refusals[name]
            await asyncio.sleep(RETRY_SECONDS)
            continue
        # Messages that are written within this time are published in one batch.
        await asyncio.sleep(BATCH_SECONDS)
        # Messages of an instance that died before it published them are found by polling.
        await wait_any(written, seconds=POLL_SECONDS)

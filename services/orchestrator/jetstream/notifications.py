"""Notifications between instances over NATS: job changed, job cancelled, new events.

They are not stored. While NATS is unavailable they are lost, so each receiver also polls the database.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.runtime.events import until_subscribed

STATUS_SUBJECT = "status"
CANCELLED_SUBJECT = f"{STATUS_SUBJECT}.cancelled"
FEED_SUBJECT = f"{STATUS_SUBJECT}.feed"


class Notifications:
    """Publishes notifications to all instances, and receives theirs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def publish_change(self, job_id: str) -> None:
        """Notify the watchers of a job that it has changed."""
        with suppress(nats.errors.Error):
            await self._client.publish(f"{STATUS_SUBJECT}.{job_id}")

    async def publish_cancellation(self, job_id: str) -> None:
        """Notify the instance that works on a job, and the watchers of the job, that it is cancelled.

        If the notification is lost, the instance notices at its next write.
        """
        with suppress(nats.errors.Error):
            await self._client.publish(f"{CANCELLED_SUBJECT}.{job_id}")
        await self.publish_change(job_id)

    async def subscribe_cancellations(self, stop_work: Callable[[str], None]) -> None:
        """Call `stop_work` with the id of each job that is cancelled from now on."""

        async def on_message(message: Msg) -> None:
            stop_work(message.subject.removeprefix(f"{CANCELLED_SUBJECT}."))

        await self._client.subscribe(f"{CANCELLED_SUBJECT}.*", cb=on_message)

    async def publish_new_events(self, user_ids: Sequence[str]) -> None:
        """Notify the instances that there are new events of these users' jobs."""
        with suppress(nats.errors.Error):
            await self._client.publish(FEED_SUBJECT, json.dumps(user_ids).encode())

    async def subscribe_new_events(self, on_new_events: Callable[[Sequence[str]], None]) -> None:
        """Call `on_new_events` with the ids of the users that have new events, from now on."""

        async def on_message(message: Msg) -> None:
            on_new_events(json.loads(message.data))

        await self._client.subscribe(FEED_SUBJECT, cb=on_message)

    async def subscribe_changes(self, job_id: str, changed: asyncio.Event) -> Callable[[], Awaitable[None]]:
        """Set `changed` whenever a job changes. Return a function that ends the subscription."""

        async def on_message(_: Msg) -> None:
            changed.set()

        subscription = await self._client.subscribe(f"{STATUS_SUBJECT}.{job_id}", cb=on_message)
        with suppress(nats.errors.Error):
            await until_subscribed(self._client, timeout_seconds=1)

        async def unsubscribe() -> None:
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()

        return unsubscribe

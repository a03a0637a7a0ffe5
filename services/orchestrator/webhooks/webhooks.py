"""Webhooks: the addresses to which users have events delivered, and the state of each delivery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from moneyprinter.errors import FailedPrecondition, NotFound
from services.runtime.pagination import Cursor, PageRequest, item_cursor, list_page

MAX_WEBHOOKS = 20
"""The number of webhooks that an account may have."""
RETRY_PERIOD = timedelta(hours=24)
"""How long a failing delivery is retried."""
SECRET_OVERLAP = timedelta(days=1)
"""How long deliveries are also signed with the previous secret after a rotation."""


@dataclass(frozen=True)
class Webhook:
    """An address to which events are delivered."""

    id: str
    user_id: str
    url: str
    """Empty for the webhook of single jobs, whose requests name the address."""
    event_types: tuple[str, ...]
    """Empty: all."""
    create_time: datetime
    secret_version: int = 1
    rotate_time: datetime | None = None
    """When the secret was last rotated."""
    disable_time: datetime | None = None
    """When the address answered 410 Gone."""


@dataclass(frozen=True)
class DeliveryAttempt:
    """One HTTP request of a delivery."""

    time: datetime
    http_status: int
    """0: no response."""
    error: str
    """Why there was no response."""
    seconds: float


@dataclass(frozen=True)
class Delivery:
    """The delivery of one event to one webhook."""

    id: str
    webhook_id: str
    url: str
    event_id: str
    event_type: str
    job_id: str
    status: str
    """`pending`, `delivered`, `failed` or `gone`."""
    create_time: datetime
    due_time: datetime
    attempt_count: int
    history: tuple[DeliveryAttempt, ...]
    body: str


class WebhookStore(Protocol):
    """The records of webhooks and deliveries of all users."""

    async def add(self, webhook: Webhook, at_most: int) -> None:
        """Record a new webhook.

        Raises `ResourceExhausted` when its user has `at_most` webhooks, `Conflict` when the user already has one for
        single jobs.
        """

    async def list_webhooks(self, user_id: str, size: int, after: Cursor | None) -> Sequence[Webhook]:
        """Return a user's webhooks, newest first, starting behind `after`."""

    async def find(self, user_id: str, webhook_id: str) -> Webhook | None:
        """Return a webhook of a user."""

    async def find_for_jobs(self, user_id: str) -> Webhook | None:
        """Return a user's webhook for single jobs."""

    async def delete(self, user_id: str, webhook_id: str) -> bool:
        """Delete a webhook and its deliveries. Return whether it existed."""

    async def rotate_secret(self, user_id: str, webhook_id: str, now: datetime) -> Webhook | None:
        """Increment the version of a webhook's secret, and enable the webhook if it was disabled."""

    async def list_deliveries(
        self, user_id: str, size: int, after: Cursor | None, webhook_id: str, status: str
    ) -> Sequence[Delivery]:
        """Return a user's deliveries, newest first. An empty `webhook_id` or `status` matches all."""

    async def find_delivery(self, user_id: str, delivery_id: str) -> Delivery | None:
        """Return a delivery of a user."""

    async def replay(self, user_id: str, delivery_id: str, now: datetime) -> Delivery | None:
        """Make a delivery due again, with a new retry period."""


@dataclass(frozen=True)
class Webhooks:
    """The webhooks of all users. Each method accesses only what belongs to the user."""

    store: WebhookStore
    check_address: Callable[[str], Awaitable[None]]
    """Raises `InvalidArgument` when events must not be delivered to an address."""
    derive_secret: Callable[[str, int], Awaitable[str]]
    """Returns the secret of a webhook, by its id and version."""
    now: Callable[[], datetime]
    new_id: Callable[[str], str]
    on_due: Callable[[], None]
    """Called when a delivery is due at once."""

    async def create(self, user_id: str, url: str, event_types: Sequence[str]) -> tuple[Webhook, str]:
        """Create a webhook, and return it with its secret.

        Raises `InvalidArgument` when the address is refused, `ResourceExhausted` beyond `MAX_WEBHOOKS`, `Conflict` for
        a second webhook for single jobs.
        """
        if url:
            await self.check_address(url)
        webhook = Webhook(self.new_id("whk"), user_id, url, tuple(event_types), self.now())
        secret = await self.derive_secret(webhook.id, webhook.secret_version)
        await self.store.add(webhook, MAX_WEBHOOKS)
        return webhook, secret

    async def check_job_address(self, user_id: str, url: str) -> None:
        """Raise `InvalidArgument` or `FailedPrecondition` when a job's events cannot be delivered to an address."""
        await self.check_address(url)
        if await self.store.find_for_jobs(user_id) is None:
            raise FailedPrecondition(
                "webhook_url: create a webhook without a url first; its secret signs what is posted",
                reason="WEBHOOK_MISSING",
            )

    async def list_webhooks(self, user_id: str, size: int, token: str) -> tuple[Sequence[Webhook], str]:
        """Return a page of a user's webhooks, newest first, and the token of the next page."""
        return await list_page(
            PageRequest(size, token), lambda size, after: self.store.list_webhooks(user_id, size, after), item_cursor
        )

    async def find(self, user_id: str, webhook_id: str) -> Webhook:
        """Return a webhook of a user. Raises `NotFound` when there is none."""
        webhook = await self.store.find(user_id, webhook_id)
        if webhook is None:
            raise _no_webhook(webhook_id)
        return webhook

    async def delete(self, user_id: str, webhook_id: str) -> None:
        """Delete a webhook. Raises `NotFound` when there is none."""
        if not await self.store.delete(user_id, webhook_id):
            raise _no_webhook(webhook_id)

    async def rotate_secret(self, user_id: str, webhook_id: str) -> tuple[Webhook, str]:
        """Give a webhook a new secret, and return both. Raises `NotFound` when there is no such webhook."""
        await self.derive_secret(webhook_id, 1)  # Fails before the rotation when no secret can be derived now.
        webhook = await self.store.rotate_secret(user_id, webhook_id, self.now())
        if webhook is None:
            raise _no_webhook(webhook_id)
        return webhook, await self.derive_secret(webhook.id, webhook.secret_version)

    async def list_deliveries(
        self, user_id: str, size: int, token: str, webhook_id: str, status: str
    ) -> tuple[Sequence[Delivery], str]:
        """Return a page of a user's deliveries, newest first, and the token of the next page."""
        return await list_page(
            PageRequest(size, token),
            lambda size, after: self.store.list_deliveries(user_id, size, after, webhook_id, status),
            item_cursor,
        )

    async def find_delivery(self, user_id: str, delivery_id: str) -> Delivery:
        """Return a delivery of a user. Raises `NotFound` when there is none."""
        delivery = await self.store.find_delivery(user_id, delivery_id)
        if delivery is None:
            raise NotFound(f"there is no delivery {delivery_id}", reason="DELIVERY_NOT_FOUND")
        return delivery

    async def replay(self, user_id: str, delivery_id: str) -> Delivery:
        """Deliver an event again. Raises `NotFound`, or `FailedPrecondition` when the webhook is disabled."""
        webhook = await self.find(user_id, (await self.find_delivery(user_id, delivery_id)).webhook_id)
        if webhook.disable_time is not None:
            raise FailedPrecondition(
                "the webhook's address answered 410 Gone; rotate its secret to use it again", reason="WEBHOOK_DISABLED"
            )
        delivery = await self.store.replay(user_id, delivery_id, self.now())
        if delivery is None:
            raise NotFound(f"there is no delivery {delivery_id}", reason="DELIVERY_NOT_FOUND")
        self.on_due()
        return delivery


def _no_webhook(webhook_id: str) -> NotFound:
    return NotFound(f"there is no webhook {webhook_id}", reason="WEBHOOK_NOT_FOUND")

"""Webhooks: where a user has events posted, with which secret, and what became of each delivery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from moneyprinter.errors import FailedPrecondition, NotFound
from services.orchestrator.videos import pages
from services.runtime.contract import Place

MAX_WEBHOOKS = 20
"""How many an account may have."""
GIVE_UP = timedelta(hours=24)
"""How long an event is posted again to a webhook that does not take it."""
OLD_SECRET = timedelta(days=1)
"""How long posts are signed with the old secret too, once there is a new one."""


@dataclass(frozen=True)
class Webhook:
    """Where events are posted."""

    id: str
    user_id: str
    url: str
    """Empty: wherever single jobs say."""
    event_types: tuple[str, ...]
    """Empty: all."""
    create_time: datetime
    secret_version: int = 1
    rotate_time: datetime | None = None
    """When the secret was changed."""
    disable_time: datetime | None = None
    """When its address said that it is gone for good."""


@dataclass(frozen=True)
class Try:
    """One time that an event was posted."""

    time: datetime
    http_status: int
    """0: there was no answer."""
    error: str
    """Why there was none."""
    seconds: float


@dataclass(frozen=True)
class Delivery:
    """An event that was posted to a webhook, or is to be."""

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
    tries: int
    history: tuple[Try, ...]
    body: str


class Endpoints(Protocol):
    """Where webhooks are kept, and what was posted to them."""

    async def add(self, webhook: Webhook, at_most: int) -> None:
        """Keep a new one. Raises ResourceExhausted when its user has so many, Conflict when one for single jobs."""

    async def page(self, user_id: str, size: int, after: Place | None) -> Sequence[Webhook]:
        """A user's, newest first, from the one that follows `after` on."""

    async def find(self, user_id: str, webhook_id: str) -> Webhook | None:
        """One of a user's."""

    async def for_jobs(self, user_id: str) -> Webhook | None:
        """The one of a user's that is for single jobs."""

    async def remove(self, user_id: str, webhook_id: str) -> bool:
        """Forget one with its deliveries; whether there was one."""

    async def rotate(self, user_id: str, webhook_id: str, now: datetime) -> Webhook | None:
        """Go on to the next version of its secret, and use it again if it was disabled."""

    async def deliveries(
        self, user_id: str, size: int, after: Place | None, webhook_id: str, status: str
    ) -> Sequence[Delivery]:
        """What was posted for a user or is to be, newest first; `""` is any webhook, any status."""

    async def delivery(self, user_id: str, delivery_id: str) -> Delivery | None:
        """One of a user's."""

    async def replay(self, user_id: str, delivery_id: str, now: datetime) -> Delivery | None:
        """Have one posted again from now on."""


@dataclass(frozen=True)
class Webhooks:
    """The webhooks of all users."""

    endpoints: Endpoints
    check: Callable[[str], Awaitable[None]]
    """Raises InvalidArgument when nothing may be posted to an address."""
    secret: Callable[[str, int], Awaitable[str]]
    """The secret of a webhook, by its id and version."""
    now: Callable[[], datetime]
    new_id: Callable[[str], str]
    due: Callable[[], None]
    """Called when something is to be posted at once."""

    async def create(self, user_id: str, url: str, event_types: Sequence[str]) -> tuple[Webhook, str]:
        """Register an address; the webhook, and its secret."""
        if url:
            await self.check(url)
        webhook = Webhook(self.new_id("whk"), user_id, url, tuple(event_types), self.now())
        secret = await self.secret(webhook.id, webhook.secret_version)
        await self.endpoints.add(webhook, MAX_WEBHOOKS)
        return webhook, secret

    async def may_post(self, user_id: str, url: str) -> None:
        """Raise InvalidArgument or FailedPrecondition when the events of a job cannot be posted to an address."""
        await self.check(url)
        if await self.endpoints.for_jobs(user_id) is None:
            raise FailedPrecondition(
                "webhook_url: create a webhook without a url first; its secret signs what is posted",
                reason="WEBHOOK_MISSING",
            )

    async def page(self, user_id: str, size: int, token: str) -> tuple[Sequence[Webhook], str]:
        """A page of a user's webhooks, newest first, and the token of the next."""
        return await pages.page(
            size, token, lambda size, after: self.endpoints.page(user_id, size, after), lambda webhook: webhook.id
        )

    async def find(self, user_id: str, webhook_id: str) -> Webhook:
        """A webhook of a user."""
        webhook = await self.endpoints.find(user_id, webhook_id)
        if webhook is None:
            raise _no_webhook(webhook_id)
        return webhook

    async def delete(self, user_id: str, webhook_id: str) -> None:
        """Forget a webhook."""
        if not await self.endpoints.remove(user_id, webhook_id):
            raise _no_webhook(webhook_id)

    async def rotate(self, user_id: str, webhook_id: str) -> tuple[Webhook, str]:
        """A new secret; the webhook, and that."""
        await self.secret(webhook_id, 1)  # When no secret can be made now, the old one stays.
        webhook = await self.endpoints.rotate(user_id, webhook_id, self.now())
        if webhook is None:
            raise _no_webhook(webhook_id)
        return webhook, await self.secret(webhook.id, webhook.secret_version)

    async def deliveries(
        self, user_id: str, size: int, token: str, webhook_id: str, status: str
    ) -> tuple[Sequence[Delivery], str]:
        """A page of what was posted for a user or is to be, newest first, and the token of the next."""
        return await pages.page(
            size,
            token,
            lambda size, after: self.endpoints.deliveries(user_id, size, after, webhook_id, status),
            lambda delivery: delivery.id,
        )

    async def delivery(self, user_id: str, delivery_id: str) -> Delivery:
        """A delivery of a user. Raises NotFound when there is none."""
        delivery = await self.endpoints.delivery(user_id, delivery_id)
        if delivery is None:
            raise NotFound(f"there is no delivery {delivery_id}", reason="DELIVERY_NOT_FOUND")
        return delivery

    async def replay(self, user_id: str, delivery_id: str) -> Delivery:
        """Post an event again. Raises NotFound, or FailedPrecondition when the webhook is disabled."""
        webhook = await self.find(user_id, (await self.delivery(user_id, delivery_id)).webhook_id)
        if webhook.disable_time is not None:
            raise FailedPrecondition(
                "the webhook's address answered 410 Gone; rotate its secret to use it again", reason="WEBHOOK_DISABLED"
            )
        delivery = await self.endpoints.replay(user_id, delivery_id, self.now())
        if delivery is None:
            raise NotFound(f"there is no delivery {delivery_id}", reason="DELIVERY_NOT_FOUND")
        self.due()
        return delivery


def _no_webhook(webhook_id: str) -> NotFound:
    return NotFound(f"there is no webhook {webhook_id}", reason="WEBHOOK_NOT_FOUND")

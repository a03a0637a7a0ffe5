"""Deliveries: posts events to webhooks, with retries and back-off, until they are accepted or 24 hours have passed.

One instance at a time claims a delivery. The webhooks take turns, and the number of concurrent requests per webhook and
per user is limited, so a slow webhook does not delay the others. A circuit breaker per host stops requests to a host
that keeps failing.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Protocol

import structlog

from moneyprinter.errors import Error, InvalidArgument, Unavailable
from services.orchestrator.webhooks.breaker import Breaker
from services.orchestrator.webhooks.webhooks import DeliveryAttempt
from services.runtime.tasks import wait_any

MAX_CONCURRENT = 16
MAX_CONCURRENT_PER_WEBHOOK = 4
# A user may have many webhooks; their deliveries together leave capacity for those of other users.
MAX_CONCURRENT_PER_USER = 8
FIRST_PAUSE = timedelta(seconds=5)
MAX_PAUSE = timedelta(hours=2)
BACKOFF_FACTOR = 3
# The pause when the validation service, which sends the requests, is unavailable: the webhook has not failed.
UNAVAILABLE_PAUSE = timedelta(seconds=2)
# A request takes 10 seconds at most: after this time, the instance that claimed the delivery has died.
CLAIM_LEASE = timedelta(seconds=30)
IDLE_SECONDS = 30.0
RETRY_SECONDS = 1.0
# Circuit breakers are kept for this many hosts.
MAX_HOSTS = 1000

log = structlog.get_logger()


@dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery that this instance has claimed."""

    id: str
    claim: int
    """The fencing token: it grows with each claim."""
    webhook_id: str
    user_id: str
    url: str
    job_id: str
    event_id: str
    body: bytes
    secret_versions: tuple[int, ...]
    """The versions of the secret that sign it, newest first."""
    attempt_count: int
    """The number of previous attempts."""
    give_up_time: datetime


@dataclass(frozen=True)
class WebhookResponse:
    """The response of a webhook."""

    http_status: int
    seconds: float


@dataclass(frozen=True)
class BusyTargets:
    """The webhooks and users that have reached their limit of concurrent deliveries."""

    webhooks: Sequence[str] = ()
    users: Sequence[str] = ()


class DeliveryQueue(Protocol):
    """The pending deliveries."""

    async def claim(self, at_most: int, busy: BusyTargets, lease: timedelta) -> Sequence[ClaimedDelivery]:
        """Claim due deliveries, oldest first, except those of busy webhooks and users.

        Claims at most one of each webhook, and `MAX_CONCURRENT_PER_WEBHOOK` of each user.
        """

    async def record_attempt(
        self, delivery: ClaimedDelivery, attempt: DeliveryAttempt, status: str, due_time: datetime
    ) -> None:
        """Record an attempt and the status of the delivery, unless another instance has claimed the delivery since.

        Under `pending` the delivery is due again at `due_time`. `gone` disables the webhook.
        """

    async def postpone(self, delivery: ClaimedDelivery, due_time: datetime) -> None:
        """Release a delivery until `due_time`, without an attempt."""

    async def next_due_time(self, busy: BusyTargets) -> datetime | None:
        """Return when the next delivery of a webhook and user that are not busy is due; None when there is none."""


PostRequest = Callable[[str, Mapping[str, str], bytes], Awaitable[WebhookResponse]]
"""Posts a body to an address. Raises `InvalidArgument` when there is no response, or the address is refused."""

SignDelivery = Callable[[ClaimedDelivery, datetime], Awaitable[Mapping[str, str]]]
"""Returns the signature headers of a delivery."""


def backoff(attempt_count: int) -> timedelta:
    """Return the pause after a number of attempts, without jitter: 5 s, 15 s, 45 s ... 2 h."""
    return min(MAX_PAUSE, FIRST_PAUSE * int(BACKOFF_FACTOR ** min(attempt_count - 1, 20)))


class WebhookDispatcher:
    """Delivers due events to webhooks.

    `post_request` sends a request, `sign` returns its signature headers; `now` gives the time, `clock` gives seconds
    for the circuit breakers.
    """

    def __init__(
        self,
        queue: DeliveryQueue,
        post_request: PostRequest,
        sign: SignDelivery,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._post_request = post_request
        self._sign = sign
        self._now = now
        self._clock = clock
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()
        self._running: dict[asyncio.Task[None], ClaimedDelivery] = {}
        self._has_capacity = asyncio.Event()

    @property
    def breakers(self) -> Mapping[str, str]:
        """The state of the circuit breaker of each host whose breaker is not closed."""
        return {host: breaker.state for host, breaker in self._breakers.items() if breaker.state != "closed"}

    async def run(self, due: asyncio.Event) -> None:
        """Deliver events when they are due, or when `due` is set, until cancelled."""
        try:
            while True:
                due.clear()
                self._has_capacity.clear()
                try:
                    if len(self._running) >= MAX_CONCURRENT:
                        await self._has_capacity.wait()
                        continue
                    if await self._start_deliveries():
                        continue
                    await self._wait_due(due, await self._queue.next_due_time(self._busy_targets()))
                except Unavailable as failure:
                    log.warning("delivery queue unavailable", error=str(failure))
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _start_deliveries(self) -> bool:
        """Claim due deliveries and start them. Return whether there were any."""
        claimed = await self._queue.claim(MAX_CONCURRENT - len(self._running), self._busy_targets(), CLAIM_LEASE)
        for delivery in claimed:
            task = asyncio.create_task(self.deliver(delivery))
            self._running[task] = delivery
            task.add_done_callback(self._on_done)
        return bool(claimed)

    def _busy_targets(self) -> BusyTargets:
        webhooks = Counter(delivery.webhook_id for delivery in self._running.values())
        users = Counter(delivery.user_id for delivery in self._running.values())
        return BusyTargets(
            [webhook_id for webhook_id, count in webhooks.items() if count >= MAX_CONCURRENT_PER_WEBHOOK],
            [user_id for user_id, count in users.items() if count >= MAX_CONCURRENT_PER_USER],
        )

    def _on_done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._has_capacity.set()
        if not task.cancelled() and (failure := task.exception()):
            # The delivery is claimed again after the lease.
            log.error("defect", exc_info=failure)

    async def _wait_due(self, due: asyncio.Event, next_due_time: datetime | None) -> None:
        """Wait until a delivery may be due, or a running one ends."""
        seconds = IDLE_SECONDS
        if next_due_time is not None:
            seconds = min(seconds, max(0.05, (next_due_time - self._now()).total_seconds()))
        await wait_any(due, self._has_capacity, seconds=seconds)

    async def deliver(self, delivery: ClaimedDelivery) -> None:
        """Send one request, and record the attempt."""
        host = delivery.url.split("/", 3)[2].lower()
        breaker = self._find_breaker(host)
        ticket = breaker.admit()
        if ticket is None:
            await self._postpone(delivery, timedelta(seconds=breaker.wait_seconds))
            return
        began = self._now()
        try:
            headers = {**await self._sign(delivery, began), "content-type": "application/json"}
            response, error = await self._post_request(delivery.url, headers, delivery.body), ""
        except InvalidArgument as failure:
            seconds = (self._now() - began).total_seconds()
            response, error = WebhookResponse(0, seconds), failure.message
            (breaker.record_failure if failure.reason == "WEBHOOK_UNREACHABLE" else breaker.release)(ticket)
        except (Error, asyncio.CancelledError) as failure:
            breaker.release(ticket)
            if isinstance(failure, asyncio.CancelledError):
                raise
            log.warning("webhook delivery postponed", delivery=delivery.id, reason=failure.reason)
            await self._postpone(delivery, UNAVAILABLE_PAUSE)
            return
        else:
            # A response below 500 shows that the host works, even when it refuses the event.
            failing = response.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR
            overloaded = response.http_status == HTTPStatus.TOO_MANY_REQUESTS
            (breaker.record_failure if failing or overloaded else breaker.record_success)(ticket)
        if breaker.state == "open":
            log.warning("circuit breaker of webhook host opened", host=host, seconds=breaker.wait_seconds)
        await self._record(delivery, DeliveryAttempt(began, response.http_status, error, round(response.seconds, 3)))

    async def _record(self, delivery: ClaimedDelivery, attempt: DeliveryAttempt) -> None:
        now = self._now()
        due_time = now + backoff(delivery.attempt_count + 1) * random.uniform(0.5, 1.0)  # noqa: S311
        match attempt.http_status:
            case status if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                outcome = "delivered"
            case HTTPStatus.GONE:
                outcome = "gone"
            case _:
                outcome = "pending" if due_time < delivery.give_up_time else "failed"
        log.info("webhook posted", delivery=delivery.id, http_status=attempt.http_status, outcome=outcome)
        with suppress(Unavailable):
            await self._queue.record_attempt(delivery, attempt, outcome, due_time)

    async def _postpone(self, delivery: ClaimedDelivery, wait: timedelta) -> None:
        with suppress(Unavailable):
            await self._queue.postpone(delivery, self._now() + wait * random.uniform(1.0, 1.5))  # noqa: S311

    def _find_breaker(self, host: str) -> Breaker:
        breaker = self._breakers.setdefault(host, Breaker(self._clock))
        self._breakers.move_to_end(host)
        if len(self._breakers) > MAX_HOSTS:
            self._breakers.popitem(last=False)
        return breaker

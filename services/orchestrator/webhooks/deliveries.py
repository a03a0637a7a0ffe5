"""Deliveries: events are posted to webhooks until they are taken, or a day is over.

Each is claimed by one instance at a time. The webhooks take turns, and none has more than a few posts under way at
once, so that one that is slow does not hold up the others. Whoever fails again and again is left alone for a while.
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
from services.orchestrator.webhooks.webhooks import Try
from services.runtime.tasks import wait_any

AT_ONCE = 16
AT_ONCE_EACH = 4
# A user may have many webhooks, whose claims together leave room for those of others.
AT_ONCE_USER = 8
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=2)
FACTOR = 3
# When nobody can be asked to post, it is for no fault of the webhook's.
AWAY_PAUSE = timedelta(seconds=2)
# A post takes 10 seconds at most: after this, whoever claimed it has died.
CLAIM = timedelta(seconds=30)
IDLE_SECONDS = 30.0
RETRY_SECONDS = 1.0
# So many hosts are remembered.
MAX_HOSTS = 1000

log = structlog.get_logger()


@dataclass(frozen=True)
class Claimed:
    """A delivery that this instance posts now."""

    id: str
    claim: int
    """The fencing token: another instance that claims it has the next one."""
    webhook_id: str
    user_id: str
    url: str
    job_id: str
    event_id: str
    body: bytes
    secret_versions: tuple[int, ...]
    """Those that it is signed with, the newest first."""
    tries: int
    """How often it was posted before."""
    give_up_time: datetime


@dataclass(frozen=True)
class Answer:
    """What a webhook said."""

    http_status: int
    seconds: float


@dataclass(frozen=True)
class Busy:
    """The webhooks, and the users, that have as many posts under way as they may."""

    webhooks: Sequence[str] = ()
    users: Sequence[str] = ()


class Posts(Protocol):
    """What is to be posted."""

    async def claim(self, at_most: int, busy: Busy, lease: timedelta) -> Sequence[Claimed]:
        """Claim some of what is due, the oldest first, and none of those that are busy.

        At most one of each webhook, and AT_ONCE_EACH of each user.
        """

    async def tried(self, post: Claimed, tried: Try, status: str, due_time: datetime) -> None:
        """Note what came of it, unless another instance has claimed it: it is in `status` now, or due again.

        When it is `gone`, nothing more is posted there.
        """

    async def postpone(self, post: Claimed, due_time: datetime) -> None:
        """Let go of it until then; it was not posted."""

    async def next_due(self, busy: Busy) -> datetime | None:
        """When the next one is due that is not of a webhook or a user that is busy; None: there is none."""


Post = Callable[[str, Mapping[str, str], bytes], Awaitable[Answer]]
"""Posts a body to an address. Raises InvalidArgument when there is no answer, or it may not be posted there."""

Sign = Callable[[Claimed, datetime], Awaitable[Mapping[str, str]]]
"""The headers that show a webhook that a post is ours."""


def pause(tries: int) -> timedelta:
    """How long to wait after a number of tries, before chance is added: 5 s, 15 s, 45 s ... 2 h."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * int(FACTOR ** min(tries - 1, 20)))


class Courier:
    """Posts what is due."""

    def __init__(
        self, posts: Posts, post: Post, sign: Sign, now: Callable[[], datetime], clock: Callable[[], float]
    ) -> None:
        self._posts = posts
        self._post = post
        self._sign = sign
        self._now = now
        self._clock = clock
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()
        self._running: dict[asyncio.Task[None], Claimed] = {}
        self._free = asyncio.Event()

    @property
    def breakers(self) -> Mapping[str, str]:
        """The state of the breaker of each host that is not well."""
        return {host: breaker.state for host, breaker in self._breakers.items() if breaker.state != "closed"}

    async def run(self, due: asyncio.Event) -> None:
        """Post what is due, as soon as `due` is set or its time has come, until cancelled."""
        try:
            while True:
                due.clear()
                self._free.clear()
                try:
                    if len(self._running) >= AT_ONCE:
                        await self._free.wait()
                        continue
                    if await self._begin():
                        continue
                    await self._idle(due, await self._posts.next_due(self._busy()))
                except Unavailable as failure:
                    log.warning("deliveries wait", error=str(failure))
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _begin(self) -> bool:
        """Begin to post some; whether there were any."""
        claimed = await self._posts.claim(AT_ONCE - len(self._running), self._busy(), CLAIM)
        for post in claimed:
            task = asyncio.create_task(self.deliver(post))
            self._running[task] = post
            task.add_done_callback(self._ended)
        return bool(claimed)

    def _busy(self) -> Busy:
        webhooks = Counter(post.webhook_id for post in self._running.values())
        users = Counter(post.user_id for post in self._running.values())
        return Busy(
            [webhook_id for webhook_id, count in webhooks.items() if count >= AT_ONCE_EACH],
            [user_id for user_id, count in users.items() if count >= AT_ONCE_USER],
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._free.set()
        if not task.cancelled() and (failure := task.exception()):
            # It comes again when the claim is over.
            log.error("defect", exc_info=failure)

    async def _idle(self, due: asyncio.Event, next_due: datetime | None) -> None:
        """Wait for something to do."""
        seconds = IDLE_SECONDS
        if next_due is not None:
            seconds = min(seconds, max(0.05, (next_due - self._now()).total_seconds()))
        # It is set when a post that is under way ends, and only then.
        await wait_any(due, self._free, seconds=seconds)

    async def deliver(self, post: Claimed) -> None:
        """Post one, and note what came of it."""
        host = post.url.split("/", 3)[2].lower()
        breaker = self._breaker(host)
        ticket = breaker.admit()
        if ticket is None:
            await self._postpone(post, timedelta(seconds=breaker.wait_seconds))
            return
        began = self._now()
        try:
            headers = {**await self._sign(post, began), "content-type": "application/json"}
            answer, error = await self._post(post.url, headers, post.body), ""
        except InvalidArgument as failure:
            seconds = (self._now() - began).total_seconds()
            answer, error = Answer(0, seconds), failure.message
            (breaker.failed if failure.reason == "WEBHOOK_UNREACHABLE" else breaker.abandoned)(ticket)
        except (Error, asyncio.CancelledError) as failure:
            breaker.abandoned(ticket)
            if isinstance(failure, asyncio.CancelledError):
                raise
            log.warning("webhook cannot be posted to now", delivery=post.id, reason=failure.reason)
            await self._postpone(post, AWAY_PAUSE)
            return
        else:
            # Whoever refuses what is said is there all the same.
            ill = answer.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR
            (breaker.failed if ill or answer.http_status == HTTPStatus.TOO_MANY_REQUESTS else breaker.succeeded)(ticket)
        if breaker.state == "open":
            log.warning("webhook's host is left alone", host=host, seconds=breaker.wait_seconds)
        await self._note(post, Try(began, answer.http_status, error, round(answer.seconds, 3)))

    async def _note(self, post: Claimed, tried: Try) -> None:
        now = self._now()
        due_time = now + pause(post.tries + 1) * random.uniform(0.5, 1.0)  # noqa: S311
        match tried.http_status:
            case status if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                outcome = "delivered"
            case HTTPStatus.GONE:
                outcome = "gone"
            case _:
                outcome = "pending" if due_time < post.give_up_time else "failed"
        log.info("webhook posted", delivery=post.id, http_status=tried.http_status, outcome=outcome)
        with suppress(Unavailable):
            await self._posts.tried(post, tried, outcome, due_time)

    async def _postpone(self, post: Claimed, wait: timedelta) -> None:
        with suppress(Unavailable):
            await self._posts.postpone(post, self._now() + wait * random.uniform(1.0, 1.5))  # noqa: S311

    def _breaker(self, host: str) -> Breaker:
        breaker = self._breakers.setdefault(host, Breaker(self._clock))
        self._breakers.move_to_end(host)
        if len(self._breakers) > MAX_HOSTS:
            self._breakers.popitem(last=False)
        return breaker

"""Attempts: how often a name, or an address, may fail before it has to wait.

An attempt counts from its beginning, so that many at once are no more than that many, and until it is known to
be no failure. One whose end nobody learns has failed.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from weakref import WeakValueDictionary

from moneyprinter.errors import Error, ResourceExhausted

# What the one who asks did right, though it was refused.
_NO_FAILURE = ("MFA_REQUIRED", "ACCOUNT_DISABLED")

# How many attempts of one address are under way in this process; far fewer than may fail.
_ADDRESS_TURNS = 10

# The part of an IPv6 address that a household is given.
_IPV6_PREFIX = 64


@dataclass(frozen=True)
class Throttle:
    """How many attempts may fail within a window, and how long the next has to wait then."""

    attempts: int
    window: timedelta
    lock: timedelta

    def wait(self, times: Sequence[datetime], now: datetime) -> timedelta | None:
        """How long an attempt has to wait, given the times of those before it; None: it need not."""
        if len(times) < self.attempts or times[-1] - times[-self.attempts] >= self.window:
            return None
        left = times[-1] + self.lock - now
        return left if left > timedelta(0) else None

    def admit(self, times: Sequence[datetime], now: datetime) -> tuple[list[datetime], timedelta | None]:
        """Given the times of former attempts: the times to keep, and how long to wait (None: the attempt is on)."""
        if wait := self.wait(times, now):
            return list(times), wait
        return sorted([*times, now])[-self.attempts :], None

    def keep_until(self, times: Sequence[datetime]) -> datetime:
        """When the times are of no use any more."""
        return times[-1] + max(self.window, self.lock)


@dataclass(frozen=True)
class Limits:
    """The throttles."""

    name: Throttle = Throttle(5, timedelta(minutes=15), timedelta(minutes=15))
    address: Throttle = Throttle(50, timedelta(minutes=15), timedelta(minutes=15))
    registration: Throttle = Throttle(10, timedelta(hours=1), timedelta(hours=1))


class AttemptStore(Protocol):
    """The times of attempts, by key."""

    async def begin(self, key: str, throttle: Throttle, now: datetime) -> timedelta | None:
        """Note an attempt; when there were too many, note nothing and say how long to wait."""

    async def withdraw(self, key: str, time: datetime) -> None:
        """Forget the attempt of a time."""

    async def forget(self, key: str) -> None:
        """Forget all attempts of a key."""

    async def wait(self, key: str, throttle: Throttle, now: datetime) -> timedelta | None:
        """How long an attempt would have to wait."""


class Guard:
    """Counts the attempts of names and addresses, and stops them when they are too many.

    Those of one name wait for each other in this process, and those of one address for all but a few: what
    is under way counts as failed, and right ones must not be one too many.
    """

    def __init__(self, store: AttemptStore, limits: Limits | None = None) -> None:
        self._store = store
        self._limits = limits or Limits()
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def counted(self, username: str, address: str, now: Callable[[], datetime]) -> AsyncIterator[None]:
        """Count what is done in this context as an attempt to prove to be `username`, failed if it fails.

        Raises ResourceExhausted, in the same words for every name and whatever is wrong with it, when there
        were too many.
        """
        by_address, by_name = _address_key("address", address), _name_key(username)
        async with self._turn(by_address, _ADDRESS_TURNS), self._turn(by_name, 1):
            time = now()
            await self._begin(by_address, self._limits.address, time)
            try:
                await self._begin(by_name, self._limits.name, time)
            except ResourceExhausted:
                # Nothing was tried.
                await self._store.withdraw(by_address, time)
                raise
            try:
                yield
            except Error as failure:
                if failure.reason in _NO_FAILURE:
                    await self._store.withdraw(by_name, time)
                    await self._store.withdraw(by_address, time)
                raise
            await self._store.forget(by_name)
            await self._store.withdraw(by_address, time)

    async def registration(self, address: str, now: datetime) -> None:
        """Count a registration. Raises ResourceExhausted."""
        await self._begin(_address_key("registration", address), self._limits.registration, now)

    async def lock_end(self, username: str, now: datetime) -> datetime | None:
        """Until when a name is refused; None: it is not."""
        wait = await self._store.wait(_name_key(username), self._limits.name, now)
        return now + wait if wait else None

    async def unlock(self, username: str) -> None:
        """Forget the failures of a name."""
        await self._store.forget(_name_key(username))

    @asynccontextmanager
    async def _turn(self, key: str, at_once: int) -> AsyncIterator[None]:
        turn = self._turns.setdefault(key, asyncio.Semaphore(at_once))
        async with turn:
            yield

    async def _begin(self, key: str, throttle: Throttle, now: datetime) -> None:
        wait = await self._store.begin(key, throttle, now)
        if wait:
            seconds = wait.total_seconds()
            raise ResourceExhausted(
                f"too many failed attempts; try again in {max(1.0, seconds):.0f} seconds",
                reason="SIGN_IN_LOCKED",
                retry_after_seconds=seconds,
            )


def _name_key(username: str) -> str:
    return f"name:{username}"


def _address_key(purpose: str, address: str) -> str:
    """The key of an address; of IPv6, of the network that a household is given."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return f"{purpose}:"
    if found.version == 6:
        return f"{purpose}:{ipaddress.ip_network((int(found), _IPV6_PREFIX), strict=False)}"
    return f"{purpose}:{found}"

"""Throttling: how many attempts to prove an identity may fail, per account and per address, before others must wait.

Each kind of proof of an account (its password, its codes, its recovery codes) has a counter of its own, which only a
successful attempt of the same kind clears: a correct password must not allow more guesses of codes. An attempt counts
as failed from its start, so that concurrent attempts cannot exceed the limit, and is withdrawn when it succeeds.

Wrong passwords for a username lock it for unknown networks only. A network from which the account has signed in before
has a counter of its own, and so has an account that is signed in: a username is not enough to lock its owner out.
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

from moneyprinter.errors import ResourceExhausted

# How many attempts of one address run at once in this process; far fewer than may fail.
_CONCURRENT_PER_ADDRESS = 10

# The part of an IPv6 address that a provider assigns to a household.
_IPV6_PREFIX = 64


@dataclass(frozen=True)
class AttemptLimit:
    """How many attempts may fail within a window, and for how long the next ones are then refused."""

    attempts: int
    window: timedelta
    lock: timedelta

    def retry_delay(self, times: Sequence[datetime], now: datetime) -> timedelta | None:
        """Return how long the next attempt has to wait after attempts at `times`; None: it need not wait."""
        if len(times) < self.attempts or times[-1] - times[-self.attempts] >= self.window:
            return None
        remaining = times[-1] + self.lock - now
        return remaining if remaining > timedelta(0) else None

    def admit(self, times: Sequence[datetime], now: datetime) -> tuple[list[datetime], timedelta | None]:
        """Return the times to store after an attempt now, and how long it has to wait (None: it is admitted)."""
        if delay := self.retry_delay(times, now):
            return list(times), delay
        return sorted([*times, now])[-self.attempts :], None

    def expire_time(self, times: Sequence[datetime]) -> datetime:
        """Return when the times need not be stored any longer."""
        return times[-1] + max(self.window, self.lock)


@dataclass(frozen=True)
class AttemptLimits:
    """The limits of the kinds of attempts."""

    account: AttemptLimit = AttemptLimit(5, timedelta(minutes=15), timedelta(minutes=15))
    """Attempts at one kind of proof of one account."""
    address: AttemptLimit = AttemptLimit(50, timedelta(minutes=15), timedelta(minutes=15))
    registration: AttemptLimit = AttemptLimit(10, timedelta(hours=1), timedelta(hours=1))
    """Registrations from one address."""
    token: AttemptLimit = AttemptLimit(50, timedelta(minutes=15), timedelta(minutes=15))
    """Unknown tokens and keys from one address."""


class AttemptStore(Protocol):
    """The times of attempts, by counter."""

    async def begin(self, counter: str, limit: AttemptLimit, now: datetime) -> timedelta | None:
        """Record an attempt; when there were too many, record nothing and return how long to wait."""

    async def withdraw(self, counter: str, time: datetime) -> None:
        """Remove the attempt of a time."""

    async def clear(self, counter: str) -> None:
        """Remove all attempts of a counter."""

    async def retry_delay(self, counter: str, limit: AttemptLimit, now: datetime) -> timedelta | None:
        """Return how long an attempt would have to wait."""


def sign_in_counter(username: str, network: str = "") -> str:
    """Return the counter of sign-ins with a username, from a network that its owner uses or (empty) from any other."""
    return f"name:{username}@{network}" if network else f"name:{username}"


def password_counter(account_id: str) -> str:
    """Return the counter of the password of an account that is signed in."""
    return f"password:{account_id}"


def totp_counter(account_id: str) -> str:
    """Return the counter of the TOTP codes of an account."""
    return f"code:{account_id}"


def recovery_code_counter(account_id: str) -> str:
    """Return the counter of the recovery codes of an account."""
    return f"recovery:{account_id}"


def enrollment_counter(account_id: str) -> str:
    """Return the counter of the codes that confirm an authenticator app."""
    return f"enrolment:{account_id}"


class LoginThrottle:
    """Counts attempts by proof and by address, and refuses them when too many have failed.

    In this process, the attempts of one counter run one after another, and those of one address a few at a time: a
    running attempt counts as failed, and concurrent correct attempts must not exceed the limit.
    """

    def __init__(self, store: AttemptStore, limits: AttemptLimits | None = None) -> None:
        self._store = store
        self._limits = limits or AttemptLimits()
        self._slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def attempt(self, counter: str, address: str, now: Callable[[], datetime]) -> AsyncIterator[None]:
        """Count the body of this context as an attempt, which fails when the body raises.

        `counter` is for instance `sign_in_counter(username)`. Raises `ResourceExhausted`, with the same message
        whichever limit is reached, when too many attempts have failed.
        """
        address_counter = _address_counter("address", address)
        async with self._slot(address_counter, _CONCURRENT_PER_ADDRESS), self._slot(counter, 1):
            time = now()
            await self._begin(address_counter, self._limits.address, time)
            try:
                await self._begin(counter, self._limits.account, time)
            except ResourceExhausted:
                # Nothing was attempted.
                await self._store.withdraw(address_counter, time)
                raise
            yield
            await self._store.clear(counter)
            await self._store.withdraw(address_counter, time)

    @asynccontextmanager
    async def attempt_from_known_network(self, counter: str, now: Callable[[], datetime]) -> AsyncIterator[None]:
        """Count an attempt from a network that the account's owner uses; other clients in the network do not matter."""
        async with self._slot(counter, 1):
            await self._begin(counter, self._limits.account, now())
            yield
            await self._store.clear(counter)

    async def count_invalid_token(self, kind: str, address: str, now: datetime) -> None:
        """Count an unknown token or key. Raises `ResourceExhausted` when there were too many from an address.

        A valid token is accepted all the same: it cannot be guessed, and a client with a wrong one must not lock out
        others behind the same address.
        """
        await self._begin(_address_counter(kind, address), self._limits.token, now)

    async def count_registration(self, address: str, now: datetime) -> None:
        """Count a registration. Raises `ResourceExhausted` when there were too many from an address."""
        await self._begin(_address_counter("registration", address), self._limits.registration, now)

    async def lock_end(self, counters: Sequence[str], now: datetime) -> datetime | None:
        """Return until when attempts at any of some counters are refused; None: none are."""
        delays = [await self._store.retry_delay(counter, self._limits.account, now) for counter in counters]
        longest = max((delay for delay in delays if delay), default=None)
        return now + longest if longest else None

    async def unlock(self, counters: Sequence[str]) -> None:
        """Clear counters."""
        for counter in counters:
            await self._store.clear(counter)

    @asynccontextmanager
    async def _slot(self, key: str, concurrency: int) -> AsyncIterator[None]:
        semaphore = self._slots.setdefault(key, asyncio.Semaphore(concurrency))
        async with semaphore:
            yield

    async def _begin(self, counter: str, limit: AttemptLimit, now: datetime) -> None:
        delay = await self._store.begin(counter, limit, now)
        if delay:
            seconds = delay.total_seconds()
            raise ResourceExhausted(
                f"too many failed attempts; try again in {max(1.0, seconds):.0f} seconds",
                reason="SIGN_IN_LOCKED",
                retry_after_seconds=seconds,
            )


def network_of(address: str) -> str:
    """Return the network of a household: an IPv4 address, or the /64 of an IPv6 address; empty for other texts."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if parsed.version == 6:
        return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))
    return str(parsed)


def _address_counter(kind: str, address: str) -> str:
    return f"{kind}:{network_of(address)}"

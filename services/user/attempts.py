"""Attempts: how often a proof of identity may fail, and an address, before the next one has to wait.

Each proof of an account has a counter of its own (its password, its codes, its recovery codes), which is cleared by
that proof and by nothing else: a password says nothing of who guesses codes. An attempt counts from its beginning, so
that many at once are no more than that many, until it is known to be no failure. One whose end is not known has failed.

Wrong passwords for a name lock it for strangers only. A network from which the account was signed in to before has a
counter of its own, and so has an account that is signed in: those who know a name cannot lock out its owner.
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
    token: Throttle = Throttle(50, timedelta(minutes=15), timedelta(minutes=15))
    """Of tokens and keys that are none, from one address."""


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


def password_of(name: str, network: str = "") -> str:
    """The counter of signing in with a name and its password: of strangers, or of a network that its owner uses."""
    return f"name:{name}@{network}" if network else f"name:{name}"


def password_again(account_id: str) -> str:
    """The counter of the password of an account that is signed in."""
    return f"password:{account_id}"


def code_of(account_id: str) -> str:
    """The counter of an account's codes of an authenticator app."""
    return f"code:{account_id}"


def recovery_code_of(account_id: str) -> str:
    """The counter of an account's recovery codes."""
    return f"recovery:{account_id}"


def enrolment_of(account_id: str) -> str:
    """The counter of the codes that confirm an authenticator app."""
    return f"enrolment:{account_id}"


class Guard:
    """Counts attempts by what they prove and by their address, and stops them when they are too many.

    Those of one proof wait for each other in this process, and those of one address for all but a few: what
    is under way counts as failed, and right ones must not be one too many.
    """

    def __init__(self, store: AttemptStore, limits: Limits | None = None) -> None:
        self._store = store
        self._limits = limits or Limits()
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def counted(self, proof: str, address: str, now: Callable[[], datetime]) -> AsyncIterator[None]:
        """Count what is done in this context as an attempt at a proof, failed if it fails.

        `proof` is a counter, such as `password_of(name)`. Raises ResourceExhausted, in the same words whatever is wrong
        with it, when there were too many.
        """
        by_address = _address_key("address", address)
        async with self._turn(by_address, _ADDRESS_TURNS), self._turn(proof, 1):
            time = now()
            await self._begin(by_address, self._limits.address, time)
            try:
                await self._begin(proof, self._limits.name, time)
            except ResourceExhausted:
                # Nothing was tried.
                await self._store.withdraw(by_address, time)
                raise
            yield
            await self._store.forget(proof)
            await self._store.withdraw(by_address, time)

    @asynccontextmanager
    async def counted_at_home(self, proof: str, now: Callable[[], datetime]) -> AsyncIterator[None]:
        """The same from a network that the account's owner uses, whatever other clients there have done."""
        async with self._turn(proof, 1):
            await self._begin(proof, self._limits.name, now())
            yield
            await self._store.forget(proof)

    async def guessed(self, what: str, address: str, now: datetime) -> None:
        """Count a token or key that is none. Raises ResourceExhausted when there were too many from an address.

        A right one is accepted all the same: it cannot be guessed, and a client that fails must not lock out others.
        """
        await self._begin(_address_key(what, address), self._limits.token, now)

    async def registration(self, address: str, now: datetime) -> None:
        """Count a registration. Raises ResourceExhausted."""
        await self._begin(_address_key("registration", address), self._limits.registration, now)

    async def lock_end(self, proofs: Sequence[str], now: datetime) -> datetime | None:
        """Until when any of some proofs is refused; None: none is."""
        waits = [await self._store.wait(proof, self._limits.name, now) for proof in proofs]
        longest = max((wait for wait in waits if wait), default=None)
        return now + longest if longest else None

    async def unlock(self, proofs: Sequence[str]) -> None:
        """Forget the failures of proofs."""
        for proof in proofs:
            await self._store.forget(proof)

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


def network_of(address: str) -> str:
    """The network of a household: an IPv4 address, or the prefix of one of IPv6. Empty when it is no address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if found.version == 6:
        return str(ipaddress.ip_network((int(found), _IPV6_PREFIX), strict=False))
    return str(found)


def _address_key(purpose: str, address: str) -> str:
    return f"{purpose}:{network_of(address)}"

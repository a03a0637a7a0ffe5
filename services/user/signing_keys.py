"""Signing keys: which of them signs, which are listed, and how a new one comes in without a failed request.

A key is listed before it signs, for longer than anybody remembers an old list, and stays listed until the last
token that it signed has expired. All instances keep one ring, as versions of one secret, so they agree: whoever
writes the next version first has made the new key, and the others find it when they look again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from moneyprinter.errors import Conflict, DataLoss, Error, Unavailable
from services.user.desk import Actor, Desk
from services.user.proof import administering

log = structlog.get_logger()

NAME = "user/signing-key"
_PEM = b"-----BEGIN"


@dataclass(frozen=True)
class Schedule:
    """When keys come and go."""

    life: timedelta
    """How long a key signs before the next one is made."""
    notice: timedelta
    """How long a new key is listed before it signs: longer than gateway, services and instances keep old lists."""
    token_life: timedelta
    """How long a token is good."""


@dataclass(frozen=True)
class SigningKey:
    """A private key, and when it signs."""

    pem: bytes = field(repr=False)
    create_time: datetime
    sign_time: datetime
    """From when on it signs, until the next one does."""


@dataclass(frozen=True)
class Ring:
    """The keys, the oldest first."""

    keys: tuple[SigningKey, ...]
    version: int
    """The version of the secret that it is."""

    def signer(self, now: datetime) -> SigningKey:
        """The key that signs now."""
        return next((key for key in reversed(self.keys) if key.sign_time <= now), self.keys[0])

    def listed(self, schedule: Schedule, now: datetime) -> tuple[SigningKey, ...]:
        """The keys whose tokens are good, or will be. Those whose last token has expired stay as long as a notice."""
        stay = schedule.token_life + schedule.notice
        pairs = zip(self.keys, (*self.keys[1:], None), strict=True)
        return tuple(key for key, following in pairs if following is None or now < following.sign_time + stay)

    def due(self, schedule: Schedule, now: datetime) -> bool:
        """Whether it is time for a new key."""
        return now >= self.keys[-1].sign_time + schedule.life

    def extended(self, pem: bytes, schedule: Schedule, now: datetime) -> tuple[SigningKey, ...]:
        """The keys with a new one, and without those that are of no use any more."""
        return (*self.listed(schedule, now), SigningKey(pem, now, now + schedule.notice))


class Secrets(Protocol):
    """Where secrets are kept, in versions."""

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """The newest value of a secret, and its version."""

    async def write(self, name: str, value: bytes, replaces_version: int) -> int:
        """Write the next version (after 0: the first), and return it. Raises Conflict when somebody else did."""


class KeyRing:
    """The ring as this instance knows it."""

    def __init__(
        self, secrets: Secrets, schedule: Schedule, new_key: Callable[[], bytes], now: Callable[[], datetime]
    ) -> None:
        self.schedule = schedule
        self._secrets = secrets
        self._new_key = new_key
        self._now = now
        self._ring: Ring | None = None
        self._read_time = datetime.fromtimestamp(0, UTC)

    @property
    def ring(self) -> Ring:
        """The keys, as they were read last."""
        assert self._ring is not None, "look at the keys first"
        return self._ring

    async def look(self) -> None:
        """Read the keys; make the first one when there is none, and the next one when it is time."""
        await self._read()
        if self.ring.due(self.schedule, self._now()):
            await self.rotate()

    async def rotate(self) -> SigningKey:
        """Make a new key, which signs after the notice; when one waits to sign already, that one is returned."""
        while True:
            now = self._now()
            await self._read()
            newest = self.ring.keys[-1]
            if newest.sign_time > now:
                return newest
            keys = self.ring.extended(self._new_key(), self.schedule, now)
            if await self._write(keys, self.ring.version):
                log.info("signing key made", sign_time=keys[-1].sign_time.isoformat())
                return keys[-1]

    async def keep(self, every: timedelta) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(every.total_seconds())
            try:
                await self.look()
            except Error as failure:
                # Those that are known go on signing; the health check tells.
                log.warning("signing keys not read", reason=failure.reason, error=failure.message)

    async def known(self) -> None:
        """Raises Unavailable when the keys were not read for so long that others may have a new one."""
        if self._now() - self._read_time >= self.schedule.notice:
            raise Unavailable("the signing keys cannot be read", reason="SERVICE_UNAVAILABLE")

    async def _read(self) -> None:
        while True:
            now = self._now()
            found = await self._secrets.read(NAME)
            if found is not None:
                self._know(Ring(_parsed(found[0]), found[1]), now)
                return
            if await self._write((SigningKey(self._new_key(), now, now),), 0):
                return

    async def _write(self, keys: tuple[SigningKey, ...], replaces_version: int) -> bool:
        """Keep the keys; False when another instance was faster."""
        try:
            version = await self._secrets.write(NAME, _written(keys), replaces_version)
        except Conflict:
            return False
        self._know(Ring(keys, version), self._now())
        return True

    def _know(self, ring: Ring, now: datetime) -> None:
        # An answer that was long on its way does not bring an old ring back.
        if self._ring is None or ring.version >= self._ring.version:
            self._ring, self._read_time = ring, now


async def rotate(desk: Desk, keys: KeyRing, actor: Actor) -> SigningKey:
    """Make a new key because an administrator asks for it."""
    async with administering(desk, actor, "signing_key.rotate") as entry:
        newest = await keys.rotate()
        entry.details["sign_time"] = newest.sign_time.isoformat()
        return newest


def _written(keys: tuple[SigningKey, ...]) -> bytes:
    rows = [
        {
            "pem": key.pem.decode(),
            "create_time": key.create_time.isoformat(),
            "sign_time": key.sign_time.isoformat(),
        }
        for key in keys
    ]
    return json.dumps({"keys": rows}).encode()


def _parsed(value: bytes) -> tuple[SigningKey, ...]:
    if value.startswith(_PEM):
        # What the first versions of this service wrote: one key, of unknown age.
        long_ago = datetime.fromtimestamp(0, UTC)
        return (SigningKey(value, long_ago, long_ago),)
    try:
        keys = tuple(
            SigningKey(
                row["pem"].encode(),
                datetime.fromisoformat(row["create_time"]),
                datetime.fromisoformat(row["sign_time"]),
            )
            for row in json.loads(value)["keys"]
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        keys = ()
    if not keys:
        raise DataLoss(f"the secret {NAME} holds no signing keys", reason="DATA_CORRUPT")
    return keys

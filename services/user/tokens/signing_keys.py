"""Signing keys: which key signs, which keys are published, and how keys are rotated without a failed request.

A key is published before it signs, for longer than any verifier caches an old list, and stays published until the last
token that it signed has expired. All instances share one key set, as versions of one secret: the instance that writes
the next version first has made the new key, and the others find it when they refresh.
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
from services.runtime.secrets import Secret
from services.user.authorization import admin_action
from services.user.context import Actor, Context

log = structlog.get_logger()

SECRET_NAME = "user/signing-key"  # noqa: S105
_PEM_HEADER = b"-----BEGIN"


@dataclass(frozen=True)
class RotationSchedule:
    """When keys are made, begin to sign, and are dropped."""

    key_lifetime: timedelta
    """How long a key signs before the next one is made."""
    notice: timedelta
    """How long a new key is published before it signs: longer than gateway, services and instances cache old lists."""
    token_lifetime: timedelta
    """How long a token is valid."""


@dataclass(frozen=True)
class SigningKey:
    """A private key, and when it signs."""

    pem: bytes = field(repr=False)
    create_time: datetime
    sign_time: datetime
    """From when on it signs, until the next key does."""


@dataclass(frozen=True)
class KeySet:
    """The keys, the oldest first."""

    keys: tuple[SigningKey, ...]
    version: int
    """The version of the secret that holds them."""

    def find_signer(self, now: datetime) -> SigningKey:
        """Return the key that signs now."""
        return next((key for key in reversed(self.keys) if key.sign_time <= now), self.keys[0])

    def list_published(self, schedule: RotationSchedule, now: datetime) -> tuple[SigningKey, ...]:
        """Return the keys whose tokens are valid or will be; former ones stay for a notice beyond their last token."""
        stay = schedule.token_lifetime + schedule.notice
        pairs = zip(self.keys, (*self.keys[1:], None), strict=True)
        return tuple(key for key, successor in pairs if successor is None or now < successor.sign_time + stay)

    def is_rotation_due(self, schedule: RotationSchedule, now: datetime) -> bool:
        """Return whether it is time for a new key."""
        return now >= self.keys[-1].sign_time + schedule.key_lifetime

    def with_new_key(self, pem: bytes, schedule: RotationSchedule, now: datetime) -> tuple[SigningKey, ...]:
        """Return the published keys and a new one, which signs after the notice."""
        return (*self.list_published(schedule, now), SigningKey(pem, now, now + schedule.notice))


class SecretStore(Protocol):
    """The store of the secret, in versions."""

    async def read(self, name: str) -> Secret | None:
        """Return the newest version of a secret."""

    async def write(self, name: str, value: bytes, replaces_version: int) -> Secret:
        """Write the next version (after 0: the first). Raises `Conflict` when another instance has written it."""


class KeyRing:
    """The key set as this instance has last read it."""

    def __init__(
        self,
        secrets: SecretStore,
        schedule: RotationSchedule,
        generate: Callable[[], bytes],
        now: Callable[[], datetime],
    ) -> None:
        self.schedule = schedule
        self._secrets = secrets
        self._generate = generate
        self._now = now
        self._key_set: KeySet | None = None
        self._read_time = datetime.fromtimestamp(0, UTC)

    @property
    def key_set(self) -> KeySet:
        """The keys as they were last read."""
        assert self._key_set is not None, "refresh the keys first"
        return self._key_set

    async def refresh(self) -> None:
        """Read the keys; create the first one when there is none, and the next one when it is due."""
        await self._read()
        if self.key_set.is_rotation_due(self.schedule, self._now()):
            await self.rotate()

    async def rotate(self) -> SigningKey:
        """Make a new key, which signs after the notice, and return it; a key that waits to sign is returned instead."""
        while True:
            now = self._now()
            await self._read()
            newest = self.key_set.keys[-1]
            if newest.sign_time > now:
                return newest
            keys = self.key_set.with_new_key(self._generate(), self.schedule, now)
            if await self._write(keys, self.key_set.version):
                log.info("signing key made", sign_time=keys[-1].sign_time.isoformat())
                return keys[-1]

    async def run(self, interval: timedelta) -> None:
        """Refresh at an interval, until cancelled."""
        while True:
            await asyncio.sleep(interval.total_seconds())
            try:
                await self.refresh()
            except Error as failure:
                # The keys that were read last go on signing; the health check reports it when they are too old.
                log.warning("signing keys not read", reason=failure.reason, error=failure.message)

    async def check_fresh(self) -> None:
        """Raise `Unavailable` when the keys are so old that another instance may sign with a new one."""
        if self._now() - self._read_time >= self.schedule.notice:
            raise Unavailable("the signing keys cannot be read", reason="SERVICE_UNAVAILABLE")

    async def _read(self) -> None:
        while True:
            now = self._now()
            secret = await self._secrets.read(SECRET_NAME)
            if secret is not None:
                self._update(KeySet(_parse(secret.value), secret.version), now)
                return
            if await self._write((SigningKey(self._generate(), now, now),), 0):
                return

    async def _write(self, keys: tuple[SigningKey, ...], replaces_version: int) -> bool:
        """Write the keys; False when another instance was faster."""
        try:
            secret = await self._secrets.write(SECRET_NAME, _serialize(keys), replaces_version)
        except Conflict:
            return False
        self._update(KeySet(keys, secret.version), self._now())
        return True

    def _update(self, key_set: KeySet, now: datetime) -> None:
        # A response that was delayed must not restore old keys.
        if self._key_set is None or key_set.version >= self._key_set.version:
            self._key_set, self._read_time = key_set, now


async def rotate_signing_key(context: Context, key_ring: KeyRing, actor: Actor) -> SigningKey:
    """Make a new key at an administrator's request."""
    async with admin_action(context, actor, "signing_key.rotate") as entry:
        newest = await key_ring.rotate()
        entry.details["sign_time"] = newest.sign_time.isoformat()
        return newest


def _serialize(keys: tuple[SigningKey, ...]) -> bytes:
    rows = [
        {
            "pem": key.pem.decode(),
            "create_time": key.create_time.isoformat(),
            "sign_time": key.sign_time.isoformat(),
        }
        for key in keys
    ]
    return json.dumps({"keys": rows}).encode()


def _parse(value: bytes) -> tuple[SigningKey, ...]:
    if value.startswith(_PEM_HEADER):
        # The format of the first versions of this service: one key, of unknown age.
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
        raise DataLoss(f"the secret {SECRET_NAME} holds no signing keys", reason="DATA_CORRUPT")
    return keys

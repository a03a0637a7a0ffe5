"""Data keys: keys of a service that the config service wraps, so that no store holds one in plaintext.

The wrapped keys of one purpose are versions in the secret `<name>-keys`, and the key-encryption key `<name>` wraps
them. `run` reads versions that another instance has added, and wraps all anew after the key-encryption key was rotated.
A new version is used only after a notice, when all instances have read it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from moneyprinter.errors import Conflict, DataLoss, Error
from services.runtime.encryption import KEY_BYTES
from services.runtime.secrets import SecretClient

log = structlog.get_logger()

# Longer than two refreshes of every instance.
NOTICE_SECONDS = 300.0
REFRESH_SECONDS = 60.0


@dataclass(frozen=True)
class DataKey:
    """A version of a data key."""

    value: bytes = field(repr=False)
    version: int
    created: float
    """When the version was made, in seconds since 1970."""


@dataclass(frozen=True)
class _Wrapped:
    data: bytes
    created: float


class DataKeys:
    """The data keys of one purpose, read and unwrapped by `refresh`."""

    def __init__(self, client: SecretClient, name: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._name = name
        self._clock = clock
        self._keys: dict[int, DataKey] = {}

    @property
    def current(self) -> DataKey:
        """The version that encrypts: the newest one whose notice has ended, or the first."""
        due = [key for key in self._keys.values() if key.created <= self._clock() - NOTICE_SECONDS]
        return max(due, key=lambda key: key.version) if due else self._keys[min(self._keys)]

    def find(self, version: int) -> DataKey | None:
        """Return a version; None when there is none."""
        return self._keys.get(version)

    async def open(self, plain_secret: str = "") -> None:
        """Read the keys, and create the first one when there is none.

        `plain_secret` is the secret in which earlier releases kept the key in plaintext: it becomes the first version.
        Raises `DataLoss` when a key was altered.
        """
        if await self.refresh():
            return
        earlier = await self._client.read_key(plain_secret) if plain_secret else None
        key, version = (earlier.value, earlier.version) if earlier else (secrets.token_bytes(KEY_BYTES), 1)
        try:
            await self._write({version: await self._wrap(version, key)}, 0)
        except Conflict:
            log.info("another instance has created the data key", name=self._name)
        await self.refresh()

    async def refresh(self) -> bool:
        """Read versions that were added, and return whether there is any. Raises `DataLoss` when one was altered."""
        wrapped, _ = await self._read()
        for version, each in wrapped.items():
            if version not in self._keys:
                value = await self._client.unwrap_key(self._name, each.data, self._context(version))
                self._keys[version] = DataKey(value, version, each.created)
        return bool(wrapped)

    async def add(self) -> int:
        """Add a version, and return its number. It encrypts when its notice has ended. Raises `Conflict`."""
        wrapped, secret_version = await self._read()
        version = max(wrapped, default=0) + 1
        added = await self._wrap(version, secrets.token_bytes(KEY_BYTES))
        await self._write({**wrapped, version: added}, secret_version)
        await self.refresh()
        return version

    async def rewrap(self) -> int:
        """Wrap the keys with the newest version of the key-encryption key, and return how many were not.

        Raises `Conflict` when another instance has written them meanwhile, and `DataLoss` when one was altered.
        """
        wrapped, secret_version = await self._read()
        anew = {
            version: _Wrapped(
                await self._client.rewrap_key(self._name, each.data, self._context(version)), each.created
            )
            for version, each in wrapped.items()
        }
        changed = sum(anew[version] != wrapped[version] for version in wrapped)
        if changed:
            await self._write(anew, secret_version)
            log.info("data keys wrapped anew", name=self._name, count=changed)
        return changed

    async def run(self, lifetime_seconds: float = float("inf")) -> None:
        """Refresh and rewrap the keys at an interval, until cancelled. A failure waits for the next time.

        A new version is added when the newest one is older than `lifetime_seconds`.
        """
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
                await self.rewrap()
                if self._clock() - max(key.created for key in self._keys.values()) > lifetime_seconds:
                    log.info("data key added", name=self._name, version=await self.add())
            except Conflict:
                log.info("another instance has written the data keys", name=self._name)
            except Error as failure:
                log.warning("data keys cannot be read", name=self._name, reason=failure.reason)

    async def _wrap(self, version: int, key: bytes) -> _Wrapped:
        return _Wrapped(await self._client.wrap_key(self._name, key, self._context(version)), self._clock())

    def _context(self, version: int) -> bytes:
        return f"{self._name} {version}".encode()

    async def _read(self) -> tuple[dict[int, _Wrapped], int]:
        """Return the wrapped keys by version, and the version of their secret; 0 when there is none."""
        secret = await self._client.read(f"{self._name}-keys")
        if secret is None:
            return {}, 0
        try:
            found = json.loads(secret.value)
            wrapped = {
                int(version): _Wrapped(base64.b64decode(each["wrapped"], validate=True), float(each["created"]))
                for version, each in found.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, binascii.Error):
            raise DataLoss(
                f"the secret {self._name}-keys holds no wrapped keys; restore it from a backup", reason="DATA_CORRUPT"
            ) from None
        return wrapped, secret.version

    async def _write(self, wrapped: Mapping[int, _Wrapped], replaces_version: int) -> None:
        value = {
            str(version): {"wrapped": base64.b64encode(each.data).decode(), "created": each.created}
            for version, each in wrapped.items()
        }
        await self._client.write(f"{self._name}-keys", json.dumps(value).encode(), replaces_version)

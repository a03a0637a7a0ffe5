"""Passwords: hashed with Argon2id off the event loop, a few at a time, since each hash takes much memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from services.user.accounts.credential_rules import normalize_password

T = TypeVar("T")

AcquireSlot = Callable[[], Awaitable[Callable[[], None]]]
"""Waits for a slot; the function that it returns frees the slot."""

# 46 MiB and about 80 ms on a server of 2025.
HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=47_104, parallelism=1)


class PasswordHasher(Protocol):
    """Hashes and verifies passwords."""

    async def hash(self, password: str) -> str:
        """Return the hash to store."""

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Return whether a password matches a hash; without a hash, False after the same time."""

    def needs_rehash(self, password_hash: str) -> bool:
        """Return whether the hash was made with other parameters than the current ones."""


class Argon2Hasher:
    """A PasswordHasher with Argon2id. `acquire_slot` limits how many passwords are hashed at once."""

    def __init__(self, acquire_slot: AcquireSlot, hasher: argon2.PasswordHasher = HASHER) -> None:
        self._hasher = hasher
        self._acquire_slot = acquire_slot
        # Verified where there is no account, so that the response takes as long.
        self._decoy_hash = hasher.hash(secrets.token_urlsafe(16))

    async def hash(self, password: str) -> str:
        """Return the hash to store."""
        return await self._run_in_slot(lambda: self._hasher.hash(normalize_password(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Return whether a password matches a hash; without a hash, False after the same time."""
        matches = await self._run_in_slot(
            lambda: self._matches(password_hash or self._decoy_hash, normalize_password(password))
        )
        return matches and password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        """Return whether the hash was made with other parameters than the current ones."""
        try:
            return self._hasher.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    async def _run_in_slot(self, work: Callable[[], T]) -> T:
        release = await self._acquire_slot()
        # A cancelled caller cannot stop the thread: the slot is freed when the work has ended.
        running = asyncio.get_running_loop().run_in_executor(None, work)
        running.add_done_callback(lambda _: release())
        return await asyncio.shield(running)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except VerifyMismatchError:
            return False

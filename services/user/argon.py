"""Argon: passwords under Argon2id, a few at a time, since each takes much memory."""

from __future__ import annotations

import asyncio
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

# 46 MiB and about 80 ms on a server of today.
HASHER = PasswordHasher(time_cost=2, memory_cost=47_104, parallelism=1)


class ArgonPasswords:
    """Passwords, hashed off the event loop, at most `at_once` at a time."""

    def __init__(self, at_once: int, hasher: PasswordHasher = HASHER) -> None:
        self._hasher = hasher
        self._turn = asyncio.Semaphore(at_once)
        # What a password is checked against where there is no account, so that it takes as long.
        self._nobody = hasher.hash(secrets.token_urlsafe(16))

    async def hash(self, password: str) -> str:
        """The hash to keep."""
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one of the hash."""
        async with self._turn:
            same = await asyncio.to_thread(self._same, password_hash or self._nobody, password)
        return same and password_hash is not None

    def _same(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except VerifyMismatchError:
            return False

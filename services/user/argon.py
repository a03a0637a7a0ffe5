"""Argon: passwords under Argon2id, a few at a time, since each takes much memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from services.user.accounts import typed

T = TypeVar("T")

Turn = Callable[[], Awaitable[Callable[[], None]]]

# 46 MiB and about 80 ms on a server of today.
HASHER = PasswordHasher(time_cost=2, memory_cost=47_104, parallelism=1)


class ArgonPasswords:
    """Passwords, hashed off the event loop.

    `turn` waits until one more may be hashed; what it returns is called when that is done.
    """

    def __init__(self, turn: Turn, hasher: PasswordHasher = HASHER) -> None:
        self._hasher = hasher
        self._turn = turn
        # What a password is checked against where there is no account, so that it takes as long.
        self._nobody = hasher.hash(secrets.token_urlsafe(16))

    async def hash(self, password: str) -> str:
        """The hash to keep."""
        return await self._in_turn(lambda: self._hasher.hash(typed(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one of the hash."""
        same = await self._in_turn(lambda: self._same(password_hash or self._nobody, typed(password)))
        return same and password_hash is not None

    def stale(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than those of today."""
        try:
            return self._hasher.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    async def _in_turn(self, work: Callable[[], T]) -> T:
        over = await self._turn()
        # A caller that gives up cannot stop the thread: the turn is over when the work is.
        working = asyncio.get_running_loop().run_in_executor(None, work)
        working.add_done_callback(lambda _: over())
        return await asyncio.shield(working)

    def _same(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except VerifyMismatchError:
            return False

"""Accounts: who they are, how they are kept, and how the first one is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

ALL_ROLES = ("video.process", "audio.generate", "content.manage", "user.admin")
FIRST_USERNAME = "admin"


@dataclass(frozen=True)
class Account:
    """Somebody who may sign in."""

    id: str
    """`user_...`."""
    username: str
    password_hash: str = field(repr=False)
    """Argon2id, in its self-describing form."""
    roles: tuple[str, ...]
    """What the account may do."""


@dataclass(frozen=True)
class Draft:
    """What is chosen at random for an account to be made."""

    id: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token as it is kept."""

    sha256: bytes
    """What is known of the token itself."""
    expire_time: datetime


@dataclass(frozen=True)
class Throttle:
    """How often one name may be tried."""

    attempts: int = 10
    window: timedelta = timedelta(minutes=5)

    def admit(self, times: Sequence[datetime], now: datetime) -> tuple[list[datetime], timedelta | None]:
        """Given the times of former attempts: the times to keep, and how long to wait (None: the attempt is on)."""
        recent = [time for time in times if time > now - self.window]
        if len(recent) >= self.attempts:
            return recent, recent[0] + self.window - now
        return [*recent, now], None


class AccountStore(Protocol):
    """Where accounts and their sessions are kept."""

    async def empty(self) -> bool:
        """Whether there is no account."""

    async def add_first(self, account: Account, now: datetime) -> bool:
        """Add an account if there is none at all; says whether it did."""

    async def named(self, username: str) -> Account | None:
        """The account of a name."""

    async def attempt(self, username: str, throttle: Throttle, now: datetime) -> timedelta | None:
        """Note an attempt to sign in; when there were too many, note nothing and say how long to wait."""

    async def forget_attempts(self, username: str) -> None:
        """Forget the attempts of a name, which has signed in."""

    async def begin(self, account_id: str, family: str, token: RefreshToken, now: datetime) -> None:
        """Keep the first refresh token of a sign-in."""

    async def rotate(self, sha256: bytes, successor: RefreshToken, now: datetime) -> Account | None:
        """Replace an unused, unexpired token by its successor, and return its account.

        None when there is no such token. When it was used before, its whole family is forgotten.
        """


class Passwords(Protocol):
    """Hashes passwords, and checks them."""

    async def hash(self, password: str) -> str:
        """The hash to keep."""

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one of the hash. Takes as long, and is false, where there is no hash."""


class FirstAccountFile(Protocol):
    """The file that tells the first account's password to the one who starts the platform."""

    def claim(self, username: str, password: str) -> str:
        """Write name and password, unless the file is there; return the password that it holds."""

    def remove(self) -> None:
        """Remove the file."""


async def make_first(
    store: AccountStore, passwords: Passwords, file: FirstAccountFile, draft: Draft, now: datetime
) -> bool:
    """Make the first account if there is none, with its password in a file; says whether it did.

    The file comes first: a process that dies between the two steps leaves a file whose password the next
    one takes. Of several replicas one makes the account; those that wrote a file of their own remove it.
    """
    if not await store.empty():
        return False
    password = file.claim(FIRST_USERNAME, draft.password)
    account = Account(draft.id, FIRST_USERNAME, await passwords.hash(password), ALL_ROLES)
    if await store.add_first(account, now):
        return True
    made = await store.named(FIRST_USERNAME)
    if made is None or not await passwords.verify(made.password_hash, password):
        file.remove()
    return False

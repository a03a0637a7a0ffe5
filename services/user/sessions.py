"""Sessions: sign in with name and password, stay signed in with refresh tokens that are good for one use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from moneyprinter.errors import ResourceExhausted, Unauthenticated
from services.user.accounts import Account, AccountStore, Passwords, RefreshToken, Throttle

REFRESH_LIFE = timedelta(days=30)


@dataclass(frozen=True)
class Session:
    """What a user has to show until the access token expires, and how to go on then."""

    access_token: str = field(repr=False)
    access_life: timedelta
    refresh_token: str = field(repr=False)


class AccessTokens(Protocol):
    """Makes access tokens."""

    life: timedelta
    """How long they are good."""

    def sign(self, account: Account, now: datetime) -> str:
        """A token for an account."""


@dataclass(frozen=True)
class Desk:
    """What sessions are made with."""

    store: AccountStore
    passwords: Passwords
    tokens: AccessTokens
    now: Callable[[], datetime]
    random: Callable[[], str]
    """Something that nobody can guess, at least 128 bits of it."""
    throttle: Throttle = field(default_factory=Throttle)


async def sign_in(desk: Desk, username: str, password: str) -> Session:
    """Trade name and password for a session.

    Raises Unauthenticated, in the same words and after the same time whatever was wrong; ResourceExhausted
    when the name was tried too often.
    """
    if wait := await desk.store.attempt(username, desk.throttle, desk.now()):
        raise ResourceExhausted(
            f"this name was tried too often; try again in {wait.total_seconds():.0f} seconds",
            reason="BUSY",
            retry_after_seconds=wait.total_seconds(),
        )
    account = await desk.store.named(username)
    known = await desk.passwords.verify(account.password_hash if account else None, password)
    if account is None or not known:
        raise Unauthenticated("name and password do not belong together", reason="CREDENTIALS_WRONG")
    await desk.store.forget_attempts(username)
    token, kept = _refresh_token(desk)
    await desk.store.begin(account.id, desk.random(), kept, desk.now())
    return _session(desk, account, token)


async def refresh(desk: Desk, token: str) -> Session:
    """Trade a refresh token for the next session. Raises Unauthenticated when it is not good, or not good any more."""
    successor, kept = _refresh_token(desk)
    account = await desk.store.rotate(_sha256(token), kept, desk.now())
    if account is None:
        raise Unauthenticated(
            "the refresh token is unknown, expired, or was used before; sign in again", reason="REFRESH_TOKEN_INVALID"
        )
    return _session(desk, account, successor)


def _refresh_token(desk: Desk) -> tuple[str, RefreshToken]:
    token = desk.random()
    return token, RefreshToken(_sha256(token), desk.now() + REFRESH_LIFE)


def _session(desk: Desk, account: Account, refresh_token: str) -> Session:
    return Session(desk.tokens.sign(account, desk.now()), desk.tokens.life, refresh_token)


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

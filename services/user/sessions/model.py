"""Model: sessions and refresh tokens, as they are stored, and the tokens that clients receive."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.user.accounts.model import Account
from services.user.client import Client

REFRESH_TOKEN_LIFETIME = timedelta(days=30)

# How long the client that used a refresh token may use it again: two concurrent requests are no theft.
REUSE_GRACE = timedelta(seconds=10)

# An account has at most so many sessions. A new one ends the session whose last use is the oldest.
MAX_SESSIONS = 100


@dataclass(frozen=True)
class IssuedTokens:
    """An access token, and the refresh token to get the next one with."""

    access_token: str = field(repr=False)
    access_lifetime: timedelta
    refresh_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token as it is stored."""

    sha256: bytes
    """The hash of the token."""
    expire_time: datetime


@dataclass(frozen=True)
class Session:
    """A sign-in that has not ended."""

    id: str
    """`ses_...`."""
    account_id: str
    create_time: datetime
    use_time: datetime
    """When its tokens were last refreshed."""
    client: Client
    """The client that last refreshed them."""


@dataclass(frozen=True)
class TokenUse:
    """A use of a refresh token: when, by which client, and the token that succeeds it."""

    time: datetime
    client: Client
    salt: bytes
    """Makes, together with the token, its successor."""
    successor: RefreshToken

    def is_repeated_by(self, other: TokenUse, successor_used: bool) -> bool:
        """Return whether a later use is a concurrent request of the same client, not a replay."""
        return other.client == self.client and other.time - self.time <= REUSE_GRACE and not successor_used


@dataclass(frozen=True)
class Rotation:
    """The result of using a refresh token."""

    account: Account
    session_id: str
    salt: bytes | None
    """Makes the successor; None: the token had been used before, and its session has been ended."""

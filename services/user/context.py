"""Context: what every operation on accounts needs, and the actor of a request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from services.user.accounts.model import ADMINISTRATOR_ROLE, ALL_ROLES
from services.user.api_keys.model import KEY_PREFIX
from services.user.audit.actions import AuditEntry, AuditRecorder, audit_action
from services.user.authentication.passwords import PasswordHasher
from services.user.authentication.throttling import LoginThrottle
from services.user.client import Client
from services.user.store import Store
from services.user.tokens.opaque_tokens import encode_token

# No one, invited people only, or everyone may create an account.
RegistrationPolicy = Literal["closed", "invitation", "open"]


@dataclass(frozen=True)
class Actor:
    """The account that makes a request, as the access token names it, and where the request comes from."""

    account_id: str
    session_id: str
    """The session, or the API key, that the token was issued for."""
    client: Client

    @property
    def is_api_key(self) -> bool:
        """Whether the token was issued for an API key."""
        return self.session_id.startswith(KEY_PREFIX)


@dataclass(frozen=True)
class TokenSubject:
    """What an access token is issued for."""

    account_id: str
    session_id: str
    """A session, or an API key."""
    roles: tuple[str, ...]
    expire_time: datetime | None = None
    """When the API key expires; None: later than any token."""


class AccessTokens(Protocol):
    """Issues access tokens."""

    lifetime: timedelta
    """How long a token is valid."""

    def sign(self, subject: TokenSubject, now: datetime) -> str:
        """Return a token."""


class TotpCodes(Protocol):
    """The time-based codes of authenticator apps (RFC 6238)."""

    def new_secret(self) -> str:
        """Return a new secret, in base 32."""

    def uri(self, secret: str, username: str) -> str:
        """Return the `otpauth:` URI that an app reads."""

    def find_counter(self, secret: str, code: str, now: datetime) -> int | None:
        """Return the number of the period whose code this is; None when it is of no period around `now`."""


class FactorCipher(Protocol):
    """Encrypts the secrets of second factors, each bound to its account."""

    def encrypt(self, account_id: str, secret: str) -> bytes:
        """Encrypt a secret."""

    def decrypt(self, account_id: str, encrypted: bytes) -> str:
        """Decrypt a secret. Raises `DataLoss` when it was altered, or belongs to another account."""

    def digest(self, account_id: str, text: str) -> bytes:
        """Return the keyed hash of a text that is only compared, never read."""


@dataclass(frozen=True)
class Policy:
    """What the operators of the platform have configured."""

    registration: RegistrationPolicy = "invitation"
    registered_roles: tuple[str, ...] = tuple(role for role in ALL_ROLES if role != ADMINISTRATOR_ROLE)
    """The roles of accounts that register without an invitation."""
    max_api_keys: int = 100
    """How many active API keys an account may have."""
    api_key_lifetime: timedelta = timedelta(days=90)
    """How long an API key is valid unless the request names another time."""
    max_api_key_lifetime: timedelta = timedelta(days=365)


@dataclass(frozen=True)
class Context:
    """The dependencies of every operation."""

    store: Store
    throttle: LoginThrottle
    passwords: PasswordHasher
    tokens: AccessTokens
    totp: TotpCodes
    cipher: FactorCipher
    recorder: AuditRecorder
    now: Callable[[], datetime]
    random: Callable[[int], bytes]
    """Returns so many bytes from a cryptographically secure generator."""
    policy: Policy = field(default_factory=Policy)

    def new_id(self, prefix: str, size: int = 8) -> str:
        """Return a new id: the prefix, and `size` random bytes in hexadecimal."""
        return f"{prefix}_{self.random(size).hex()}"

    def new_token(self) -> str:
        """Return a new random token of 256 bits."""
        return encode_token(self.random(32))

    def audit_action(self, action: str, client: Client) -> AbstractAsyncContextManager[AuditEntry]:
        """Record how the body of this context ends, where the actor is not known yet."""
        return audit_action(self.recorder, action, client.address)

    def audit_actor_action(
        self, actor: Actor, action: str, target: str = ""
    ) -> AbstractAsyncContextManager[AuditEntry]:
        """Record how the body of this context ends, as an action of `actor`."""
        return audit_action(self.recorder, action, actor.client.address, actor=actor.account_id, target=target)

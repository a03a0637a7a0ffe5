"""Desk: what every request about accounts is answered with, and who is asking."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol

from moneyprinter.errors import PermissionDenied, Unauthenticated
from services.user.accounts import ADMINISTRATOR, ALL_ROLES, Account, Passwords
from services.user.attempts import Guard
from services.user.audit import Audit, Entry, audited
from services.user.store import ApiKey, Client, Store

# Who may make an account: nobody, who has an administrator's invitation, or everybody.
Registration = Literal["closed", "invitation", "open"]
KEY_PREFIX = "key_"


@dataclass(frozen=True)
class Actor:
    """Who is asking: what the access token says, and where it came from."""

    account_id: str
    session_id: str
    """The session, or the API key, that the token was made for."""
    client: Client

    @property
    def is_machine(self) -> bool:
        """Whether the token was made for an API key."""
        return self.session_id.startswith(KEY_PREFIX)


@dataclass(frozen=True)
class Subject:
    """What an access token is made for."""

    account_id: str
    session_id: str
    roles: tuple[str, ...]
    expire_time: datetime | None = None
    """When what it is made for expires; None: later than any token."""


class AccessTokens(Protocol):
    """Makes access tokens."""

    life: timedelta
    """How long they are good."""

    def sign(self, subject: Subject, now: datetime) -> str:
        """A token."""


class Codes(Protocol):
    """The codes of authenticator apps."""

    def new_secret(self) -> str:
        """A new secret, in base 32."""

    def uri(self, secret: str, username: str) -> str:
        """The address that an app reads."""

    def counter(self, secret: str, code: str, now: datetime) -> int | None:
        """The number of the period whose code this is, if it is one of about now."""


class Seal(Protocol):
    """Encrypts what must be read again, each bound to its account."""

    def seal(self, account_id: str, secret: str) -> bytes:
        """Encrypt."""

    def open(self, account_id: str, sealed: bytes) -> str:
        """Decrypt. Raises DataLoss when it was altered, or is another account's."""

    def digest(self, account_id: str, text: str) -> bytes:
        """What is kept of a text that need not be read again."""


@dataclass(frozen=True)
class Policy:
    """What those who run the platform have chosen."""

    registration: Registration = "invitation"
    registered_roles: tuple[str, ...] = tuple(role for role in ALL_ROLES if role != "user.admin")
    """What accounts may do that were registered without an invitation."""
    keys_at_most: int = 100
    """How many good API keys an account may have."""
    key_life: timedelta = timedelta(days=90)
    """How long an API key is good when its owner asks for no other time."""
    key_life_at_most: timedelta = timedelta(days=365)
    """The longest time that may be asked for."""


@dataclass(frozen=True)
class Desk:
    """What requests are answered with."""

    store: Store
    guard: Guard
    passwords: Passwords
    tokens: AccessTokens
    codes: Codes
    seal: Seal
    audit: Audit
    now: Callable[[], datetime]
    random: Callable[[int], bytes]
    """That many bytes that nobody can guess."""
    policy: Policy = field(default_factory=Policy)

    def new_id(self, prefix: str, size: int = 8) -> str:
        """An id that was never there."""
        return f"{prefix}_{self.random(size).hex()}"

    def new_token(self) -> str:
        """A token of 256 bits."""
        return text_of(self.random(32))

    def audited(self, action: str, client: Client) -> AbstractAsyncContextManager[Entry]:
        """Tell how what is done in this context ends, by somebody who is not known yet."""
        return audited(self.audit, action, client.address)

    def audited_by(self, actor: Actor, action: str, target: str = "") -> AbstractAsyncContextManager[Entry]:
        """The same, by somebody who has signed in."""
        return audited(self.audit, action, actor.client.address, actor=actor.account_id, target=target)


def text_of(data: bytes) -> str:
    """Bytes as they are written in a token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sha256(token: str) -> bytes:
    """What is kept of a token. It is random, so that nothing slower is needed."""
    return hashlib.sha256(token.encode()).digest()


async def acting(desk: Desk, actor: Actor, *, person: bool = True, role: str = "") -> Account:
    """The account that is asking, as it is now, with the roles that it may use.

    `person`: not with an API key. Raises Unauthenticated when the account was disabled or the session is over,
    PermissionDenied when the role was taken from it: the access token may be older.
    """
    if actor.is_machine:
        if person:
            raise PermissionDenied("an API key cannot do this; sign in", reason="SESSION_REQUIRED")
        found = key_holder(await desk.store.keys.find(actor.session_id), desk.now())
    else:
        found = await desk.store.sessions.holder(actor.session_id, desk.now())
    if found is None or found.id != actor.account_id:
        raise Unauthenticated("the session of this token is over; sign in again", reason="TOKEN_INVALID")
    if role and role not in found.roles:
        raise PermissionDenied(f"this needs the role {role}; ask an administrator for it", reason="ROLE_MISSING")
    return found


async def administrator(desk: Desk, actor: Actor) -> None:
    """Let nobody pass but an administrator, or a machine of one. Raises as `acting` does."""
    await acting(desk, actor, person=False, role=ADMINISTRATOR)


def key_holder(found: tuple[ApiKey, Account] | None, now: datetime) -> Account | None:
    """The owner of an API key that was found, with the roles that the key has of it; None when it is no good."""
    if found is None:
        return None
    key, account = found
    if account.disable_time or not key.good(now):
        return None
    return replace(account, roles=tuple(role for role in account.roles if role in key.roles))

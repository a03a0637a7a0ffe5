"""What the tests of accounts share."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher

from moneyprinter.errors import Conflict
from services.runtime import db
from services.runtime.admission import Turns
from services.user import memory, postgres, tokens
from services.user.accounts import Account
from services.user.argon import ArgonPasswords
from services.user.attempts import Guard, Limits
from services.user.desk import Actor, Desk
from services.user.otp import AuthenticatorCodes
from services.user.proof import Code
from services.user.sealing import AesSeal
from services.user.sessions import Credentials, Tokens, sign_in
from services.user.signing_keys import KeyRing, Schedule
from services.user.store import Client, Store
from tests.databases import Databases

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
CLIENT = Client("203.0.113.7", "a browser")
TABLES = (
    *("accounts", "sessions", "refresh_tokens", "sign_in_attempts", "invitations"),
    *("account_networks", "password_resets", "totp_factors", "recovery_codes", "api_keys"),
)
PASSWORD = "correct horse battery"


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, time: timedelta) -> None:
        self.time += time


class KeptSecrets:
    """Secrets in versions, as the config service keeps them."""

    def __init__(self) -> None:
        self.values: dict[str, list[bytes]] = {}

    async def read(self, name: str) -> tuple[bytes, int] | None:
        values = self.values.get(name, [])
        return (values[-1], len(values)) if values else None

    async def write(self, name: str, value: bytes, replaces_version: int) -> int:
        values = self.values.setdefault(name, [])
        if len(values) != replaces_version:
            raise Conflict(f"{name} is at another version", reason="SECRET_CONFLICT")
        values.append(value)
        return len(values)


@dataclass(frozen=True)
class Event:
    """What an Audit was told."""

    action: str
    actor: str
    target: str
    result: str
    address: str
    details: dict[str, str]


@dataclass
class KeptAudit:
    """An Audit that can be read."""

    events: list[Event] = field(default_factory=list)

    async def record(
        self, action: str, *, actor: str, target: str, result: str, address: str, details: dict[str, str]
    ) -> None:
        self.events.append(Event(action, actor, target, result, address, details))

    def told(self, action: str) -> list[str]:
        """How the actions of a kind ended."""
        return [event.result for event in self.events if event.action == action]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passwords() -> ArgonPasswords:
    """Passwords that are quickly hashed."""
    return ArgonPasswords(Turns(2, str).acquire, PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


@pytest.fixture(scope="session")
async def pool(postgres: Databases) -> AsyncIterator[db.Pool]:
    """A pool on a database of ours; making one for every test takes longer than the tests."""
    async with db.open_pool("user", await postgres.fresh("user")) as opened:
        yield opened


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, pool: db.Pool) -> Store:
    """Each kind of store, empty."""
    if request.param == "memory":
        return memory.store()
    async with pool.connection() as connection:
        await connection.execute(f"TRUNCATE {', '.join(TABLES)}")
    return postgres.store(pool)


@pytest.fixture
def audit() -> KeptAudit:
    return KeptAudit()


@pytest.fixture
async def keys(clock: Clock) -> KeyRing:
    """The keys that tokens are signed with."""
    schedule = Schedule(timedelta(days=30), timedelta(minutes=5), tokens.LIFE)
    ring = KeyRing(KeptSecrets(), schedule, tokens.new_key, clock)
    await ring.look()
    return ring


@pytest.fixture
def desk(store: Store, passwords: ArgonPasswords, keys: KeyRing, audit: KeptAudit, clock: Clock) -> Desk:
    """A desk over each kind of store."""
    return Desk(
        store=store,
        guard=Guard(store.attempts, Limits()),
        passwords=passwords,
        tokens=tokens.JwtTokens(keys, "iss", "aud"),
        codes=AuthenticatorCodes("MoneyPrinter"),
        seal=AesSeal(bytes(range(32))),
        audit=audit,
        now=clock,
        random=secrets.token_bytes,
    )


@dataclass
class People:
    """Makes accounts, and signs them in."""

    desk: Desk
    clock: Clock

    async def add(self, username: str, *roles: str) -> Account:
        """An account that signs in with PASSWORD; each is a second younger than the one before."""
        self.clock.pass_by(timedelta(seconds=1))
        account = Account(
            f"user_{secrets.token_hex(8)}", username, await self.desk.passwords.hash(PASSWORD), roles, self.clock()
        )
        await self.desk.store.accounts.register(account, None)
        return account

    async def sign_in(self, username: str, client: Client = CLIENT, **code: str) -> Actor:
        """Sign in; returns who is asking from now on."""
        return actor((await self.tokens(username, client, **code)).access_token, client)

    async def tokens(self, username: str, client: Client = CLIENT, **code: str) -> Tokens:
        """Sign in; returns the tokens."""
        return await sign_in(self.desk, Credentials(username, PASSWORD, Code(**code)), client)


@pytest.fixture
def people(desk: Desk, clock: Clock) -> People:
    return People(desk, clock)


def claims(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def actor(token: str, client: Client = CLIENT) -> Actor:
    """Who is asking with an access token."""
    found = claims(token)
    return Actor(found["sub"], found["sid"], client)


def elsewhere(who: Actor) -> Actor:
    """The same from another address."""
    return replace(who, client=Client("198.51.100.9", "another browser"))

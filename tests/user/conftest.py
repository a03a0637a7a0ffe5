"""Fixtures of the tests of the user service."""

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
from services.runtime.admission import FairSemaphore
from services.runtime.db import Pool
from services.runtime.secrets import Secret
from services.user import postgres
from services.user.accounts.model import Account
from services.user.authentication.passwords import Argon2Hasher
from services.user.authentication.reauthentication import SecondFactorCode
from services.user.authentication.throttling import AttemptLimits, LoginThrottle
from services.user.client import Client
from services.user.context import Actor, Context
from services.user.mfa.encryption import AesFactorCipher
from services.user.mfa.totp import PyotpCodes
from services.user.sessions.model import IssuedTokens
from services.user.sessions.sign_in import Credentials, sign_in
from services.user.store import Store
from services.user.tokens.access_tokens import ACCESS_TOKEN_LIFETIME, JwtTokens, generate_signing_key
from services.user.tokens.signing_keys import KeyRing, RotationSchedule
from tests.databases import Databases, open_pool
from tests.user import memory

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
CLIENT = Client("203.0.113.7", "a browser")
TABLES = (
    *("accounts", "sessions", "refresh_tokens", "sign_in_attempts", "invitations"),
    *("account_networks", "password_resets", "totp_factors", "recovery_codes", "api_keys"),
    "provider_keys",
)
PASSWORD = "correct horse battery"


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, time: timedelta) -> None:
        self.time += time


class MemorySecrets:
    """A SecretStore in memory."""

    def __init__(self) -> None:
        self.values: dict[str, list[bytes]] = {}

    async def read(self, name: str) -> Secret | None:
        values = self.values.get(name, [])
        return Secret(values[-1], len(values)) if values else None

    async def write(self, name: str, value: bytes, replaces_version: int) -> Secret:
        values = self.values.setdefault(name, [])
        if len(values) != replaces_version:
            raise Conflict(f"{name} is at another version", reason="SECRET_CONFLICT")
        values.append(value)
        return Secret(value, len(values))


@dataclass(frozen=True)
class AuditedAction:
    """A recorded action."""

    action: str
    actor: str
    target: str
    result: str
    address: str
    details: dict[str, str]


@dataclass
class AuditRecording:
    """An AuditRecorder whose records a test can read."""

    events: list[AuditedAction] = field(default_factory=list)

    async def record(
        self, action: str, *, actor: str, target: str, result: str, address: str, details: dict[str, str]
    ) -> None:
        self.events.append(AuditedAction(action, actor, target, result, address, details))

    def results(self, action: str) -> list[str]:
        """Return how the actions of a kind ended."""
        return [event.result for event in self.events if event.action == action]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passwords() -> Argon2Hasher:
    """A hasher with fast parameters."""
    return Argon2Hasher(FairSemaphore(2, str).acquire, PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


@pytest.fixture(scope="session")
async def pool(postgres: Databases) -> AsyncIterator[Pool]:
    """A pool on one database for all tests; creating one for each test takes longer than the tests."""
    async with open_pool("user", await postgres.fresh("user")) as opened:
        yield opened


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, pool: Pool) -> Store:
    """Each kind of store, empty."""
    if request.param == "memory":
        return memory.create_store()
    async with pool.connection() as connection:
        await connection.execute(f"TRUNCATE {', '.join(TABLES)}")
    return postgres.create_store(pool)


@pytest.fixture
def audit() -> AuditRecording:
    return AuditRecording()


@pytest.fixture
async def keys(clock: Clock) -> KeyRing:
    """The keys that tokens are signed with."""
    schedule = RotationSchedule(timedelta(days=30), timedelta(minutes=5), ACCESS_TOKEN_LIFETIME)
    ring = KeyRing(MemorySecrets(), schedule, generate_signing_key, clock)
    await ring.refresh()
    return ring


@pytest.fixture
def context(store: Store, passwords: Argon2Hasher, keys: KeyRing, audit: AuditRecording, clock: Clock) -> Context:
    """A context on each kind of store."""
    return Context(
        store=store,
        throttle=LoginThrottle(store.attempts, AttemptLimits()),
        passwords=passwords,
        tokens=JwtTokens(keys, "iss", "aud"),
        totp=PyotpCodes("MoneyPrinter"),
        cipher=AesFactorCipher(bytes(range(32))),
        recorder=audit,
        now=clock,
        random=secrets.token_bytes,
    )


@dataclass
class People:
    """Creates accounts, and signs them in."""

    context: Context
    clock: Clock

    async def add(self, username: str, *roles: str) -> Account:
        """Create an account with PASSWORD, a second later than the one before."""
        self.clock.pass_by(timedelta(seconds=1))
        account = Account(
            f"user_{secrets.token_hex(8)}", username, await self.context.passwords.hash(PASSWORD), roles, self.clock()
        )
        await self.context.store.accounts.register(account, None)
        return account

    async def sign_in(self, username: str, client: Client = CLIENT, **code: str) -> Actor:
        """Sign in, and return the actor."""
        return actor((await self.tokens(username, client, **code)).access_token, client)

    async def tokens(self, username: str, client: Client = CLIENT, **code: str) -> IssuedTokens:
        """Sign in, and return the tokens."""
        return await sign_in(self.context, Credentials(username, PASSWORD, SecondFactorCode(**code)), client)


@pytest.fixture
def people(context: Context, clock: Clock) -> People:
    return People(context, clock)


def claims(token: str) -> dict[str, Any]:
    """Return the claims of a token, unverified."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def actor(token: str, client: Client = CLIENT) -> Actor:
    """Return the actor of an access token."""
    found = claims(token)
    return Actor(found["sub"], found["sid"], client)


def elsewhere(actor: Actor) -> Actor:
    """Return the actor at another address."""
    return replace(actor, client=Client("198.51.100.9", "another browser"))

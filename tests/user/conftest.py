"""What the tests of accounts share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher

from services.runtime import db
from services.user.accounts import AccountStore
from services.user.argon import ArgonPasswords
from services.user.memory import MemoryAccounts
from services.user.postgres import PostgresAccounts
from tests.databases import Databases


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, time: timedelta) -> None:
        self.time += time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passwords() -> ArgonPasswords:
    """Passwords that are quickly hashed."""
    return ArgonPasswords(2, PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


@pytest.fixture(scope="session")
async def pool(postgres: Databases) -> AsyncIterator[db.Pool]:
    """A pool on a database of ours; making one for every test takes longer than the tests."""
    async with db.open_pool("user", await postgres.fresh("user")) as opened:
        yield opened


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, pool: db.Pool) -> AccountStore:
    """Each kind of store, empty."""
    if request.param == "memory":
        return MemoryAccounts()
    async with pool.connection() as connection:
        await connection.execute("TRUNCATE accounts, refresh_tokens, sign_in_attempts")
    return PostgresAccounts(pool)

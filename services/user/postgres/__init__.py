"""Postgres: a Store for all instances alike."""

from __future__ import annotations

from services.runtime.db import Pool
from services.user.postgres.accounts import PostgresAccounts
from services.user.postgres.attempts import PostgresAttempts
from services.user.postgres.factors import PostgresFactors
from services.user.postgres.invitations import PostgresInvitations
from services.user.postgres.keys import PostgresKeys
from services.user.postgres.sessions import PostgresSessions
from services.user.postgres.trail import PostgresTrail
from services.user.store import Store


def store(pool: Pool) -> Store:
    """The store on a pool."""
    return Store(
        PostgresAccounts(pool),
        PostgresAttempts(pool),
        PostgresSessions(pool),
        PostgresInvitations(pool),
        PostgresFactors(pool),
        PostgresKeys(pool),
    )


def trail(pool: Pool) -> PostgresTrail:
    """The audit trail on a pool."""
    return PostgresTrail(pool)


async def ping(pool: Pool) -> None:
    """Raises Unavailable when the database does not answer."""
    await PostgresAccounts(pool).ping()

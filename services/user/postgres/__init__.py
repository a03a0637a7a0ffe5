"""Postgres: the stores in PostgreSQL, which all instances share."""

from __future__ import annotations

from services.runtime.db import Pool
from services.user.postgres.accounts import PostgresAccountStore
from services.user.postgres.api_keys import PostgresApiKeyStore
from services.user.postgres.audit_log import PostgresAuditLogStore
from services.user.postgres.invitations import PostgresInvitationStore
from services.user.postgres.mfa import PostgresSecondFactorStore
from services.user.postgres.provider_keys import PostgresProviderKeyStore
from services.user.postgres.revocations import PostgresRevocationStore
from services.user.postgres.sessions import PostgresSessionStore
from services.user.postgres.throttling import PostgresAttemptStore
from services.user.store import Store


def create_store(pool: Pool) -> Store:
    """Return the stores on a pool."""
    return Store(
        PostgresAccountStore(pool),
        PostgresAttemptStore(pool),
        PostgresSessionStore(pool),
        PostgresInvitationStore(pool),
        PostgresSecondFactorStore(pool),
        PostgresApiKeyStore(pool),
    )


def create_audit_log_store(pool: Pool) -> PostgresAuditLogStore:
    """Return the store of the audit log on a pool."""
    return PostgresAuditLogStore(pool)


def create_revocation_store(pool: Pool) -> PostgresRevocationStore:
    """Return the store of revocations on a pool."""
    return PostgresRevocationStore(pool)


def create_provider_key_store(pool: Pool) -> PostgresProviderKeyStore:
    """Return the store of keys at providers on a pool."""
    return PostgresProviderKeyStore(pool)


async def ping(pool: Pool) -> None:
    """Raise `Unavailable` when the database does not respond."""
    await PostgresAccountStore(pool).ping()

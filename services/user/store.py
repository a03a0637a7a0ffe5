"""Store: the stores of all subjects, as Protocols. PostgreSQL implements them; tests have an implementation in memory.

Whatever two concurrent requests could corrupt is one method of a store, and happens completely or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.user.accounts.store import AccountStore, InvitationStore
from services.user.api_keys.store import ApiKeyStore
from services.user.authentication.throttling import AttemptStore
from services.user.mfa.store import SecondFactorStore
from services.user.sessions.store import SessionStore


@dataclass(frozen=True)
class Store:
    """All that the user service stores, but for the audit log."""

    accounts: AccountStore
    attempts: AttemptStore
    sessions: SessionStore
    invitations: InvitationStore
    second_factors: SecondFactorStore
    api_keys: ApiKeyStore

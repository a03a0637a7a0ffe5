"""Store: the Protocol of the store of API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services.user.accounts.model import Account
from services.user.api_keys.model import ApiKey


class ApiKeyStore(Protocol):
    """API keys."""

    async def add(self, key: ApiKey, max_active: int) -> bool:
        """Store a key; False when its account already has `max_active` active keys."""

    async def find(self, key_id: str) -> tuple[ApiKey, Account] | None:
        """Return a key and its account, whether or not they are active."""

    async def find_all(self, key_ids: Sequence[str]) -> list[tuple[ApiKey, Account]]:
        """Return several keys and their accounts, without those that do not exist."""

    async def record_use(self, key_id: str, address: str, now: datetime) -> None:
        """Record when and from which address a key was last used."""

    async def list_by_account(self, account_id: str) -> list[ApiKey]:
        """Return the keys of an account, newest first."""

    async def revoke(self, account_id: str, key_id: str, now: datetime) -> bool:
        """Revoke a key unless it is revoked already; False when the account has no such key."""

    async def revoke_all(self, account_id: str, now: datetime) -> int:
        """Revoke the keys of an account; return how many were active."""

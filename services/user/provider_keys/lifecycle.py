"""Lifecycle: users set and remove their keys at external providers. No operation returns a key to a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog

from moneyprinter.errors import DataLoss, NotFound
from services.user.authorization import require_account
from services.user.context import Actor, Context

log = structlog.get_logger()


@dataclass(frozen=True)
class ProviderKey:
    """A key of an account at a provider."""

    provider: str
    key: str = field(repr=False)
    region: str = ""
    """The region of the account at the provider; empty: none."""


@dataclass(frozen=True)
class EncryptedKey:
    """A key as it is stored."""

    provider: str
    encrypted: bytes = field(repr=False)
    region: str = ""


class ProviderKeyStore(Protocol):
    """Provider keys."""

    async def put(self, account_id: str, key: EncryptedKey, now: datetime) -> None:
        """Store a key, in place of a former one for the same provider."""

    async def delete(self, account_id: str, provider: str) -> bool:
        """Delete a key; False when the account has none for the provider."""

    async def list_by_account(self, account_id: str) -> Sequence[EncryptedKey]:
        """Return the keys of an account, in the order of their providers."""


class KeyCipher(Protocol):
    """Encrypts keys, each bound to its account and provider."""

    def encrypt(self, account_id: str, provider: str, key: str) -> bytes:
        """Encrypt a key."""

    def decrypt(self, account_id: str, provider: str, encrypted: bytes) -> str:
        """Decrypt a key. Raises `DataLoss` when it was altered, or belongs to another account or provider."""


@dataclass(frozen=True)
class ProviderKeys:
    """The keys of all accounts."""

    context: Context
    store: ProviderKeyStore
    cipher: KeyCipher

    async def set_key(self, actor: Actor, key: ProviderKey) -> None:
        """Store a key of the actor's account, in place of a former one for the same provider."""
        async with self.context.audit_actor_action(actor, "provider_key.set", key.provider):
            account = await require_account(self.context, actor)
            encrypted = self.cipher.encrypt(account.id, key.provider, key.key)
            stored = EncryptedKey(key.provider, encrypted, key.region)
            await self.store.put(account.id, stored, self.context.now())

    async def delete_key(self, actor: Actor, provider: str) -> None:
        """Delete a key of the actor's account. Raises `NotFound` (PROVIDER_KEY_NOT_FOUND) when there is none."""
        async with self.context.audit_actor_action(actor, "provider_key.delete", provider):
            account = await require_account(self.context, actor)
            if not await self.store.delete(account.id, provider):
                raise NotFound(f"you have no key for {provider}", reason="PROVIDER_KEY_NOT_FOUND")

    async def reveal_keys(self, account_id: str) -> list[ProviderKey]:
        """Return the keys of an account, for the services that call providers. Unreadable ones are left out."""
        keys = []
        for stored in await self.store.list_by_account(account_id):
            try:
                key = self.cipher.decrypt(account_id, stored.provider, stored.encrypted)
            except DataLoss as failure:
                log.error("provider key not readable", provider=stored.provider, error=failure.message)
                continue
            keys.append(ProviderKey(stored.provider, key, stored.region))
        return keys

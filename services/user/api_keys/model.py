"""Model: API keys, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from services.user.accounts.model import Account

KEY_PREFIX = "key_"

# So many expired or revoked API keys of an account stay visible to its owner.
MAX_INACTIVE_KEYS = 100


@dataclass(frozen=True)
class ApiKey:
    """A credential of a machine, with a part of its owner's roles."""

    id: str
    """`key_...`."""
    account_id: str
    display_name: str
    sha256: bytes = field(repr=False)
    """The hash of its secret."""
    roles: tuple[str, ...]
    create_time: datetime
    expire_time: datetime
    use_time: datetime | None = None
    use_address: str = ""
    revoke_time: datetime | None = None

    def is_active(self, now: datetime) -> bool:
        """Return whether the key is neither revoked nor expired."""
        return self.revoke_time is None and now < self.expire_time


def find_active_holder(found: tuple[ApiKey, Account] | None, now: datetime) -> Account | None:
    """Return the owner of an API key, with those of its roles that the key has.

    None when there is no key, the key is not active, or the owner is disabled.
    """
    if found is None:
        return None
    key, account = found
    if account.disable_time or not key.is_active(now):
        return None
    return replace(account, roles=tuple(role for role in account.roles if role in key.roles))

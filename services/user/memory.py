"""Memory: accounts that are gone when the process is, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.user.accounts import Account, RefreshToken, Throttle


@dataclass
class _Kept:
    account_id: str
    family: str
    expire_time: datetime
    used: bool = False


class MemoryAccounts:
    """An AccountStore without a database."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._tokens: dict[bytes, _Kept] = {}
        self._attempts: dict[str, list[datetime]] = {}

    async def empty(self) -> bool:
        """Whether there is no account."""
        return not self._accounts

    async def add_first(self, account: Account, now: datetime) -> bool:
        """Add an account if there is none."""
        if self._accounts:
            return False
        self._accounts[account.id] = account
        return True

    async def named(self, username: str) -> Account | None:
        """The account of a name."""
        return next((account for account in self._accounts.values() if account.username == username), None)

    async def attempt(self, username: str, throttle: Throttle, now: datetime) -> timedelta | None:
        """Note an attempt, or say how long to wait."""
        self._attempts[username], wait = throttle.admit(self._attempts.get(username, []), now)
        return wait

    async def forget_attempts(self, username: str) -> None:
        """Forget the attempts of a name."""
        self._attempts.pop(username, None)

    async def begin(self, account_id: str, family: str, token: RefreshToken, now: datetime) -> None:
        """Keep a first token."""
        self._tokens[token.sha256] = _Kept(account_id, family, token.expire_time)

    async def rotate(self, sha256: bytes, successor: RefreshToken, now: datetime) -> Account | None:
        """Replace a token."""
        kept = self._tokens.get(sha256)
        if kept is None or kept.expire_time <= now:
            return None
        if kept.used:
            self._tokens = {key: other for key, other in self._tokens.items() if other.family != kept.family}
            return None
        kept.used = True
        self._tokens[successor.sha256] = _Kept(kept.account_id, kept.family, successor.expire_time)
        return self._accounts[kept.account_id]

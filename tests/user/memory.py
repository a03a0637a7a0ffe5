"""Memory: the stores in memory. No method waits, so that each call is atomic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from services.runtime.pagination import Cursor, Item
from services.user.accounts.model import ADMINISTRATOR_ROLE, Account, Invitation, PasswordReset, Profile
from services.user.accounts.store import (
    account_not_found,
    invitation_invalid,
    last_administrator_required,
    username_taken,
)
from services.user.api_keys.model import MAX_INACTIVE_KEYS, ApiKey
from services.user.audit.model import ROUTINE_RESULTS, ChainFunction, Event, Head, Record, RecordFilter
from services.user.authentication.throttling import AttemptLimit
from services.user.mfa.model import TotpSecret
from services.user.sessions.model import MAX_SESSIONS, RefreshToken, Rotation, Session, TokenUse
from services.user.store import Store

T = TypeVar("T", bound=Item)


@dataclass
class _Token:
    session_id: str
    expire_time: datetime
    use: TokenUse | None = None


@dataclass
class _Factor:
    encrypted: bytes
    confirmed: bool = False
    last_counter: int = -1


@dataclass
class _Tables:
    accounts: dict[str, Account] = field(default_factory=dict)
    attempts: dict[str, list[datetime]] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    tokens: dict[bytes, _Token] = field(default_factory=dict)
    invitations: dict[bytes, Invitation] = field(default_factory=dict)
    resets: dict[str, PasswordReset] = field(default_factory=dict)
    factors: dict[str, _Factor] = field(default_factory=dict)
    recovery_codes: dict[str, set[bytes]] = field(default_factory=dict)
    keys: dict[str, ApiKey] = field(default_factory=dict)
    networks: dict[tuple[str, str], datetime] = field(default_factory=dict)
    proofs: dict[str, datetime] = field(default_factory=dict)

    def account(self, account_id: str) -> Account:
        """Return an account, with the state of its second factor."""
        if account_id not in self.accounts:
            raise account_not_found(account_id)
        factor = self.factors.get(account_id)
        return replace(self.accounts[account_id], mfa_enabled=factor is not None and factor.confirmed)

    def change(self, account_id: str, change: Callable[[Account], Account]) -> Account:
        """Replace an account."""
        self.accounts[account_id] = change(self.account(account_id))
        return self.account(account_id)

    def require_another_administrator(self, account_id: str) -> None:
        """Raise `FailedPrecondition` when an account is the last active administrator."""
        enabled = {id for id, account in self.accounts.items() if _is_active_administrator(account)}
        if enabled == {account_id}:
            raise last_administrator_required()

    def is_valid(self, invitation: Invitation, now: datetime) -> bool:
        """Return whether an invitation can be used."""
        return now < invitation.expire_time and _is_active_administrator(self.accounts[invitation.creator_id])

    def expiry(self, session_id: str) -> datetime:
        """Return when the newest token of a session expires."""
        return max(token.expire_time for token in self.tokens.values() if token.session_id == session_id)

    def end(self, ids: Iterable[str]) -> int:
        """End sessions."""
        gone = set(ids)
        self.sessions = {id: session for id, session in self.sessions.items() if id not in gone}
        self.tokens = {key: token for key, token in self.tokens.items() if token.session_id not in gone}
        return len(gone)

    def sessions_of(self, account_id: str, keep: str = "") -> list[str]:
        """Return the sessions of an account but `keep`."""
        return [id for id, session in self.sessions.items() if session.account_id == account_id and id != keep]


def create_store() -> Store:
    """Return empty stores."""
    tables = _Tables()
    return Store(
        MemoryAccountStore(tables),
        MemoryAttemptStore(tables),
        MemorySessionStore(tables),
        MemoryInvitationStore(tables),
        MemorySecondFactorStore(tables),
        MemoryApiKeyStore(tables),
    )


class MemoryAccountStore:
    """An AccountStore."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def is_empty(self) -> bool:
        return not self._tables.accounts

    async def add_first(self, account: Account) -> bool:
        if self._tables.accounts:
            return False
        self._tables.accounts[account.id] = account
        return True

    async def find(self, account_id: str) -> Account | None:
        return self._tables.account(account_id) if account_id in self._tables.accounts else None

    async def find_by_username(self, username: str) -> Account | None:
        found = (id for id, account in self._tables.accounts.items() if account.username == username)
        return next((self._tables.account(id) for id in found), None)

    async def list_page(self, size: int, after: Cursor | None) -> list[Account]:
        return _page([self._tables.account(id) for id in self._tables.accounts], size, after)

    async def register(self, account: Account, invitation_sha256: bytes | None) -> None:
        if invitation_sha256 is not None:
            invitation = self._tables.invitations.get(invitation_sha256)
            if invitation is None or not self._tables.is_valid(invitation, account.create_time):
                raise invitation_invalid()
        if await self.find_by_username(account.username):
            raise username_taken(account.username)
        if invitation_sha256 is not None:
            del self._tables.invitations[invitation_sha256]
        self._tables.accounts[account.id] = account

    async def is_known_network(self, account_id: str, network: str, now: datetime) -> bool:
        return network in await self.find_known_networks(account_id, now)

    async def remember_network(self, account_id: str, network: str, now: datetime, expire_time: datetime) -> None:
        self._tables.networks[account_id, network] = expire_time

    async def find_known_networks(self, account_id: str, now: datetime) -> list[str]:
        return [network for (id, network), end in self._tables.networks.items() if id == account_id and now < end]

    async def set_profile(self, account_id: str, profile: Profile) -> Account:
        return self._tables.change(account_id, lambda account: replace(account, profile=profile))

    async def replace_password(self, account_id: str, old_hash: str, new_hash: str, keep_session: str) -> bool:
        if not await self.replace_hash(account_id, old_hash, new_hash):
            return False
        self._tables.resets.pop(account_id, None)
        self._tables.end(self._tables.sessions_of(account_id, keep_session))
        return True

    async def replace_hash(self, account_id: str, old_hash: str, new_hash: str) -> bool:
        if self._tables.account(account_id).password_hash != old_hash:
            return False
        self._tables.change(account_id, lambda account: replace(account, password_hash=new_hash))
        return True

    async def set_roles(self, account_id: str, roles: tuple[str, ...]) -> Account:
        self._tables.account(account_id)
        if ADMINISTRATOR_ROLE not in roles:
            self._tables.require_another_administrator(account_id)
        return self._tables.change(account_id, lambda account: replace(account, roles=roles))

    async def disable(self, account_id: str, now: datetime) -> Account:
        self._tables.account(account_id)
        self._tables.require_another_administrator(account_id)
        self._tables.end(self._tables.sessions_of(account_id))
        return self._tables.change(
            account_id, lambda account: replace(account, disable_time=account.disable_time or now)
        )

    async def enable(self, account_id: str) -> Account:
        return self._tables.change(account_id, lambda account: replace(account, disable_time=None))

    async def start_reset(self, account_id: str, reset: PasswordReset, disable_totp: bool) -> Account:
        self._tables.account(account_id)
        self._tables.resets[account_id] = reset
        self._tables.end(self._tables.sessions_of(account_id))
        if disable_totp:
            self._tables.factors.pop(account_id, None)
            self._tables.recovery_codes.pop(account_id, None)
        return self._tables.change(account_id, lambda account: replace(account, password_hash=None))

    async def find_by_reset_token(self, sha256: bytes, now: datetime) -> Account | None:
        found = (id for id, reset in self._tables.resets.items() if reset.sha256 == sha256 and now < reset.expire_time)
        return next((self._tables.account(id) for id in found), None)

    async def complete_reset(self, sha256: bytes, new_hash: str, now: datetime) -> Account | None:
        account = await self.find_by_reset_token(sha256, now)
        if account is None:
            return None
        del self._tables.resets[account.id]
        return self._tables.change(account.id, lambda account: replace(account, password_hash=new_hash))


class MemoryAttemptStore:
    """An AttemptStore."""

    def __init__(self, tables: _Tables) -> None:
        self._times = tables.attempts

    async def begin(self, counter: str, limit: AttemptLimit, now: datetime) -> timedelta | None:
        self._times[counter], delay = limit.admit(self._times.get(counter, []), now)
        return delay

    async def withdraw(self, counter: str, time: datetime) -> None:
        if time in self._times.get(counter, []):
            self._times[counter].remove(time)

    async def clear(self, counter: str) -> None:
        self._times.pop(counter, None)

    async def retry_delay(self, counter: str, limit: AttemptLimit, now: datetime) -> timedelta | None:
        return limit.retry_delay(self._times.get(counter, []), now)


class MemorySessionStore:
    """A SessionStore."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def add(self, session: Session, token: RefreshToken, password_hash: str) -> bool:
        account = self._tables.account(session.account_id)
        if account.disable_time or account.password_hash != password_hash:
            return False
        newest = await self.list_active(account.id, session.create_time)
        self._tables.end(former.id for former in newest[MAX_SESSIONS - 1 :])
        self._tables.sessions[session.id] = session
        self._tables.proofs[session.id] = session.create_time
        self._tables.tokens[token.sha256] = _Token(session.id, token.expire_time)
        return True

    async def rotate(self, sha256: bytes, use: TokenUse) -> Rotation | None:
        token = self._tables.tokens.get(sha256)
        if token is None or token.expire_time <= use.time:
            return None
        session = self._tables.sessions[token.session_id]
        account = self._tables.account(session.account_id)
        if token.use is not None:
            successor = self._tables.tokens[token.use.successor.sha256]
            if token.use.is_repeated_by(use, successor.use is not None):
                return Rotation(account, session.id, token.use.salt)
            self._tables.end([session.id])
            return Rotation(account, session.id, None)
        token.use = use
        self._tables.tokens[use.successor.sha256] = _Token(session.id, use.successor.expire_time)
        self._tables.sessions[session.id] = replace(session, use_time=use.time, client=use.client)
        return Rotation(account, session.id, use.salt)

    async def find_holder(self, session_id: str, now: datetime) -> Account | None:
        session = self._tables.sessions.get(session_id)
        if session is None or self._tables.expiry(session_id) <= now:
            return None
        account = self._tables.account(session.account_id)
        return None if account.disable_time else account

    async def find_holders(self, session_ids: Sequence[str], now: datetime) -> dict[str, Account]:
        found = {id: await self.find_holder(id, now) for id in session_ids}
        return {id: account for id, account in found.items() if account}

    async def record_proof(self, session_id: str, now: datetime) -> None:
        self._tables.proofs[session_id] = now

    async def find_reauthentication_time(self, session_id: str) -> datetime | None:
        return self._tables.proofs.get(session_id) if session_id in self._tables.sessions else None

    async def list_active(self, account_id: str, now: datetime) -> list[Session]:
        ids = [id for id in self._tables.sessions_of(account_id) if self._tables.expiry(id) > now]
        found = [self._tables.sessions[id] for id in ids]
        return sorted(found, key=lambda session: (session.use_time, session.id), reverse=True)

    async def end(self, account_id: str, session_id: str) -> bool:
        return self._tables.end(id for id in self._tables.sessions_of(account_id) if id == session_id) == 1

    async def end_all(self, account_id: str, keep: str = "") -> int:
        return self._tables.end(self._tables.sessions_of(account_id, keep))

    async def end_by_token(self, sha256: bytes) -> Session | None:
        token = self._tables.tokens.get(sha256)
        if token is None:
            return None
        session = self._tables.sessions[token.session_id]
        self._tables.end([session.id])
        return session


class MemoryInvitationStore:
    """An InvitationStore."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables
        self._invitations = tables.invitations

    async def add(self, invitation: Invitation) -> None:
        self._invitations[invitation.sha256] = invitation

    async def find(self, sha256: bytes, now: datetime) -> Invitation | None:
        found = self._invitations.get(sha256)
        return found if found and self._tables.is_valid(found, now) else None

    async def list_page(self, size: int, after: Cursor | None, now: datetime) -> list[Invitation]:
        return _page([found for found in self._invitations.values() if self._tables.is_valid(found, now)], size, after)

    async def delete(self, invitation_id: str, now: datetime) -> bool:
        for sha256, found in list(self._invitations.items()):
            if found.id == invitation_id and self._tables.is_valid(found, now):
                del self._invitations[sha256]
                return True
        return False


class MemorySecondFactorStore:
    """A SecondFactorStore."""

    def __init__(self, tables: _Tables) -> None:
        self._factors = tables.factors
        self._codes = tables.recovery_codes

    async def find_totp(self, account_id: str) -> TotpSecret | None:
        found = self._factors.get(account_id)
        return TotpSecret(found.encrypted, found.confirmed) if found else None

    async def enroll_totp(self, account_id: str, encrypted: bytes) -> bool:
        found = self._factors.get(account_id)
        if found and found.confirmed:
            return False
        self._factors[account_id] = _Factor(encrypted)
        return True

    async def confirm_totp(self, account_id: str, encrypted: bytes, counter: int, codes: tuple[bytes, ...]) -> bool:
        found = self._factors.get(account_id)
        if found is None or found.confirmed or found.encrypted != encrypted:
            return False
        found.confirmed, found.last_counter = True, counter
        self._codes[account_id] = set(codes)
        return True

    async def use_counter(self, account_id: str, counter: int) -> bool:
        found = self._factors.get(account_id)
        if found is None or not found.confirmed or counter <= found.last_counter:
            return False
        found.last_counter = counter
        return True

    async def use_recovery_code(self, account_id: str, digest: bytes) -> bool:
        codes = self._codes.get(account_id, set())
        if digest not in codes:
            return False
        codes.remove(digest)
        return True

    async def disable_totp(self, account_id: str) -> bool:
        self._codes.pop(account_id, None)
        return self._factors.pop(account_id, None) is not None


class MemoryApiKeyStore:
    """An ApiKeyStore."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def add(self, key: ApiKey, max_active: int) -> bool:
        if (
            len([other for other in await self.list_by_account(key.account_id) if other.is_active(key.create_time)])
            >= max_active
        ):
            return False
        dead = [other for other in await self.list_by_account(key.account_id) if not other.is_active(key.create_time)]
        for other in dead[MAX_INACTIVE_KEYS:]:
            del self._tables.keys[other.id]
        self._tables.keys[key.id] = key
        return True

    async def find(self, key_id: str) -> tuple[ApiKey, Account] | None:
        key = self._tables.keys.get(key_id)
        return (key, self._tables.account(key.account_id)) if key else None

    async def find_all(self, key_ids: Sequence[str]) -> list[tuple[ApiKey, Account]]:
        found = [await self.find(id) for id in key_ids]
        return [pair for pair in found if pair]

    async def record_use(self, key_id: str, address: str, now: datetime) -> None:
        self._tables.keys[key_id] = replace(self._tables.keys[key_id], use_time=now, use_address=address)

    async def list_by_account(self, account_id: str) -> list[ApiKey]:
        return _page([key for key in self._tables.keys.values() if key.account_id == account_id], 0, None)

    async def revoke(self, account_id: str, key_id: str, now: datetime) -> bool:
        key = self._tables.keys.get(key_id)
        if key is None or key.account_id != account_id:
            return False
        self._tables.keys[key_id] = replace(key, revoke_time=key.revoke_time or now)
        return True

    async def revoke_all(self, account_id: str, now: datetime) -> int:
        active = [key for key in await self.list_by_account(account_id) if key.is_active(now)]
        for key in active:
            await self.revoke(account_id, key.id, now)
        return len(active)


class MemoryAuditLogStore:
    """An AuditLogStore."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def append(self, events: Sequence[Event], chain: ChainFunction) -> Head:
        known = {record.event.id for record in self.records}
        new = {event.id: event for event in events if event.id not in known}
        self.records += chain(self._head, new.values())
        return self._head

    async def list_page(self, record_filter: RecordFilter, size: int, before: int | None) -> list[Record]:
        matching = (record for record in reversed(self.records) if _matches(record.event, record_filter))
        return [record for record in matching if before is None or record.number < before][:size]

    async def read_after(self, number: int, size: int) -> list[Record]:
        return [record for record in self.records if record.number > number][:size]

    async def count(self) -> int:
        return self._head.number

    @property
    def _head(self) -> Head:
        return self.records[-1].head if self.records else Head()


def _matches(event: Event, record_filter: RecordFilter) -> bool:
    is_prefix = record_filter.action.endswith(".") and event.action.startswith(record_filter.action)
    return (
        all(getattr(record_filter, name) in ("", getattr(event, name)) for name in ("actor", "target", "result"))
        and (is_prefix or record_filter.action in ("", event.action))
        and (
            not record_filter.account
            or (event.service == "user" and record_filter.account in (event.actor, event.target))
        )
        and (not record_filter.actions or event.action in record_filter.actions)
        and not (
            record_filter.omits_routine and event.actor.startswith("spiffe://") and event.result in ROUTINE_RESULTS
        )
        and (record_filter.from_time is None or record_filter.from_time <= event.time)
        and (record_filter.to_time is None or event.time < record_filter.to_time)
    )


def _page(found: list[T], size: int, after: Cursor | None) -> list[T]:
    """Return a page, newest first; size 0: all."""
    ordered = sorted(found, key=lambda item: (item.create_time, item.id), reverse=True)
    rest = [item for item in ordered if after is None or (item.create_time, item.id) < after]
    return rest[:size] if size else rest


def _is_active_administrator(account: Account) -> bool:
    return ADMINISTRATOR_ROLE in account.roles and account.disable_time is None

"""Store: what the user service keeps, as Protocols; PostgreSQL fills them, and tests have a twin in memory.

Whatever two requests at once could spoil is one method here, and happens whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from moneyprinter.errors import Conflict, FailedPrecondition, NotFound, PermissionDenied
from services.runtime.contract import Place
from services.user.accounts import Account, FirstAccounts, Profile
from services.user.attempts import AttemptStore

# How long a used refresh token may come again from the client that used it: two requests at once are no theft.
GRACE = timedelta(seconds=10)

# An account has no more sessions than these; the one that was not used for longest ends for a new one. Of API keys
# that are of no use any more, no more than these are remembered.
SESSIONS_AT_MOST = 100
DEAD_KEYS_AT_MOST = 100


@dataclass(frozen=True)
class Client:
    """Where a request comes from, and what program it says it is."""

    address: str
    user_agent: str


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token as it is kept."""

    sha256: bytes
    """What is known of the token itself."""
    expire_time: datetime


@dataclass(frozen=True)
class Session:
    """A place where somebody is signed in."""

    id: str
    """`ses_...`."""
    account_id: str
    create_time: datetime
    use_time: datetime
    """When its tokens were last refreshed."""
    client: Client
    """Who last did so."""


@dataclass(frozen=True)
class Use:
    """A use of a refresh token: by whom, when, and what it is to be replaced by."""

    time: datetime
    client: Client
    salt: bytes
    """What, with the token, makes its successor."""
    successor: RefreshToken

    def repeated_by(self, other: Use, successor_used: bool) -> bool:
        """Whether a later use is the same client's, which asked twice at once and has not gone on yet."""
        return other.client == self.client and other.time - self.time <= GRACE and not successor_used


@dataclass(frozen=True)
class Rotated:
    """What the use of a refresh token led to."""

    account: Account
    session_id: str
    salt: bytes | None
    """What the successor is made with; None: the token was used before, and its session is over now."""


@dataclass(frozen=True)
class Invitation:
    """Leave to register."""

    id: str
    """`inv_...`."""
    sha256: bytes = field(repr=False)
    """What is known of its token."""
    roles: tuple[str, ...]
    note: str
    creator_id: str
    create_time: datetime
    expire_time: datetime


@dataclass(frozen=True)
class ApiKey:
    """What a machine shows in place of a password."""

    id: str
    """`key_...`."""
    account_id: str
    display_name: str
    sha256: bytes = field(repr=False)
    """What is known of its secret."""
    roles: tuple[str, ...]
    create_time: datetime
    expire_time: datetime
    use_time: datetime | None = None
    use_address: str = ""
    revoke_time: datetime | None = None

    def good(self, now: datetime) -> bool:
        """Whether it can be used."""
        return self.revoke_time is None and now < self.expire_time


@dataclass(frozen=True)
class Totp:
    """The secret of an authenticator app."""

    sealed: bytes = field(repr=False)
    """The secret, encrypted."""
    confirmed: bool


@dataclass(frozen=True)
class Reset:
    """Leave to set a new password."""

    sha256: bytes = field(repr=False)
    """What is known of its token."""
    expire_time: datetime


class AccountStore(FirstAccounts, Protocol):
    """Accounts. Those that are named and are not there raise NotFound."""

    async def find(self, account_id: str) -> Account | None:
        """The account of an id."""

    async def page(self, size: int, after: Place | None) -> list[Account]:
        """Accounts, newest first."""

    async def register(self, account: Account, invitation_sha256: bytes | None) -> None:
        """Add an account, and use up its invitation.

        Raises PermissionDenied when the invitation is not good any more, Conflict when the name is taken.
        """

    async def uses_network(self, account_id: str, network: str, now: datetime) -> bool:
        """Whether the account was signed in to from a network lately."""

    async def use_network(self, account_id: str, network: str, now: datetime, expire_time: datetime) -> None:
        """Note that the account was signed in to from a network, until a time."""

    async def networks(self, account_id: str, now: datetime) -> list[str]:
        """The networks from which the account was signed in to lately."""

    async def set_profile(self, account_id: str, profile: Profile) -> Account:
        """Replace what it says of itself."""

    async def set_password(self, account_id: str, old_hash: str, new_hash: str, keep_session: str) -> bool:
        """Replace the password if it is the old one still, and end all sessions but one; says whether it did."""

    async def rehash(self, account_id: str, old_hash: str, new_hash: str) -> bool:
        """Replace the hash of the same password if it is the old one still; says whether it did."""

    async def set_roles(self, account_id: str, roles: tuple[str, ...]) -> Account:
        """Replace the roles. Raises FailedPrecondition when no administrator were left."""

    async def disable(self, account_id: str, now: datetime) -> Account:
        """Disable it, and end its sessions. Raises FailedPrecondition when no administrator were left."""

    async def enable(self, account_id: str) -> Account:
        """Enable it again."""

    async def begin_reset(self, account_id: str, reset: Reset, disable_totp: bool) -> Account:
        """Take its password, end its sessions, and let a new password be set, instead of any former leave."""

    async def resetting(self, sha256: bytes, now: datetime) -> Account | None:
        """The account that a token sets the password of."""

    async def end_reset(self, sha256: bytes, new_hash: str, now: datetime) -> Account | None:
        """Set the password with a token, which is used up. None when it is not good any more."""


class SessionStore(Protocol):
    """Sessions and their refresh tokens."""

    async def begin(self, session: Session, token: RefreshToken, password_hash: str) -> bool:
        """Keep a session and its first token, if the account is enabled and has that password; says whether."""

    async def rotate(self, sha256: bytes, use: Use) -> Rotated | None:
        """Use a token: replace it by its successor, or see that it was used before.

        None when there is no such token. One that was used before ends its session, unless that use is
        `repeated_by` this one, which then gets its salt.
        """

    async def holder(self, session_id: str, now: datetime) -> Account | None:
        """The enabled account of a session that is not over."""

    async def holders(self, session_ids: Sequence[str], now: datetime) -> dict[str, Account]:
        """The same of many sessions; those that are over are left out."""

    async def prove(self, session_id: str, now: datetime) -> None:
        """Note that a session has proven again whose it is."""

    async def proof_time(self, session_id: str) -> datetime | None:
        """When a session proved last whose it is; None when it is over."""

    async def listed(self, account_id: str, now: datetime) -> list[Session]:
        """The sessions of an account that are not over, the newest use first."""

    async def end(self, account_id: str, session_id: str) -> bool:
        """End a session of an account; says whether there was one."""

    async def end_all(self, account_id: str, keep: str = "") -> int:
        """End the sessions of an account, all but one; says how many there were."""

    async def end_by_token(self, sha256: bytes) -> Session | None:
        """End the session of a token, and return it."""


class InvitationStore(Protocol):
    """Invitations that nobody has used yet. They are good while who made them is an enabled administrator."""

    async def add(self, invitation: Invitation) -> None:
        """Keep one."""

    async def find(self, sha256: bytes, now: datetime) -> Invitation | None:
        """The invitation of a token, if it is good."""

    async def page(self, size: int, after: Place | None, now: datetime) -> list[Invitation]:
        """Those that are good, newest first."""

    async def delete(self, invitation_id: str, now: datetime) -> bool:
        """Take one back; says whether it was there."""


class FactorStore(Protocol):
    """Second factors."""

    async def totp(self, account_id: str) -> Totp | None:
        """The secret of an account, confirmed or not."""

    async def enrol(self, account_id: str, sealed: bytes) -> bool:
        """Keep a secret to be confirmed, instead of any former one; False when one is confirmed already."""

    async def confirm(self, account_id: str, sealed: bytes, counter: int, codes: tuple[bytes, ...]) -> bool:
        """Confirm this very secret, by the code of `counter`, and keep digests of recovery codes.

        False when it is not the one to be confirmed.
        """

    async def use_counter(self, account_id: str, counter: int) -> bool:
        """Use the code of a counter; False when that one, or a later one, was used before."""

    async def use_recovery_code(self, account_id: str, digest: bytes) -> bool:
        """Use up a recovery code; False when there is no such code."""

    async def disable(self, account_id: str) -> bool:
        """Forget the secret and the recovery codes; False when there were none."""


class KeyStore(Protocol):
    """API keys."""

    async def add(self, key: ApiKey, at_most: int) -> bool:
        """Keep a key; False when its account has `at_most` that are good."""

    async def find(self, key_id: str) -> tuple[ApiKey, Account] | None:
        """A key and its account, both of any state."""

    async def find_all(self, key_ids: Sequence[str]) -> list[tuple[ApiKey, Account]]:
        """The same of many keys; those that are not there are left out."""

    async def used(self, key_id: str, address: str, now: datetime) -> None:
        """Note that a key was used."""

    async def listed(self, account_id: str) -> list[ApiKey]:
        """The keys of an account, newest first."""

    async def revoke(self, account_id: str, key_id: str, now: datetime) -> bool:
        """Revoke a key, if it was not before; says whether the account has it."""

    async def revoke_all(self, account_id: str, now: datetime) -> int:
        """Revoke the keys of an account; says how many were good."""


@dataclass(frozen=True)
class Store:
    """All that is kept."""

    accounts: AccountStore
    attempts: AttemptStore
    sessions: SessionStore
    invitations: InvitationStore
    factors: FactorStore
    keys: KeyStore


def no_account(account_id: str) -> NotFound:
    """What stores raise when an account is not there."""
    return NotFound(f"there is no account {account_id}", reason="ACCOUNT_NOT_FOUND")


def last_administrator() -> FailedPrecondition:
    """What stores raise before there is no administrator any more."""
    return FailedPrecondition(
        "this is the last account with the role user.admin; give that role to another one first",
        reason="LAST_ADMINISTRATOR",
    )


def invitation_invalid() -> PermissionDenied:
    """What is raised when an invitation is no good."""
    return PermissionDenied(
        "the invitation is missing, unknown, expired, or was used before", reason="INVITATION_INVALID"
    )


def username_taken(username: str) -> Conflict:
    """What stores raise when another account has a name."""
    return Conflict(f"the name {username} is taken", reason="USERNAME_TAKEN")

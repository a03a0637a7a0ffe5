"""Store: the Protocols of the stores of accounts and invitations, and the errors that their implementations raise."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from moneyprinter.errors import Conflict, FailedPrecondition, NotFound, PermissionDenied
from services.runtime.pagination import Cursor
from services.user.accounts.first_account import FirstAccountStore
from services.user.accounts.model import Account, Invitation, PasswordReset, Profile


class AccountStore(FirstAccountStore, Protocol):
    """Accounts. Methods that change an account raise `NotFound` when there is no account of the id."""

    async def find(self, account_id: str) -> Account | None:
        """Return the account of an id."""

    async def list_page(self, size: int, after: Cursor | None) -> list[Account]:
        """Return up to `size` accounts, newest first."""

    async def register(self, account: Account, invitation_sha256: bytes | None) -> None:
        """Add an account, and use up its invitation.

        Raises `PermissionDenied` when the invitation is no longer valid, `Conflict` when the username is taken.
        """

    async def is_known_network(self, account_id: str, network: str, now: datetime) -> bool:
        """Return whether the account has recently signed in from a network."""

    async def remember_network(self, account_id: str, network: str, now: datetime, expire_time: datetime) -> None:
        """Record until `expire_time` that the account has signed in from a network."""

    async def find_known_networks(self, account_id: str, now: datetime) -> list[str]:
        """Return the networks from which the account has recently signed in."""

    async def set_profile(self, account_id: str, profile: Profile) -> Account:
        """Replace the profile."""

    async def replace_password(self, account_id: str, old_hash: str, new_hash: str, keep_session: str) -> bool:
        """Replace the password and end all sessions but `keep_session`; False when `old_hash` is not current."""

    async def replace_hash(self, account_id: str, old_hash: str, new_hash: str) -> bool:
        """Replace the hash of the same password; False when `old_hash` is not current."""

    async def set_roles(self, account_id: str, roles: tuple[str, ...]) -> Account:
        """Replace the roles. Raises `FailedPrecondition` when no active administrator would be left."""

    async def disable(self, account_id: str, now: datetime) -> Account:
        """Disable an account and end its sessions.

        Raises `FailedPrecondition` when no active administrator would be left.
        """

    async def enable(self, account_id: str) -> Account:
        """Enable an account."""

    async def start_reset(self, account_id: str, reset: PasswordReset, disable_totp: bool) -> Account:
        """Remove the password, end the sessions, and store the reset in place of a former one."""

    async def find_by_reset_token(self, sha256: bytes, now: datetime) -> Account | None:
        """Return the account of a reset token that has not expired."""

    async def complete_reset(self, sha256: bytes, new_hash: str, now: datetime) -> Account | None:
        """Set the password with a reset token, which is used up; None when the token is no longer valid."""


class InvitationStore(Protocol):
    """Unused invitations. An invitation is valid while its creator is an active administrator."""

    async def add(self, invitation: Invitation) -> None:
        """Store an invitation."""

    async def find(self, sha256: bytes, now: datetime) -> Invitation | None:
        """Return the invitation of a token, if it is valid."""

    async def list_page(self, size: int, after: Cursor | None, now: datetime) -> list[Invitation]:
        """Return up to `size` valid invitations, newest first."""

    async def delete(self, invitation_id: str, now: datetime) -> bool:
        """Delete an invitation; False when there is no valid one of this id."""


def account_not_found(account_id: str) -> NotFound:
    """Return the error for an account that does not exist."""
    return NotFound(f"there is no account {account_id}", reason="ACCOUNT_NOT_FOUND")


def last_administrator_required() -> FailedPrecondition:
    """Return the error for a change that would leave no active administrator."""
    return FailedPrecondition(
        "this is the last account with the role user.admin; give that role to another one first",
        reason="LAST_ADMINISTRATOR",
    )


def invitation_invalid() -> PermissionDenied:
    """Return the error for an invitation that is not valid."""
    return PermissionDenied(
        "the invitation is missing, unknown, expired, or was used before", reason="INVITATION_INVALID"
    )


def username_taken(username: str) -> Conflict:
    """Return the error for a username that another account has."""
    return Conflict(f"the name {username} is taken", reason="USERNAME_TAKEN")

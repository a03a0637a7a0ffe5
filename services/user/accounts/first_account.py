"""First account: an administrator with a random password, created when a platform starts for the first time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from services.user.accounts.model import ALL_ROLES, Account
from services.user.authentication.passwords import PasswordHasher

FIRST_USERNAME = "admin"


@dataclass(frozen=True)
class FirstAccountDraft:
    """The random parts of the account to be created."""

    id: str
    password: str = field(repr=False)


class FirstAccountStore(Protocol):
    """The store of the first account."""

    async def is_empty(self) -> bool:
        """Return whether there is no account."""

    async def add_first(self, account: Account) -> bool:
        """Add an account if there is none at all; return whether it was added."""

    async def find_by_username(self, username: str) -> Account | None:
        """Return the account of a username."""


class FirstAccountFile(Protocol):
    """The file that shows the first account's password to the operator of the platform."""

    def claim(self, username: str, password: str) -> str:
        """Write username and password unless the file exists; return the password that the file holds."""

    def remove(self) -> None:
        """Remove the file."""


async def create_first_account(
    store: FirstAccountStore, passwords: PasswordHasher, file: FirstAccountFile, draft: FirstAccountDraft, now: datetime
) -> bool:
    """Create the first account if there is none, with its password in a file; return whether it was created.

    The file is written first: when a process dies between the two steps, the next one uses the password in the file.
    Of several replicas one creates the account; the others remove a file that they wrote themselves.
    """
    if not await store.is_empty():
        return False
    password = file.claim(FIRST_USERNAME, draft.password)
    account = Account(draft.id, FIRST_USERNAME, await passwords.hash(password), ALL_ROLES, now)
    if await store.add_first(account):
        return True
    created = await store.find_by_username(FIRST_USERNAME)
    if created is None or not await passwords.verify(created.password_hash, password):
        file.remove()
    return False

"""Accounts: who they are, what their names and passwords may be, and how the first one is made."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from moneyprinter.errors import InvalidArgument, Violation

ALL_ROLES = ("video.process", "audio.generate", "content.manage", "user.admin")
ADMINISTRATOR = "user.admin"
FIRST_USERNAME = "admin"

PASSWORD_LENGTH = 12
# What a password must hold beside its account's name and what everybody tries first.
_PASSWORD_REST = 6
_TRIED_FIRST = re.compile(
    "0123456789|1234567890|123456789|12345678|1234567|123456|12345|1234|123|9876543210|987654321|87654321|"
    "qwertyuiop|asdfghjkl|1q2w3e4r5t|1q2w3e4r|q1w2e3r4|zxcvbnm|qwertz|qwerty|azerty|asdfgh|abcdefgh|abcdef|abcd|abc123|"
    "administrator|changeme|password|passwort|passw0rd|p@ssw0rd|passwd|default|welcome|letmein|iloveyou|trustno1|"
    "moneyprinter|football|baseball|superman|starwars|princess|sunshine|computer|internet|michael|batman|dragon|monkey|"
    "master|shadow|secret|samsung|google|admin|login|root|user|test|2024|2025|2026|2027"
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{2,31}")


@dataclass(frozen=True)
class Profile:
    """What an account says of itself."""

    display_name: str = ""
    email: str = ""
    locale: str = ""


@dataclass(frozen=True)
class Account:
    """Somebody who may sign in."""

    id: str
    """`user_...`."""
    username: str
    """In the form that `normalised` gives it."""
    password_hash: str | None = field(repr=False)
    """Argon2id, in its self-describing form; None until a new password is set."""
    roles: tuple[str, ...]
    """What the account may do."""
    create_time: datetime
    profile: Profile = Profile()
    disable_time: datetime | None = None
    """When it was disabled; None: it is not."""
    mfa: bool = False
    """Whether signing in takes a code."""

    @property
    def administers(self) -> bool:
        """Whether it is an administrator that is enabled."""
        return ADMINISTRATOR in self.roles and self.disable_time is None


@dataclass(frozen=True)
class Draft:
    """What is chosen at random for an account to be made."""

    id: str
    password: str = field(repr=False)


class FirstAccounts(Protocol):
    """Where the first account is kept."""

    async def empty(self) -> bool:
        """Whether there is no account."""

    async def add_first(self, account: Account) -> bool:
        """Add an account if there is none at all; says whether it did."""

    async def named(self, username: str) -> Account | None:
        """The account of a name."""


class Passwords(Protocol):
    """Hashes passwords, and checks them."""

    async def hash(self, password: str) -> str:
        """The hash to keep."""

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one of the hash. Takes as long, and is false, where there is no hash."""

    def stale(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than those of today."""


class FirstAccountFile(Protocol):
    """The file that tells the first account's password to the one who starts the platform."""

    def claim(self, username: str, password: str) -> str:
        """Write name and password, unless the file is there; return the password that it holds."""

    def remove(self) -> None:
        """Remove the file."""


def normalised(username: str) -> str:
    """The one way in which a name is kept and looked for, however it was typed: NFKC, in small letters."""
    return unicodedata.normalize("NFKC", username).lower()


def checked_name(username: str) -> str:
    """A name for a new account, normalised. Raises InvalidArgument.

    ASCII letters only: names of other scripts could look the same and be different.
    """
    name = normalised(username)
    if not _NAME.fullmatch(name):
        said = "must be 3 to 32 of a-z, 0-9, dot, hyphen and underscore, beginning with a letter or digit"
        raise InvalidArgument(f"username: {said}", reason="REQUEST_INVALID", violations=[Violation("username", said)])
    return name


def typed(password: str) -> str:
    """A password in the one form that RFC 8265 gives it, whatever the keyboard made of its accents."""
    return unicodedata.normalize("NFC", password)


def check_new_password(password: str, username: str, field_name: str) -> None:
    """Refuse a new password that is easily guessed. Raises InvalidArgument, which names the field."""
    rest = _TRIED_FIRST.sub("", normalised(password).replace(username, ""))
    said = ""
    if len(password) < PASSWORD_LENGTH:
        said = f"must have at least {PASSWORD_LENGTH} characters"
    elif len(rest) < _PASSWORD_REST or len(set(rest)) < _PASSWORD_REST - 1:
        said = "is easily guessed: it is hardly more than the account's name, or than what everybody tries first"
    if said:
        raise InvalidArgument(f"{field_name}: {said}", reason="PASSWORD_WEAK", violations=[Violation(field_name, said)])


async def make_first(
    store: FirstAccounts, passwords: Passwords, file: FirstAccountFile, draft: Draft, now: datetime
) -> bool:
    """Make the first account if there is none, with its password in a file; says whether it did.

    The file comes first: a process that dies between the two steps leaves a file whose password the next
    one takes. Of several replicas one makes the account; those that wrote a file of their own remove it.
    """
    if not await store.empty():
        return False
    password = file.claim(FIRST_USERNAME, draft.password)
    account = Account(draft.id, FIRST_USERNAME, await passwords.hash(password), ALL_ROLES, now)
    if await store.add_first(account):
        return True
    made = await store.named(FIRST_USERNAME)
    if made is None or not await passwords.verify(made.password_hash, password):
        file.remove()
    return False

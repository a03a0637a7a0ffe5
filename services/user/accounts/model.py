"""Model: accounts, invitations and password resets, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

ALL_ROLES = ("video.process", "audio.generate", "content.manage", "user.admin")
ADMINISTRATOR_ROLE = "user.admin"

PAGE_SIZE = 50
"""The default size of a page of accounts or invitations."""


@dataclass(frozen=True)
class Profile:
    """What the owner of an account publishes about it."""

    display_name: str = ""
    email: str = ""
    locale: str = ""


@dataclass(frozen=True)
class Account:
    """A user who may sign in."""

    id: str
    """`user_...`."""
    username: str
    """In the form that `normalize_username` returns."""
    password_hash: str | None = field(repr=False)
    """Argon2id, in its self-describing form; None from a reset until a new password is set."""
    roles: tuple[str, ...]
    create_time: datetime
    profile: Profile = Profile()
    disable_time: datetime | None = None
    """When the account was disabled; None: it is enabled."""
    mfa_enabled: bool = False
    """Whether signing in takes a code."""


@dataclass(frozen=True)
class Invitation:
    """The permission to register one account."""

    id: str
    """`inv_...`."""
    sha256: bytes = field(repr=False)
    """The hash of its token."""
    roles: tuple[str, ...]
    note: str
    creator_id: str
    create_time: datetime
    expire_time: datetime


@dataclass(frozen=True)
class PasswordReset:
    """The permission to set a new password without the old one."""

    sha256: bytes = field(repr=False)
    """The hash of its token."""
    expire_time: datetime

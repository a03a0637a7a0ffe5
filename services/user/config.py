"""Config: the settings of the user service."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from services.runtime.config import DatabaseSettings
from services.user.context import RegistrationPolicy

# Accounts without an invitation cannot become administrators.
Role = Literal["video.process", "audio.generate", "content.manage"]


class Config(DatabaseSettings):
    """Settings from the environment (`MONEYPRINTER_USER_...`). Durations are seconds, or in ISO 8601."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_USER_")

    database: str = "host=postgres dbname=moneyprinter user=user"
    first_account_file: Path = Path("/var/lib/moneyprinter/first-account")
    """The file for username and password of the first account, as JSON, when there is no account yet."""
    max_concurrent_hashes: int = Field(2, ge=1)
    """How many passwords are hashed at once; each takes 46 MB and about 80 ms."""
    registration: RegistrationPolicy = "invitation"
    """The registration policy: no one, invited people only, or everyone may create an account."""
    registered_roles: tuple[Role, ...] = ("video.process", "audio.generate", "content.manage")
    """The roles of accounts that register without an invitation, as JSON."""
    max_sign_in_failures: int = Field(5, ge=1)
    """How often one account may fail within 15 minutes, with a password or a code, before a lock of 15 minutes."""
    max_address_failures: int = Field(50, ge=1)
    """How often one address may fail within 15 minutes, whatever the usernames, before a lock of 15 minutes."""
    max_address_registrations: int = Field(10, ge=1)
    """How many accounts one address may register in an hour without an invitation."""
    api_key_lifetime: timedelta = Field(timedelta(days=90), ge=timedelta(minutes=1))
    """How long an API key is valid unless the request names another time."""
    max_api_key_lifetime: timedelta = Field(timedelta(days=365), ge=timedelta(minutes=1))
    """The longest time that a request may name."""
    totp_issuer: str = Field("MoneyPrinter", min_length=1, max_length=64)
    """The name of this platform in authenticator apps."""
    token_lifetime: timedelta = Field(timedelta(minutes=15), ge=timedelta(seconds=1), le=timedelta(hours=1))
    """How long an access token is valid. A stream ends with its token, and its client continues with a new one.
    An upload that takes longer fails."""
    signing_key_lifetime: timedelta = Field(timedelta(days=30), gt=timedelta(0))
    """How long a key signs tokens before the next one is made."""
    signing_key_notice: timedelta = Field(timedelta(minutes=5), gt=timedelta(0))
    """How long a new key is published before it signs, and an old one after its last token has expired: longer than the
    gateway and the services cache the list (a minute each) and `signing_key_refresh` together."""
    signing_key_refresh: timedelta = Field(timedelta(minutes=1), gt=timedelta(0))
    """How often each instance reads the keys, which another instance may have rotated."""

    @model_validator(mode="after")
    def _notice_is_long_enough(self) -> Self:
        if self.signing_key_notice < 2 * self.signing_key_refresh:
            raise ValueError("signing_key_notice must be at least twice signing_key_refresh")
        return self

    @model_validator(mode="after")
    def _default_lifetime_is_allowed(self) -> Self:
        if self.api_key_lifetime > self.max_api_key_lifetime:
            raise ValueError("api_key_lifetime must be at most max_api_key_lifetime")
        return self

"""Config: the knobs of the user service."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings
from services.user.desk import Registration

# Nobody becomes an administrator uninvited.
Role = Literal["video.process", "audio.generate", "content.manage"]


class Config(Settings):
    """What the user service is told (`MONEYPRINTER_USER_...`). Times are seconds, or as ISO 8601 writes them."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_USER_")

    database: str = "host=postgres dbname=moneyprinter user=user"
    """Where PostgreSQL is: libpq's conninfo. The password is in its `passfile`."""
    first_account_file: Path = Path("/var/lib/moneyprinter/first-account")
    """Where name and password of the first account are written, as JSON, when there is no account yet."""
    hashes_at_once: int = Field(2, ge=1)
    """How many passwords are hashed at once; each takes 46 MB and most of a tenth of a second."""
    registration: Registration = "invitation"
    """Who may make an account: nobody, who has an administrator's invitation, or everybody."""
    registered_roles: tuple[Role, ...] = ("video.process", "audio.generate", "content.manage")
    """What accounts may do that were made without an invitation, as JSON."""
    sign_in_failures: int = Field(5, ge=1)
    """How often one name may fail within 15 minutes, with a password or a code, before it waits for 15 minutes."""
    address_failures: int = Field(50, ge=1)
    """The same of one address, whatever the names."""
    address_registrations: int = Field(10, ge=1)
    """How many accounts one address may make in an hour without an invitation."""
    api_key_life: timedelta = Field(timedelta(days=90), ge=timedelta(minutes=1))
    """How long an API key is good when its owner asks for no other time."""
    api_key_life_at_most: timedelta = Field(timedelta(days=365), ge=timedelta(minutes=1))
    """The longest time that may be asked for."""
    totp_issuer: str = Field("MoneyPrinter", min_length=1, max_length=64)
    """How authenticator apps call this platform."""
    token_life: timedelta = Field(timedelta(minutes=15), ge=timedelta(seconds=1), le=timedelta(hours=1))
    """How long an access token is good, and the longest that a stream lasts before its client goes on with a new one.
    An upload that takes longer fails."""
    signing_key_life: timedelta = Field(timedelta(days=30), gt=timedelta(0))
    """How long a key signs tokens before the next one is made."""
    signing_key_notice: timedelta = Field(timedelta(minutes=5), gt=timedelta(0))
    """How long a new key is listed before it signs, and an old one after its last token has expired: longer than the
    gateway's and the services' lists (a minute each) and `signing_key_look` together."""
    signing_key_look: timedelta = Field(timedelta(minutes=1), gt=timedelta(0))
    """How often each instance looks whether another one has made a key."""

    @model_validator(mode="after")
    def _notice_is_long_enough(self) -> Self:
        if self.signing_key_notice < 2 * self.signing_key_look:
            raise ValueError("signing_key_notice must be at least twice signing_key_look")
        return self

    @model_validator(mode="after")
    def _usual_keys_are_allowed(self) -> Self:
        if self.api_key_life > self.api_key_life_at_most:
            raise ValueError("api_key_life must be at most api_key_life_at_most")
        return self

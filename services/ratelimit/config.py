"""Config: the settings of the rate limit service."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """Settings from the environment (`MONEYPRINTER_RATELIMIT_...`): the figures of the gateways, for all together."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_RATELIMIT_")

    user_per_minute: int = Field(100, ge=1, le=6000)
    """The sustained rate limit of each user, in calls per minute."""
    user_burst: int = Field(1000, ge=1)
    """The burst of calls of a user."""
    address_per_minute: int = Field(30, ge=1, le=6000)
    """The sustained limit of each client address, for methods that exchange credentials, such as sign-in."""
    address_burst: int = Field(60, ge=1)
    """The burst of such calls of a client address."""

"""Config: the settings of the concatenation service."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """The settings of the concatenation service, from `MONEYPRINTER_CONCATENATION_...`."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_CONCATENATION_")

    max_calls: int = Field(20, ge=1)
    """How many calls run at once. Each holds its video on the disk twice."""

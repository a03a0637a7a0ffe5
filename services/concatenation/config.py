"""Config: the knobs of the concatenation service."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """What the concatenation service is told (`MONEYPRINTER_CONCATENATION_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_CONCATENATION_")

    max_calls: int = Field(20, ge=1)
    """How many calls are served at once; each holds its video on the disk twice."""

"""Config: the settings of the storage service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """Settings from the environment (`MONEYPRINTER_STORAGE_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_STORAGE_")

    root: Path = Path("/var/lib/moneyprinter/storage")
    """The folder of the encrypted objects."""
    cache_days: float = Field(30.0, ge=0)
    """How long speech, segments and other objects that can be made again are kept after their last use; 0: forever."""
    max_calls: int = Field(100, ge=1)
    """How many calls are served at once; each may hold about 15 MB."""

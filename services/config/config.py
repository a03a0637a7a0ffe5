"""Config: the settings of the config service."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """Settings from the environment (`MONEYPRINTER_CONFIG_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_CONFIG_")

    store: Path = Path("/var/lib/moneyprinter/config")
    """The folder of the encrypted secrets."""
    master_key_file: Path = Path("/etc/moneyprinter/config-master-key")
    """The file with the 32 bytes that encrypt the secrets. File and folder together reveal all secrets."""

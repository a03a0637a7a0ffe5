"""Config: the knobs of the user service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """What the user service is told (`MONEYPRINTER_USER_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_USER_")

    database: str = "host=postgres dbname=moneyprinter user=user"
    """Where PostgreSQL is: libpq's conninfo. The password is in its `passfile`."""
    first_account_file: Path = Path("/var/lib/moneyprinter/first-account")
    """Where name and password of the first account are written, as JSON, when there is no account yet."""
    hashes_at_once: int = Field(2, ge=1)
    """How many passwords are hashed at once; each takes 46 MB and most of a tenth of a second."""

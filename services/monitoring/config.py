"""Config: the settings of the monitoring service."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """Settings from the environment (`MONEYPRINTER_MONITORING_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_MONITORING_")

    timeout_seconds: float = Field(1.5, gt=0.0, le=4.0)
    """How long a service may take to report its health; all services are asked concurrently."""
    cache_seconds: float = Field(1.0, ge=0.0)
    """How long a result is returned again before the services are asked anew."""

"""Config: the knobs of the monitoring service."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """What the monitoring service is told (`MONEYPRINTER_MONITORING_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_MONITORING_")

    question_seconds: float = Field(1.5, gt=0.0, le=4.0)
    """How long a service may take to say how it is; all are asked at once."""
    fresh_seconds: float = Field(1.0, ge=0.0)
    """How long an answer is given again before the services are asked anew."""

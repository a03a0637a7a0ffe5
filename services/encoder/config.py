"""Config: the settings of the encoder service."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """The settings of the encoder service, from `MONEYPRINTER_ENCODER_...`."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_ENCODER_")

    slots: int = Field(max(1, len(os.sched_getaffinity(0)) // 2), ge=1)
    """How many streams are encoded at once; further calls fail with RESOURCE_EXHAUSTED."""
    threads: int = Field(2, ge=1, le=64)
    """The threads of one encode on the CPU."""
    render_node: Path = Path("/dev/dri/renderD128")
    """The device of VA-API."""
    max_pixels_per_second: int = 4096 * 2304 * 60
    """The largest format: width times height times frames a second."""
    max_seconds: float = 3600.0
    """How long one stream may take."""
    silence_seconds: float = 60.0
    """How long a stream may hold its slot while its caller sends nothing."""
    memory_bytes: int = 6 << 30
    """The address space of an encode on the CPU. On a GPU it is not limited: drivers reserve far more than they use."""

"""Config: the knobs of the processing service."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """What the processing service is told (`MONEYPRINTER_PROCESSING_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_PROCESSING_")

    slots: int = Field(len(os.sched_getaffinity(0)), ge=1)
    """How many segments are rendered at once; more are answered RESOURCE_EXHAUSTED. By default one a core."""
    threads: int | None = Field(None, ge=1, le=64)
    """The threads of one render; by default the cores divided by the slots. Segments that were stored by a
    server with another number are not found again, for threads change an encoder's bytes."""
    fonts: Path | None = None
    """A folder with font files for captions. A font that is not in it is looked for in the system."""
    max_pixels: int = Field(4096 * 2304, ge=1)
    """The largest picture of a video, width times height."""
    memory_bytes: int = Field(6 << 30, ge=1 << 30)
    """The address space of one render."""

    @property
    def threads_per_render(self) -> int:
        """The threads of one render."""
        return self.threads or max(1, len(os.sched_getaffinity(0)) // self.slots)

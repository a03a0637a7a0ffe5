"""Config: the settings of the processing service."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Folders, Settings


class Config(Settings):
    """The settings of the processing service, from `MONEYPRINTER_PROCESSING_...`."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_PROCESSING_")

    slots: int = Field(len(os.sched_getaffinity(0)), ge=1)
    """How many segments are rendered at once; as many more wait, and further calls fail with
    RESOURCE_EXHAUSTED. By default one a core."""
    threads: int | None = Field(None, ge=1, le=64)
    """The threads of one render, or more where fewer renders fit into the memory; by default the cores divided by the
    slots. Segments stored with another number are rendered again, because threads change the bytes of an encoder."""
    fonts: Folders = ()
    """The folders with font files for captions, separated by colons, the same as those of the content service. A font
    that is in none of them is searched in the system."""
    max_pixels: int = Field(4096 * 2304, ge=1)
    """The largest frame of a video, width times height."""
    memory_bytes: int = Field(1800 << 20, ge=1 << 28)
    """The memory of all renders together: a render that would exceed it waits."""
    address_bytes: int = Field(8 << 30, ge=1 << 30)
    """The address space of one render, more than it uses; it ends a render that leaks memory."""
    source_bytes: int = Field(4 << 30, ge=0)
    """The size of the source cache in the scratch folder, in bytes."""
    source_seconds: float = Field(30.0, gt=0, le=50)
    """How long an unused source stays in the cache, in plaintext: less than a minute."""
    encoders: Literal["hardware", "any", "none"] = "hardware"
    """The encoder services that frames are streamed to when they have a free slot: those with a GPU, any, or none."""

    @property
    def threads_per_render(self) -> int:
        """The threads of one render."""
        return self.threads or max(1, len(os.sched_getaffinity(0)) // self.slots)

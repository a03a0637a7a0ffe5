"""Config: the knobs of the processing service."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Folders, Settings


class Config(Settings):
    """What the processing service is told (`MONEYPRINTER_PROCESSING_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_PROCESSING_")

    slots: int = Field(len(os.sched_getaffinity(0)), ge=1)
    """How many segments are rendered at once; as many more wait, and what comes then is answered
    RESOURCE_EXHAUSTED. By default one a core."""
    threads: int | None = Field(None, ge=1, le=64)
    """The threads of one render, more where fewer fit into the memory; by default the cores divided by the slots.
    Segments that were stored by a server with another number are not found again: threads change an encoder's bytes."""
    fonts: Folders = ()
    """The folders with font files for captions, parted by colons; those of the content service. A font that is in none
    is looked for in the system."""
    max_pixels: int = Field(4096 * 2304, ge=1)
    """The largest picture of a video, width times height."""
    memory_bytes: int = Field(1800 << 20, ge=1 << 28)
    """The memory of all renders together: when two would need more, one waits for the other."""
    address_bytes: int = Field(8 << 30, ge=1 << 30)
    """The address space of one render, which is more than it uses: one that leaks ends here."""
    source_bytes: int = Field(4 << 30, ge=0)
    """How many bytes of clips are kept in scratch, so that each is fetched once, not once a segment."""
    source_seconds: float = Field(30.0, gt=0, le=50)
    """How long a clip that no segment asks for stays there, in plaintext: less than a minute."""
    encoders: Literal["hardware", "any", "none"] = "hardware"
    """Which encoder service frames are streamed to, when it is free: one with a GPU, any, or none."""

    @property
    def threads_per_render(self) -> int:
        """The threads of one render."""
        return self.threads or max(1, len(os.sched_getaffinity(0)) // self.slots)

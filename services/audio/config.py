"""The knobs of the audio service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """What the audio service is told (`MONEYPRINTER_AUDIO_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_AUDIO_")

    espeak_library: Path = Path("/usr/lib/x86_64-linux-gnu/libespeak-ng.so.1")
    """The library of espeak-ng; only child processes load it."""
    espeak_data: Path = Path("/usr/lib/x86_64-linux-gnu/espeak-ng-data")
    """The folder with the data of espeak-ng: its languages and voices."""
    words_per_minute: int = Field(165, ge=80, le=400)
    """The pace of speech."""
    longest_mix_seconds: float = Field(3600.0, gt=0)
    """A longer mix is refused."""
    max_calls: int = Field(32, ge=1)
    """How many calls are served at once, a quarter of them for one user; a mix keeps one CPU core busy."""
    speeches: int = Field(8, ge=1)
    """How many texts are spoken at once for the public, beside what jobs need, a quarter of them for one user; more are
    refused."""

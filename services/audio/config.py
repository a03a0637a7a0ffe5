"""The settings of the audio service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from services.runtime.config import Folders, Settings


def _names(value: object) -> object:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
"""A setting of several names, separated by commas."""


class Config(Settings):
    """The settings of the audio service (`MONEYPRINTER_AUDIO_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_AUDIO_")

    espeak_library: Path = Path("/usr/lib/x86_64-linux-gnu/libespeak-ng.so.1")
    """The library of espeak-ng; only child processes load it."""
    espeak_data: Path = Path("/usr/lib/x86_64-linux-gnu/espeak-ng-data")
    """The folder with the languages and voices of espeak-ng."""
    kokoro_model: Folders = ()
    """The files that are together the model of Kokoro, the neural voice, separated by colons; empty: without it."""
    kokoro_cache: Path | None = None
    """The folder of the optimized model (88 MB), which makes later starts of the model faster; None: no cache."""
    kokoro_threads: int = Field(2, ge=1, le=16)
    """The number of sentences that the model speaks at once, at most one for each core. Its process holds up to
    690 MB of memory."""
    kokoro_idle_seconds: float = Field(60.0, ge=0)
    """The time without a sentence after which the model's process ends."""
    kokoro_memory_bytes: int = Field(4 << 30, ge=1 << 28)
    """The limit of the address space of the model's process, which is larger than the memory that it holds."""
    words_per_minute: int = Field(165, ge=80, le=400)
    """The pace of speech."""
    max_mix_seconds: float = Field(3600.0, gt=0)
    """The maximum length of a mix."""
    max_calls: int = Field(32, ge=1)
    """The most calls at once, a quarter of them for one user; a mix occupies one CPU core."""
    max_speech_calls: int = Field(8, ge=1)
    """The most texts that are spoken at once for public calls, a quarter of them for one user; further calls are
    refused. Calls of jobs do not count."""
    speech_order: Names = ("openai", "google", "azure", "elevenlabs")
    """The order of the providers of speech, separated by commas. Those without a key are left out, and those that are
    not named come after the others, espeak last."""
    providers_file: Path | None = None
    """A file with the keys of providers, for machines without an operator's tools; the config service comes first."""
    provider_timeout_seconds: float = Field(10.0, gt=0, le=120)
    """The limit of one call of a provider of speech."""
    provider_samples: bool = True
    """Whether users get samples of the voices of external providers, which charge for about 50 characters each. A
    sample is spoken once and then served from storage."""
    provider_prices: Mapping[str, float] = Field(default_factory=dict)
    """The prices of providers of speech per million characters, as JSON: `{"openai": 15}`. They only serve to show the
    cost of a job."""

    # Samples of voices cost money, and staging is not for users.
    environment_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {"staging": {"provider_samples": False}}

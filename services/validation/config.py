"""Config: the knobs of the validation service."""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """What the validation service is told (`MONEYPRINTER_VALIDATION_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_VALIDATION_")

    max_bytes: int = 500_000_000
    """The largest clip that is taken."""
    max_pixels: int = 4096 * 2304
    """The largest picture of a video that is taken: width times height."""
    max_still_pixels: int = 8192 * 6144
    """The largest still picture that is taken: width times height."""
    max_duration_seconds: float = 4 * 3600.0
    """The longest clip that is taken."""
    connect_seconds: float = 5.0
    """How long a clip's server may take to be found and to answer the connection."""
    fetch_seconds: float = 120.0
    """How long the whole of a fetch may take."""
    webhook_seconds: float = 10.0
    """How long a webhook may take to answer."""
    max_redirects: int = 3
    """How many redirects are followed, each checked like the first address."""
    allow_http: bool = False
    """Whether clips may come without TLS. Only for tests and closed networks."""
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that are not public, and that clips may come from, and webhooks be in, all the same, as JSON:
    `["10.1.0.0/16"]`."""
    extra_authority: Path | None = None
    """A PEM file with further certificate authorities that are trusted for clips."""
    probe_memory_bytes: int = 512 << 20
    """The address space of the process that reads a clip."""
    probe_seconds: int = 10
    """How long that process may take, and how much of it on the CPU."""
    probes: int = os.cpu_count() or 1
    """How many clips are read at once; more wait."""
    looks: int = 8
    """How many clips are fetched and read at once only to say what they are, a quarter of them for one user; more are
    refused."""
    arrivals: int = 16
    """The same of clips that are sent."""

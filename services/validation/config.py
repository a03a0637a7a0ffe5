"""The settings of the validation service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """The settings of the validation service (`MONEYPRINTER_VALIDATION_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_VALIDATION_")

    max_bytes: int = 500_000_000
    """The maximum size of a clip."""
    max_pixels: int = 4096 * 2304
    """The maximum width times height of a video."""
    max_still_pixels: int = 8192 * 6144
    """The maximum width times height of a still picture."""
    max_duration_seconds: float = 4 * 3600.0
    """The maximum length of a clip."""
    connect_seconds: float = 5.0
    """The timeout of a host lookup, and of the connection to a server."""
    fetch_seconds: float = 120.0
    """The timeout of a whole fetch."""
    webhook_seconds: float = 10.0
    """The timeout of the response to a webhook."""
    max_redirects: int = 3
    """The most redirects of a fetch; each is checked like the first address."""
    allow_http: bool = False
    """Whether clips may be fetched without TLS. Only for tests and closed networks."""
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Private networks from which clips may be fetched and in which webhooks may be, as JSON: `["10.1.0.0/16"]`."""
    extra_authority: Path | None = None
    """A PEM file with additional certificate authorities that are trusted for clips."""
    probe_memory_bytes: int = 512 << 20
    """The address space of a process that probes a clip."""
    probe_seconds: int = 10
    """The timeout of such a process, and its limit of CPU time."""
    max_probes: int = os.cpu_count() or 1
    """The most clips that are probed at once; more wait for their turn."""
    max_probe_clip_calls: int = 8
    """The most calls of ProbeClip at once, a quarter of them for one user; further calls are refused."""
    max_probe_file_calls: int = 16
    """The most calls of ProbeFile at once, a quarter of them for one user; further calls are refused."""

    def find_insecure(self) -> Iterator[tuple[str, str]]:
        """Yield clips without TLS, and clips from this machine."""
        if self.allow_http:
            yield "allow_http", "clips without TLS; set it to false"
        if any(network.is_loopback for network in self.allowed_networks):
            yield "allowed_networks", "the addresses of this machine; name only the networks of other hosts"

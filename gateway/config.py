"""Config: the knobs of the gateway."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import PREFIX, Settings


def _origin(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/*?#@]+", text):
        raise ValueError(f"{text!r} is no origin; write for example https://app.example.com, and never a *")
    return text


class Gateway(Settings):
    """What one gateway is told (`MONEYPRINTER_GATEWAY_...`)."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}GATEWAY_")

    addresses: dict[str, str]
    """Where each service is found: its name to `host:port`, or several of them with commas between.

    Those that serve public methods must be there.
    """
    certificates: Path = Path("/etc/moneyprinter/certificates")
    """The folder with `ca.pem`, `gateway/cert.pem` and `gateway/key.pem`, which show the services who calls."""
    bind: str = "127.0.0.1"
    """The address that REST and gRPC are served on. In a container: `0.0.0.0`."""
    port: int = 8080
    """The port of both."""
    tls: Path | None = None
    """The folder with `cert.pem` and `key.pem`, which show clients whom they call.

    None: plain HTTP, for a laptop, or behind a balancer that ends TLS.
    """
    admin: Path | None = None
    """The Unix socket of Envoy's administration, for its owner alone; None: one in the configuration's folder."""
    stats_port: int | None = Field(None, ge=0, le=65535)
    """The port, on `bind`, where `GET /stats/prometheus` and `GET /ready` are served; None: nowhere."""
    internal_port: int = 9902
    """A port, on 127.0.0.1 only, where the gateway asks itself for the keys of tokens."""
    trust_domain: str = "cluster.local"
    """The SPIFFE trust domain of the mesh."""
    namespace: str = "moneyprinter"
    """The namespace in SPIFFE ids."""
    trusted_proxies: int = Field(0, ge=0, le=10)
    """How many proxies before the gateway say truly, in `x-forwarded-for`, who called them."""
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """The web pages that browsers let call the gateway, as origins; none: no page but the gateway's own."""

    token_issuer: str = "moneyprinter"  # noqa: S105
    """The `iss` of user tokens."""
    token_audience: str = "moneyprinter"  # noqa: S105
    """The `aud` of user tokens."""
    token_seconds: int = Field(3600, ge=1)
    """The longest time that a token may still be good for."""
    keys_seconds: int = Field(60, ge=1)
    """How long keys are kept before they are fetched again; a new one is known after that time."""

    user_per_minute: int = Field(100, ge=1, le=6000)
    """How many calls of a user a minute are let through in the long run, by each gateway.

    On one's own machine, that is over plain HTTP on a loopback address, users are limited only if this or `user_burst`
    is set.
    """
    user_burst: int = Field(1000, ge=1)
    """How many of them may come at once."""
    address_per_minute: int = Field(30, ge=1, le=6000)
    """The same for one address and the methods that trade secrets for tokens, such as sign-in."""
    address_burst: int = Field(60, ge=1)
    """How many of those may come at once."""
    rate_limit_service: str = ""
    """The `host:port` of Envoy's rate limit service, which counts for several gateways together; empty: each alone."""

    max_body_bytes: int = Field(1 << 20, ge=1024)
    """The largest request that is not an upload."""
    max_connections: int = Field(10_000, ge=1)
    """How many connections of clients are open at once; more are closed as they come."""
    max_heap_bytes: int = Field(3 << 30, ge=64 << 20)
    """The memory at which no more requests are taken: more than one user's `user_burst` requests of `max_body_bytes`
    can hold, which take half as much again as their bytes."""
    headers_seconds: float = Field(5.0, gt=0)
    """How long the headers of a request may take to arrive, and a TLS handshake."""
    max_calls: int = Field(2000, ge=1)
    """How many calls of each service are under way at once, beside streams; the services refuse more before."""
    max_streams: int = Field(10_000, ge=1)
    """The same of streams to and from clients, such as watched events, uploads and downloads."""
    stalled_seconds: float = Field(90.0, gt=0)
    """How long a stream of bytes may stand still before it is cut; the services end it before, with a reason."""
    body_seconds: float = Field(30.0, gt=0)
    """How long a body may take to arrive, if it is not an upload; over REST and gRPC alike."""
    access_log: Path | None = None
    """The file that requests are logged to as JSON lines; None is standard output."""

    @property
    def limits_users(self) -> bool:
        """Whether the calls of each user are counted."""
        own_machine = self.tls is None and not self.trusted_proxies and _is_loopback(self.bind)
        return not own_machine or bool({"user_per_minute", "user_burst"} & self.model_fields_set)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The settings of the gateway."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import PREFIX, Settings


def _origin(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/*?#@]+", text):
        raise ValueError(f"{text!r} is not an origin; write for example https://app.example.com, without wildcards")
    return text


class Gateway(Settings):
    """The settings of one gateway (`MONEYPRINTER_GATEWAY_...`)."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}GATEWAY_")

    addresses: dict[str, str]
    """The address of each service by name: `host:port`, or several separated by commas.

    Every service with public methods needs one.
    """
    certificates: Path = Path("/etc/moneyprinter/certificates")
    """The folder with `ca.pem`, `gateway/cert.pem` and `gateway/key.pem`, the gateway's identity in the mesh."""
    bind: str = "127.0.0.1"
    """The address to listen on for REST and gRPC. In a container: `0.0.0.0`."""
    port: int = 8080
    """The port for REST and gRPC."""
    tls: Path | None = None
    """The folder with `cert.pem` and `key.pem` for clients.

    None: plain HTTP, for a laptop, or behind a load balancer that terminates TLS.
    """
    admin: Path | None = None
    """The Unix socket of Envoy's admin interface, for its owner only; None: one in the configuration's folder."""
    stats_port: int | None = Field(None, ge=0, le=65535)
    """The port, on `bind`, for `GET /stats/prometheus` and `GET /ready`; None: not served."""
    internal_port: int = 9902
    """The port, on 127.0.0.1 only, from which the gateway reads the token keys."""
    trust_domain: str = "cluster.local"
    """The SPIFFE trust domain of the mesh."""
    namespace: str = "moneyprinter"
    """The namespace in SPIFFE ids."""
    trusted_proxies: int = Field(0, ge=0, le=10)
    """The number of proxies in front of the gateway whose `x-forwarded-for` is trusted."""
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """The origins of web pages that may call the gateway (CORS); none: only the gateway's own pages."""

    token_issuer: str = "moneyprinter"  # noqa: S105
    """The `iss` of user tokens."""
    token_audience: str = "moneyprinter"  # noqa: S105
    """The `aud` of user tokens."""
    token_seconds: int = Field(3600, ge=1)
    """The longest accepted remaining lifetime of a token."""
    keys_seconds: int = Field(60, ge=1)
    """How long fetched keys are cached; a new key is accepted after that time."""

    user_per_minute: int = Field(100, ge=1, le=6000)
    """The sustained rate limit of each user at each gateway, in calls per minute.

    On a laptop, that is with plain HTTP on a loopback address, users are limited only if this or `user_burst` is set.
    """
    user_burst: int = Field(1000, ge=1)
    """The burst of calls of a user."""
    address_per_minute: int = Field(30, ge=1, le=6000)
    """The sustained limit of each client address, for methods that exchange credentials, such as sign-in."""
    address_burst: int = Field(60, ge=1)
    """The burst of such calls of a client address."""
    rate_limit_service: str = ""
    """The `host:port` of the rate limit service, which counts over all gateways; empty: each counts alone."""

    max_body_bytes: int = Field(1 << 20, ge=1024)
    """The largest body of a request that is not an upload."""
    max_connections: int = Field(10_000, ge=1)
    """The largest number of client connections; further ones are closed."""
    address_connections: int = Field(1000, ge=1)
    """The largest number of connections of one client address, or of one IPv6 network (/64); further ones are closed.

    Addresses are counted in 16 groups, so one that reaches it stops those of its group, a sixteenth of all. On a
    laptop, it applies only if it is set. Behind trusted proxies, whose connections all clients share, it does not.
    """
    max_heap_bytes: int = Field(3 << 30, ge=64 << 20)
    """The memory at which the gateway refuses requests. It exceeds what `user_burst` requests of `max_body_bytes` of
    one user hold, each of which takes 1.5 times its bytes."""
    headers_seconds: float = Field(5.0, gt=0)
    """The time limit for the headers of a request, and for a TLS handshake."""
    max_calls: int = Field(2000, ge=1)
    """The largest number of concurrent unary calls to each service; the services' own limits are lower."""
    max_streams: int = Field(10_000, ge=1)
    """The largest number of concurrent streams to each service: events, uploads and downloads."""
    stalled_seconds: float = Field(90.0, gt=0)
    """The idle limit of a stream of bytes; the services end it earlier, with a reason."""
    body_seconds: float = Field(30.0, gt=0)
    """The time limit for the body of a request that is not an upload, over REST and gRPC."""
    access_log: Path | None = None
    """The file for the access log, as JSON lines; None: standard output."""

    def find_insecure(self) -> Iterator[tuple[str, str]]:
        """Yield an address that clients reach without TLS."""
        if self.tls is None and not self.trusted_proxies and not _is_loopback(self.bind):
            yield "tls", "plain HTTP; name the folder of a certificate, or set trusted_proxies for a proxy with TLS"

    @property
    def limits_users(self) -> bool:
        """Whether calls of users are limited."""
        return not self._is_laptop or bool({"user_per_minute", "user_burst"} & self.model_fields_set)

    @property
    def limits_connections(self) -> bool:
        """Whether connections of a client address are limited."""
        return not self.trusted_proxies and (not self._is_laptop or "address_connections" in self.model_fields_set)

    @property
    def _is_laptop(self) -> bool:
        return self.tls is None and not self.trusted_proxies and _is_loopback(self.bind)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

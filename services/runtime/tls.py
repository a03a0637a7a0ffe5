"""TLS: the certificates of a workload, and the identity that a peer's certificate gives it.

Every service has one leaf certificate, whose subject alternative names are its SPIFFE id and, for
clients that check names, its DNS name. There is no way to serve or to call without one.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from services.runtime.config import ConfigError, RuntimeConfig


def spiffe_id(config: RuntimeConfig, service: str) -> str:
    """The SPIFFE id of a service."""
    return f"spiffe://{config.trust_domain}/ns/{config.namespace}/sa/{service}"


def server_name(config: RuntimeConfig, service: str) -> str:
    """The DNS name in a service's certificate, by which its clients know it."""
    return f"{service}.{config.namespace}.svc"


def workload(config: RuntimeConfig, identity: str) -> str | None:
    """The service that a SPIFFE id names; None when it is not one of ours."""
    prefix = spiffe_id(config, "")
    name = identity.removeprefix(prefix)
    return name if identity.startswith(prefix) and name and "/" not in name else None


@dataclass(frozen=True)
class Certificates:
    """Where a workload's certificate, its key, and the mesh's authority are."""

    cert: Path
    key: Path
    authority: Path

    def server(self) -> grpc.ServerCredentials:
        """Credentials of a server that demands a certificate of its peers."""
        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.cert.read_bytes())], self.authority.read_bytes(), require_client_auth=True
        )

    def channel(self) -> grpc.ChannelCredentials:
        """Credentials of a client."""
        return grpc.ssl_channel_credentials(self.authority.read_bytes(), self.key.read_bytes(), self.cert.read_bytes())

    def context(self) -> ssl.SSLContext:
        """The same for clients other than gRPC, TLS 1.3 only."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.cert, self.key)
        return context


def certificates(config: RuntimeConfig, service: str) -> Certificates:
    """Find the certificates of a service. Raises ConfigError when a file is missing: no TLS, no start."""
    folder = config.certificates / service
    found = Certificates(folder / "cert.pem", folder / "key.pem", config.certificates / "ca.pem")
    for path in (found.authority, found.cert, found.key):
        if not path.is_file():
            raise ConfigError(
                f"{service} has no {path}; set MONEYPRINTER_RUNTIME_CERTIFICATES to the folder of its certificates"
            )
    return found

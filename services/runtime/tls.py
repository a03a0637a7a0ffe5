"""TLS: the certificates of a workload, and the identity that a peer's certificate gives it.

Every service has one leaf certificate, whose subject alternative names are its SPIFFE id and, for
clients that check names, its DNS name. There is no way to serve or to call without one. Whoever renews it puts
other files in the place of these: connections that are made from then on show them, and those that are open go on.
"""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

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
        """Credentials of a server that demands a certificate of its peers; each connection has the newest."""
        files = Watched(self)

        def newest() -> grpc.ServerCertificateConfiguration | None:
            return _configuration(files.shown) if files.renewed() else None

        return grpc.dynamic_ssl_server_credentials(
            _configuration(files.shown),
            newest,  # type: ignore[arg-type]  # as documented, nothing is returned when nothing is new
            require_client_authentication=True,
        )

    def context(self) -> ssl.SSLContext:
        """The same for clients other than gRPC, TLS 1.3 only."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.load(context)
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """Let connections that a context makes from now on show what is there now. Raises OSError."""
        context.load_verify_locations(cafile=str(self.authority))
        context.load_cert_chain(self.cert, self.key)

    def read(self) -> Shown:
        """Read them. Raises OSError or ValueError when they are not there, or not of each other."""
        shown = Shown(self.cert.read_bytes(), self.key.read_bytes(), self.authority.read_bytes())
        try:
            key = serialization.load_pem_private_key(shown.key, None)
        except TypeError:
            raise ValueError(f"{self.key} is locked with a password") from None
        if x509.load_pem_x509_certificate(shown.cert).public_key() != key.public_key():
            raise ValueError(f"{self.cert} and {self.key} are not of each other")
        return shown


@dataclass(frozen=True)
class Shown:
    """A certificate, its key and the mesh's authority, as they were read."""

    cert: bytes
    key: bytes = field(repr=False)
    authority: bytes

    def channel(self) -> grpc.ChannelCredentials:
        """Credentials of a client."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.cert)


class Watched:
    """Certificates that are read again when their files were replaced. Any thread may ask.

    Raises ConfigError when they are not there, or not of each other, at first: no TLS, no start.
    """

    def __init__(self, files: Certificates) -> None:
        self._files = files
        self._lock = threading.Lock()
        try:
            self._seen = self._state()
            self.shown = files.read()
            """What is to be shown."""
        except (OSError, ValueError) as failure:
            raise ConfigError(f"the certificate {files.cert} cannot be used: {failure}") from None

    def renewed(self) -> bool:
        """Look at the files; whether there is something else to be shown than before.

        While one of them is replaced and another is not yet, what was there before is shown, and they are looked at
        again.
        """
        with self._lock:
            try:
                state = self._state()
                if state == self._seen:
                    return False
                shown = self._files.read()
            except (OSError, ValueError):
                return False
            self._seen = state
            other, self.shown = shown != self.shown, shown
            return other

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        found = (path.stat() for path in (self._files.cert, self._files.key, self._files.authority))
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


def _configuration(shown: Shown) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(shown.key, shown.cert)], shown.authority)


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

"""TLS: the certificates of a workload, and the workload that a peer's certificate names.

Every service has one leaf certificate, whose subject alternative names are its SPIFFE id and, for clients that check
host names, its DNS name. No service serves or calls without one. A renewal replaces the files: new connections use the
new certificate, and open ones continue.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from services.runtime.config import ConfigError, RuntimeConfig


def spiffe_id(config: RuntimeConfig, service: str) -> str:
    """Return the SPIFFE id of a service."""
    return f"spiffe://{config.trust_domain}/ns/{config.namespace}/sa/{service}"


def server_name(config: RuntimeConfig, service: str) -> str:
    """Return the DNS name in the certificate of a service."""
    return f"{service}.{config.namespace}.svc"


def parse_workload(config: RuntimeConfig, identity: str) -> str | None:
    """Return the service that a SPIFFE id names, or None when it is not of this mesh."""
    prefix = spiffe_id(config, "")
    name = identity.removeprefix(prefix)
    return name if identity.startswith(prefix) and name and "/" not in name else None


@dataclass(frozen=True)
class Certificates:
    """The paths of a workload's certificate, its key, and the certificate of the mesh's authority."""

    cert: Path
    key: Path
    authority: Path

    def server_credentials(self, on_connection: Callable[[], None]) -> grpc.ServerCredentials:
        """Return credentials of a server that requires client certificates, and reloads its own when it is renewed.

        gRPC calls `on_connection` on one of its threads when a connection is open and its handshake begins. Raises
        `ConfigError` when the certificate is not usable.
        """
        files = CertificateReloader(self)

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            on_connection()
            return _configuration(files.current) if files.reload() else None

        return grpc.dynamic_ssl_server_credentials(
            _configuration(files.current),
            fetch,  # type: ignore[arg-type]  # as documented, None means that nothing has changed
            require_client_authentication=True,
        )

    def client_context(self) -> ssl.SSLContext:
        """Return a TLS 1.3 context for clients other than gRPC. Raises `OSError` when a file cannot be read."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.load(context)
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """Load the files into a context, for its new connections. Raises `OSError` when one cannot be read."""
        context.load_verify_locations(cafile=str(self.authority))
        context.load_cert_chain(self.cert, self.key)

    def read(self) -> LoadedCertificate:
        """Read the files. Raises `OSError` when one is missing, `ValueError` when certificate and key do not match."""
        loaded = LoadedCertificate(self.cert.read_bytes(), self.key.read_bytes(), self.authority.read_bytes())
        try:
            key = serialization.load_pem_private_key(loaded.key, None)
        except TypeError:
            raise ValueError(f"{self.key} is locked with a password") from None
        if x509.load_pem_x509_certificate(loaded.cert).public_key() != key.public_key():
            raise ValueError(f"{self.cert} and {self.key} do not belong together")
        return loaded


@dataclass(frozen=True)
class LoadedCertificate:
    """The contents of a certificate, its key and the mesh's authority, in PEM."""

    cert: bytes
    key: bytes = field(repr=False)
    authority: bytes

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a client."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.cert)


class CertificateReloader:
    """Reads certificates again when their files have been replaced. It is safe to use from any thread.

    Raises `ConfigError` when they are missing or do not match at the start: no service starts without TLS.
    """

    def __init__(self, files: Certificates) -> None:
        self._files = files
        self._lock = threading.Lock()
        try:
            self._loaded_state = self._state()
            self.current = files.read()
            """The certificate in use."""
        except (OSError, ValueError) as failure:
            raise ConfigError(f"the certificate {files.cert} cannot be used: {failure}") from None

    def reload(self) -> bool:
        """Load the files when they have changed, and return whether the certificate in use is another one.

        While only some of them are replaced, the previous certificate stays in use.
        """
        with self._lock:
            try:
                state = self._state()
                if state == self._loaded_state:
                    return False
                loaded = self._files.read()
            except (OSError, ValueError):
                return False
            self._loaded_state = state
            has_changed, self.current = loaded != self.current, loaded
            return has_changed

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        found = (path.stat() for path in (self._files.cert, self._files.key, self._files.authority))
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


def _configuration(loaded: LoadedCertificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(loaded.key, loaded.cert)], loaded.authority)


def find_certificates(config: RuntimeConfig, service: str) -> Certificates:
    """Return the paths of the certificates of a service. Raises `ConfigError` when a file is missing."""
    folder = config.certificates / service
    found = Certificates(folder / "cert.pem", folder / "key.pem", config.certificates / "ca.pem")
    for path in (found.authority, found.cert, found.key):
        if not path.is_file():
            raise ConfigError(
                f"{service} has no {path}; set MONEYPRINTER_RUNTIME_CERTIFICATES to the folder of its certificates"
            )
    return found

"""TLS: the certificates of a workload, and the identity that a peer's certificate gives it.

Every service has one leaf certificate, whose subject alternative names are its SPIFFE id and, for
clients that check names, its DNS name. There is no way to serve or to call without one. Whoever renews it puts
other files in the place of these: connections that are made from then on show them, and those that are open go on.

A handshake that fails ends inside gRPC, which tells nobody. `Arrivals` sees it from outside: a connection came, and
went before anybody on it was known.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

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

    def server(self, arrived: Callable[[], None]) -> grpc.ServerCredentials:
        """Credentials of a server that demands a certificate of its peers; each connection has the newest.

        `arrived` is called from a thread of gRPC's when a connection is open and its handshake begins.
        """
        files = Watched(self)

        def newest() -> grpc.ServerCertificateConfiguration | None:
            arrived()
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


_ENDS = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Arrivals:
    """Connections to a server on which nobody is known yet, and what to do when one of them ends like that.

    Peers with no certificate, one of a foreign authority or no TLS 1.3 end so; and those that make no call.
    """

    def __init__(self, left: Callable[[str], None]) -> None:
        self._left = left
        """Called with the IP address of who left unknown."""
        self._port = 0
        self._seen: set[str] = set()
        self._open: dict[str, socket.socket] = {}
        self._lock = threading.Lock()
        self._ends = select.epoll()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._ends.fileno(), self._ended)

    def serve(self, port: int) -> None:
        """Begin to look at what comes to a port."""
        self._port = port

    def arrived(self) -> None:
        """Find the connections that are new. Any thread may call it, while the handshake of one of them begins."""
        with self._lock, suppress(OSError):
            if not self._port or self._ends.closed:
                return
            links = {}
            for number in os.listdir("/proc/self/fd"):
                with suppress(OSError):
                    links[os.readlink(f"/proc/self/fd/{number}")] = int(number)
            sockets = {link for link in links if link.startswith("socket:")}
            for link in sockets - self._seen:
                self._watch(link, links[link])
            self._seen = sockets

    def _watch(self, link: str, number: int) -> None:
        with suppress(OSError):
            copy = _copy(link, number)
            try:
                if copy.type != socket.SOCK_STREAM or copy.getsockname()[1:2] != (self._port,):
                    raise OSError("not of this server")
                peer = _peer(*copy.getpeername()[:2])
                if peer in self._open:
                    # It has ended, or its port were not free for this one.
                    self._forget(peer)
                    self._loop.call_soon_threadsafe(self._left, host(peer))
                self._ends.register(copy, _ENDS)
                self._open[peer] = copy
            except (OSError, TypeError):
                copy.close()

    def known(self, peer: str) -> None:
        """Somebody made a call, whom gRPC names `peer`: who that is, is told with the call."""
        if peer in self._open:
            with self._lock:
                self._forget(peer)

    def close(self) -> None:
        """Look at no further ones. Those that have ended until now are told."""
        if not self._ends.closed:
            self._ended()
            self._loop.remove_reader(self._ends.fileno())
            with self._lock:
                for peer in list(self._open):
                    self._forget(peer)
                self._ends.close()

    def _ended(self) -> None:
        with self._lock:
            ended = {number for number, _ in self._ends.poll(0)}
            left = [peer for peer, copy in self._open.items() if copy.fileno() in ended]
            for peer in left:
                self._forget(peer)
        for peer in left:
            self._left(host(peer))

    def _forget(self, peer: str) -> None:
        copy = self._open.pop(peer)
        self._ends.unregister(copy)
        copy.close()


def _copy(link: str, number: int) -> socket.socket:
    """A socket of our own beside the one that had a number: gRPC closes its own when it likes. Raises OSError."""
    copy = os.dup(number)
    try:
        if os.readlink(f"/proc/self/fd/{copy}") != link:
            raise OSError("the number is that of something else by now")
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def _peer(address: str, port: int) -> str:
    """gRPC's name of a peer."""
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return f"ipv4:{found}:{port}" if found.version == 4 else f"ipv6:%5B{found}%5D:{port}"


def host(peer: str) -> str:
    """The address in gRPC's name of a peer: `ipv4:10.0.0.1:4711`, `ipv6:%5B::1%5D:4711`."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")


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

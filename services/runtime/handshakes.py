"""Handshakes: finds connections that end before their peer is identified.

gRPC reports no failed handshake. `HandshakeMonitor` observes the sockets of the server instead: it duplicates each new
one, and reports those that close before a call arrives on them.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from services.runtime.identity import peer_host, peer_name

_ENDS = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class HandshakeMonitor:
    """Watches the connections of a server whose peer is not identified yet, and reports those that end like that.

    These are peers without a certificate, with one of a foreign authority or without TLS 1.3, and peers that make no
    call. `on_failure` is called on the event loop with the IP address of such a peer.
    """

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        self._on_failure = on_failure
        self._port = 0
        self._seen: set[str] = set()
        self._open: dict[str, socket.socket] = {}
        self._lock = threading.Lock()
        self._ends = select.epoll()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._ends.fileno(), self._report_ended)

    def watch(self, port: int) -> None:
        """Begin to watch the connections to a port."""
        self._port = port

    def scan(self) -> None:
        """Find new connections. It is called on any thread, when the handshake of one of them begins."""
        with self._lock, suppress(OSError):
            if not self._port or self._ends.closed:
                return
            links = {}
            for number in os.listdir("/proc/self/fd"):
                with suppress(OSError):
                    links[os.readlink(f"/proc/self/fd/{number}")] = int(number)
            sockets = {link for link in links if link.startswith("socket:")}
            for link in sockets - self._seen:
                self._add(link, links[link])
            self._seen = sockets

    def _add(self, link: str, number: int) -> None:
        with suppress(OSError):
            copy = _duplicate(link, number)
            try:
                if copy.type != socket.SOCK_STREAM or copy.getsockname()[1:2] != (self._port,):
                    raise OSError("not of this server")
                peer = peer_name(*copy.getpeername()[:2])
                if peer in self._open:
                    # The previous connection has ended, since its port is in use again.
                    self._forget(peer)
                    self._loop.call_soon_threadsafe(self._on_failure, peer_host(peer))
                self._ends.register(copy, _ENDS)
                self._open[peer] = copy
            except (OSError, TypeError):
                copy.close()

    def mark_identified(self, peer: str) -> None:
        """Stop watching the connection of a peer, named as in gRPC: a call arrived, which has its own audit event."""
        if peer in self._open:
            with self._lock:
                self._forget(peer)

    def close(self) -> None:
        """Report the connections that have ended, and stop."""
        if not self._ends.closed:
            self._report_ended()
            self._loop.remove_reader(self._ends.fileno())
            with self._lock:
                for peer in list(self._open):
                    self._forget(peer)
                self._ends.close()

    def _report_ended(self) -> None:
        with self._lock:
            ended = {number for number, _ in self._ends.poll(0)}
            failed = [peer for peer, copy in self._open.items() if copy.fileno() in ended]
            for peer in failed:
                self._forget(peer)
        for peer in failed:
            self._on_failure(peer_host(peer))

    def _forget(self, peer: str) -> None:
        copy = self._open.pop(peer)
        self._ends.unregister(copy)
        copy.close()


def _duplicate(link: str, number: int) -> socket.socket:
    """Return a duplicate of the socket with a descriptor, because gRPC may close its own at any time.

    Raises `OSError` when the descriptor is that of another file by now.
    """
    copy = os.dup(number)
    try:
        if os.readlink(f"/proc/self/fd/{copy}") != link:
            raise OSError("the descriptor is that of another file by now")
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise

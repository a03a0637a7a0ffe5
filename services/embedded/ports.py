"""Ports: which ones a platform uses, and whether they are free."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Iterator, Mapping

from services.embedded.errors import PlatformError
from services.runtime.config import PORTS

BIND = "127.0.0.1"

# Below the range that Linux gives to clients and to those who bind port 0, so that nobody is given one of
# ours between the moment that we find it free and the moment that a server listens on it.
_FREE = range(18_000, 32_000)
_BLOCK = 50


def of_platform(gateway: int) -> dict[str, int]:
    """The port of the gateway and of every service; 0 picks free ones.

    The services follow the gateway in the order of `PORTS`. Raises PlatformError when the last is no port.
    """
    if gateway == 0:
        return dict(zip(PORTS, pick(len(PORTS)), strict=True))
    shift = gateway - PORTS["gateway"]
    ports = {name: port + shift for name, port in PORTS.items()}
    if not 0 < min(ports.values()) <= max(ports.values()) <= 65_535:
        raise PlatformError(
            f"--port {gateway} leaves no room for the {len(PORTS) - 1} ports of the services; use one up to 65523"
        )
    return ports


def pick(count: int = 1) -> list[int]:
    """Find free ports, none of which was or will be found by this process again, or by another one while this lives."""
    return list(itertools.islice(filter(free, _ours), count))


def _claimed() -> Iterator[int]:
    """The ports of blocks that this process has claimed, by an abstract Unix socket each."""
    blocks = range(_FREE.start, _FREE.stop, _BLOCK)
    for first in random.SystemRandom().sample(blocks, len(blocks)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0moneyprinter/ports/{first}")
        except OSError:
            claim.close()
            continue
        claim.detach()  # It ends with this process.
        yield from range(first, first + _BLOCK)


_ours = _claimed()


def free(port: int) -> bool:
    """Whether a server could listen on a port now."""
    with socket.socket() as probe:
        # As servers do, so that connections that were closed a moment ago are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((BIND, port))
        except OSError:
            return False
    return True


def check(ports: Mapping[str, int]) -> None:
    """Raise PlatformError when a port is in use, which names it."""
    for name, port in ports.items():
        if not free(port):
            raise PlatformError(
                f"port {port} (of {name}) is in use; stop what uses it, or choose other ports with --port"
                " (--port 0 picks free ones)"
            )

"""The ports of a platform, and the search for free ones."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Iterator, Mapping

from services.embedded.errors import PlatformError
from services.runtime.config import PORTS

BIND = "127.0.0.1"

# Below the range from which Linux takes the ports of clients and of `bind` to port 0. So no other program gets one of
# these between the check that it is free and the start of the server that listens on it.
_FREE = range(18_000, 32_000)
_BLOCK = 50


def platform_ports(gateway: int) -> dict[str, int]:
    """Return the ports of the gateway and of every service, by name; `gateway` 0 picks free ones.

    The services follow the gateway in the order of `PORTS`. Raises `PlatformError` when the last one exceeds 65535.
    """
    if gateway == 0:
        return dict(zip(PORTS, pick_ports(len(PORTS)), strict=True))
    shift = gateway - PORTS["gateway"]
    ports = {name: port + shift for name, port in PORTS.items()}
    if not 0 < min(ports.values()) <= max(ports.values()) <= 65_535:
        raise PlatformError(
            f"--port {gateway} leaves no room for the {len(PORTS) - 1} ports of the services; use one up to"
            f" {65_535 - max(PORTS.values()) + PORTS['gateway']}"
        )
    return ports


def pick_ports(count: int = 1) -> list[int]:
    """Return free ports. No other call in this process, and no other process while this one lives, returns them too."""
    return list(itertools.islice(filter(is_free, _claimed), count))


def _claim_ports() -> Iterator[int]:
    """Claim blocks of ports, with an abstract Unix socket each, and yield their ports."""
    blocks = range(_FREE.start, _FREE.stop, _BLOCK)
    for first in random.SystemRandom().sample(blocks, len(blocks)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0moneyprinter/ports/{first}")
        except OSError:
            claim.close()
            continue
        claim.detach()  # The claim lasts until this process ends.
        yield from range(first, first + _BLOCK)


_claimed = _claim_ports()


def is_free(port: int) -> bool:
    """Report whether a server could listen on a port now."""
    with socket.socket() as probe:
        # As servers do, so that recently closed connections do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((BIND, port))
        except OSError:
            return False
    return True


def check_free(ports: Mapping[str, int]) -> None:
    """Check that all ports are free. Raises `PlatformError`, which names the port, when one is in use."""
    for name, port in ports.items():
        if not is_free(port):
            raise PlatformError(
                f"port {port} (of {name}) is in use; stop what uses it, or choose other ports with --port"
                " (--port 0 picks free ones)"
            )

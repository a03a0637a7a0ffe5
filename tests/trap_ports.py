"""Ports of servers that count connections: outside the range from which all other tests and services get theirs."""

from __future__ import annotations

import random
import socket

# Linux gives ports 32768 to 60999 for port 0. A client of another test may still reconnect to such a port after its
# server has stopped, and would be counted: once in about ten whole runs.
TRAP_PORTS = range(61_000, 65_536)


def bind_trap(host: str, port: int = 0) -> socket.socket:
    """Bind a socket to a port of TRAP_PORTS that is free, or to `port` where it is given.

    :param host: An address of this machine; "::" is every address, IPv4 included.
    :raises OSError: The port is in use, or all that were tried.
    """
    for attempt in reversed(range(100)):
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if bound.family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            bound.bind((host, port or random.choice(TRAP_PORTS)))
        except OSError:
            bound.close()
            if port or not attempt:
                raise
        else:
            return bound
    raise AssertionError

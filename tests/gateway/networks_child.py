"""Holds connections from IPv6 networks in a network namespace of its own: `networks_child.py PORT COMMAND...`.

It runs the command, a gateway, and prints for each of 16 networks of /64 the number of connections that stay open, when
each of its four addresses opens two.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
import time

SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP, LOOPBACK = 0x8914, 0x8916, 1, 1
NETWORKS, ADDRESSES, EACH = 16, 4, 2
START_SECONDS = 60


def add_address(address: str) -> None:
    """Give the loopback device an address of IPv6."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as handle:
        request = socket.inet_pton(socket.AF_INET6, address) + struct.pack("Ii", 128, LOOPBACK)
        fcntl.ioctl(handle, SIOCSIFADDR, request)


def connect(port: int, address: str) -> socket.socket:
    """Open a connection from an address, and send a request whose answer needs no service."""
    connection = socket.create_connection(("::1", port), source_address=(address, 0))
    connection.sendall(b"GET /v1/videos HTTP/1.1\r\nhost: a\r\n\r\n")
    return connection


def is_open(connection: socket.socket) -> bool:
    """Return whether the gateway answers on a connection."""
    try:
        return connection.recv(100).startswith(b"HTTP/1.1 401")
    except ConnectionError:
        return False


def main(port: int, command: list[str]) -> None:
    """Run the gateway, and print the numbers of open connections as JSON."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    networks = [
        [f"fd00:0:0:{number:x}::{host:x}" for host in (1, 2, 0xFFFF, 1 << 15)] for number in range(1, NETWORKS + 1)
    ]
    for address in (address for network in networks for address in network):
        add_address(address)
    with subprocess.Popen(command) as gateway:
        try:
            deadline = time.monotonic() + START_SECONDS
            while time.monotonic() < deadline:
                try:
                    socket.create_connection(("::1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            counts, held = [], []
            for network in networks:
                opened = [connect(port, address) for address in network for _ in range(EACH)]
                answers = [is_open(connection) for connection in opened]
                counts.append(sum(answers))
                held += opened
            print(json.dumps(counts))
        finally:
            gateway.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

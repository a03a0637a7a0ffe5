"""Hostile server: answers every request with an abusive response, for as long as the client reads.

`python -m tests.security.hostile_server` prints its port, and serves plain HTTP until it is killed. The request path
selects the response.
"""

from __future__ import annotations

import os
import socketserver
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
BURST = 65536


def interim() -> Iterator[bytes]:
    """Endless interim responses."""
    yield from repeat(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 1000)


def slow_interim() -> Iterator[bytes]:
    """Endless interim responses at intervals."""
    for _ in repeat(None):
        yield b"HTTP/1.1 102 Processing\r\n\r\n"
        time.sleep(0.05)


def endless_header() -> Iterator[bytes]:
    """One endless header."""
    yield OK + b"x: "
    yield from repeat(b"y" * BURST)


def endless_headers() -> Iterator[bytes]:
    """Endless headers."""
    yield OK
    yield from repeat(b"x: y\r\n" * 1000)


def many_headers() -> Iterator[bytes]:
    """Too many headers."""
    yield OK + b"".join(b"x-%d: y\r\n" % number for number in range(500)) + b"content-length: 1\r\n\r\nx"


def endless_trailers() -> Iterator[bytes]:
    """Endless trailers after a small body."""
    yield CHUNKED + b"1\r\nx\r\n0\r\n"
    yield from repeat(b"x: y\r\n" * 1000)


def extensions() -> Iterator[bytes]:
    """Chunks of one byte, each with an extension of a kilobyte."""
    yield CHUNKED
    yield from repeat((b"1;" + b"e" * 1000 + b"\r\nx\r\n") * 60)


def endless_extension() -> Iterator[bytes]:
    """An endless chunk extension."""
    yield CHUNKED + b"1;"
    yield from repeat(b"e" * BURST)


def tiny_chunks() -> Iterator[bytes]:
    """Chunks of one byte."""
    yield CHUNKED
    yield from repeat(b"1\r\nx\r\n" * 10_000)


def trickle() -> Iterator[bytes]:
    """A body sent byte by byte."""
    yield OK + b"content-length: 100000\r\n\r\n"
    for _ in repeat(None):
        yield b"x"
        time.sleep(0.02)


def trickled_head() -> Iterator[bytes]:
    """A head sent byte by byte."""
    for _ in repeat(None):
        yield b"H"
        time.sleep(0.02)


def pause() -> Iterator[bytes]:
    """A body that stops after its first bytes."""
    yield OK + b"content-length: 100000\r\n\r\nbegin"
    time.sleep(3600)


def silence() -> Iterator[bytes]:
    """No response."""
    time.sleep(3600)
    yield b""


def compressed() -> Iterator[bytes]:
    """A compressed body that the client did not accept."""
    yield OK + b"content-encoding: gzip\r\n\r\n"
    yield from repeat(bytes(BURST))


def transfer_compressed() -> Iterator[bytes]:
    """A compressed transfer encoding that the client did not accept."""
    yield OK + b"transfer-encoding: gzip, chunked\r\n\r\n"
    yield from repeat(bytes(BURST))


def two_lengths() -> Iterator[bytes]:
    """A body with two content lengths."""
    yield OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx"


def switching() -> Iterator[bytes]:
    """A protocol switch that the client did not request."""
    yield b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
    yield from repeat(bytes(BURST))


def garbage() -> Iterator[bytes]:
    """Bytes that are not HTTP."""
    yield from repeat(b"\xff\r\n" * BURST)


def redirects() -> Iterator[bytes]:
    """Endless redirects."""
    yield b"HTTP/1.1 302 Found\r\nlocation: /redirects\r\ncontent-length: 0\r\n\r\n"


PAGES: dict[str, Callable[[], Iterator[bytes]]] = {
    f"/{page.__name__}": page
    for page in (
        *(interim, slow_interim, endless_header, endless_headers, many_headers, endless_trailers, extensions),
        *(endless_extension, tiny_chunks, trickle, trickled_head, pause, silence, compressed, transfer_compressed),
        *(two_lengths, switching, garbage, redirects),
    )
}


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        path = self.rfile.readline().decode().split()[1]
        while self.rfile.readline().strip():
            pass
        with suppress(OSError):
            for piece in PAGES[path]():
                self.request.sendall(piece)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 100


if __name__ == "__main__":
    # A real server has a machine of its own: this one must not take the CPU from its victim.
    os.nice(19)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()

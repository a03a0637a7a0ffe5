"""Hostile server: answers every request as no server should, and for as long as it is listened to.

`python -m tests.security.hostile_server` prints its port, and serves plain HTTP until it is killed; the path says how.
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
    """Interim answers without end."""
    yield from repeat(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 1000)


def slow_interim() -> Iterator[bytes]:
    """An interim answer now and then, without end."""
    for _ in repeat(None):
        yield b"HTTP/1.1 102 Processing\r\n\r\n"
        time.sleep(0.05)


def endless_header() -> Iterator[bytes]:
    """A header without end."""
    yield OK + b"x: "
    yield from repeat(b"y" * BURST)


def endless_headers() -> Iterator[bytes]:
    """Headers without end."""
    yield OK
    yield from repeat(b"x: y\r\n" * 1000)


def many_headers() -> Iterator[bytes]:
    """More headers than anybody needs."""
    yield OK + b"".join(b"x-%d: y\r\n" % number for number in range(500)) + b"content-length: 1\r\n\r\nx"


def endless_trailers() -> Iterator[bytes]:
    """Trailers without end after a small body."""
    yield CHUNKED + b"1\r\nx\r\n0\r\n"
    yield from repeat(b"x: y\r\n" * 1000)


def extensions() -> Iterator[bytes]:
    """Chunks of one byte, each with an extension of a kilobyte."""
    yield CHUNKED
    yield from repeat((b"1;" + b"e" * 1000 + b"\r\nx\r\n") * 60)


def endless_extension() -> Iterator[bytes]:
    """An extension of a chunk without end."""
    yield CHUNKED + b"1;"
    yield from repeat(b"e" * BURST)


def tiny_chunks() -> Iterator[bytes]:
    """Chunks of one byte."""
    yield CHUNKED
    yield from repeat(b"1\r\nx\r\n" * 10_000)


def trickle() -> Iterator[bytes]:
    """A body that comes byte by byte."""
    yield OK + b"content-length: 100000\r\n\r\n"
    for _ in repeat(None):
        yield b"x"
        time.sleep(0.02)


def trickled_head() -> Iterator[bytes]:
    """A head that comes byte by byte."""
    for _ in repeat(None):
        yield b"H"
        time.sleep(0.02)


def pause() -> Iterator[bytes]:
    """A body that begins, and does not go on."""
    yield OK + b"content-length: 100000\r\n\r\nbegin"
    time.sleep(3600)


def silence() -> Iterator[bytes]:
    """No answer at all."""
    time.sleep(3600)
    yield b""


def compressed() -> Iterator[bytes]:
    """A compressed body that was not asked for."""
    yield OK + b"content-encoding: gzip\r\n\r\n"
    yield from repeat(bytes(BURST))


def transfer_compressed() -> Iterator[bytes]:
    """The same on the level of the transfer."""
    yield OK + b"transfer-encoding: gzip, chunked\r\n\r\n"
    yield from repeat(bytes(BURST))


def two_lengths() -> Iterator[bytes]:
    """A body of two lengths."""
    yield OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx"


def switching() -> Iterator[bytes]:
    """Another protocol, for which nobody asked."""
    yield b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
    yield from repeat(bytes(BURST))


def garbage() -> Iterator[bytes]:
    """What is no HTTP."""
    yield from repeat(b"\xff\r\n" * BURST)


def redirects() -> Iterator[bytes]:
    """Redirects without end."""
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
    # It is elsewhere: it is not to take the processor from those whom it attacks.
    os.nice(19)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()

"""Site: a small web server for tests, with configurable responses and a count of connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.trap_ports import bind_trap

Page = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Site:
    """A web server on a port of `host`; port 0 is a free port, and without a TLS context it speaks plain HTTP."""

    def __init__(self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.connections = 0
        self.requests: list[str] = []
        """The heads of the received requests."""
        self.closing = asyncio.Event()
        self._context = context
        self._pages: dict[str, Page] = {}

    async def __aenter__(self) -> Site:
        self._server = await asyncio.start_server(self._serve, sock=bind_trap(self.host, self.port), ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closing.set()
        self._server.close()
        await self._server.wait_closed()

    def url(self, path: str, host: str | None = None) -> str:
        """The address of a page."""
        return f"{'https' if self._context else 'http'}://{host or self.host}:{self.port}{path}"

    def page(self, path: str, page: Page) -> str:
        """Answer a path by running `page`; returns its address."""
        self._pages[path] = page
        return self.url(path)

    def file(self, path: str, body: bytes, *, send_length: bool = True) -> str:
        """Answer a path with a file; returns its address."""

        async def page(writer: asyncio.StreamWriter) -> None:
            length = f"content-length: {len(body)}\r\n" if send_length else ""
            writer.write(f"HTTP/1.1 200 OK\r\n{length}connection: close\r\n\r\n".encode() + body)

        return self.page(path, page)

    def respond(self, path: str, head: str) -> str:
        """Answer a path with a status line and headers; returns its address."""

        async def page(writer: asyncio.StreamWriter) -> None:
            writer.write(f"HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n".encode())

        return self.page(path, page)

    def redirect(self, path: str, location: str) -> str:
        """Answer a path with a redirect; returns its address."""
        return self.respond(path, f"302 Found\r\nlocation: {location}")

    def endless(self, path: str) -> str:
        """Answer a path with an endless body of zeros; returns its address."""

        async def page(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                # `drain` does not yield when the peer has gone, and the loss would never be noticed.
                await asyncio.sleep(0)

        return self.page(path, page)

    def stalled(self, path: str) -> str:
        """Answer a path with the beginning of a body, then pause; returns its address."""

        async def page(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegin")
            await writer.drain()
            await self.closing.wait()

        return self.page(path, page)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            page = self._pages.get(head.split()[1])
            if page is None:
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            else:
                await page(writer)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

"""Receiver: a web server of a user's, which takes what is posted to it, or does not."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.trap_ports import bind_trap


@dataclass(frozen=True)
class Posted:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A server on a free port, with a certificate of the mesh's authority; it answers 204 by default."""

    certificates: Path
    host: str = "127.0.0.1"
    answers: list[str] = field(default_factory=list)
    """Status lines and headers that are answered next, the first one first."""
    posted: list[Posted] = field(default_factory=list)
    connections: int = 0
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Receiver:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        folder = self.certificates / "gateway"
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self._server = await asyncio.start_server(self._serve, sock=bind_trap(self.host), ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def url(self, path: str = "/hook") -> str:
        return f"https://{self.host}:{self.port}{path}"

    async def until(self, number: int) -> list[Posted]:
        """Wait until so many posts came."""
        async with asyncio.timeout(20):
            while len(self.posted) < number:
                self._came.clear()
                await self._came.wait()
        return self.posted

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            answer = self.answers.pop(0) if self.answers else "204 No Content"
            writer.write(f"HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
            self.posted.append(Posted(request.split()[1], headers, body))
            self._came.set()
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

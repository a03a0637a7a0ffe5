"""Exchange: one HTTP/1.1 request to a server that nobody vouches for, and its answer: all that it sends is limited.

A server may answer 103 without end, send headers or trailers without end, chunks of one byte, chunks with extensions of
kilobytes, or a byte a second. None of it holds up the loop, which gets a turn after every few steps, nor lasts longer
than it may.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11

READ_BYTES = 64 * 1024
# The head of an answer, each interim answer before it, and its trailers.
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
MAX_INTERIM_ANSWERS = 8
# What comes beside the body (heads, sizes of chunks, extensions, trailers) may be this long, and as long as the body.
MAX_OVERHEAD_BYTES = 128 * 1024
# The loop gets a turn after this many steps of the parser.
STEPS = 32
# The body comes at this rate at least, on average from GRACE_SECONDS on, and never pauses longer than PAUSE_SECONDS.
MIN_BYTES_PER_SECOND = 4096
GRACE_SECONDS = 15.0
PAUSE_SECONDS = 20.0


class ConnectFailed(Exception):
    """The server could not be connected: another address may do. Its cause says why."""


class Broken(Exception):
    """The server did not send a whole answer, or sent what is none."""


class Misbehaved(Exception):
    """The server sends more than it may, or too slowly; the message says what."""


class Late(Exception):
    """The time of the exchange is over."""


@dataclass(frozen=True)
class Request:
    """What is sent, and to whom."""

    address: str
    """The numeric address that is connected to."""
    port: int
    host: str
    """The name that TLS verifies."""
    context: ssl.SSLContext | None
    """None: without TLS."""
    method: bytes
    target: bytes
    """Path and query."""
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Head:
    """The status and the headers of an answer."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case; of several with one name, the last."""


@asynccontextmanager
async def exchange(request: Request, connect_seconds: float, deadline: float) -> AsyncIterator[tuple[Head, Body]]:
    """Send a request, and yield the head of the answer and its body. `deadline` is a time of the loop's clock.

    Raises ConnectFailed, Broken, Misbehaved, Late.
    """
    reader, writer = await _connect(request, connect_seconds, deadline)
    try:
        body = Body(reader, deadline)
        yield await body.begin(request, writer), body
    finally:
        # Not closed politely: the server may not care for that.
        writer.transport.abort()


async def _connect(
    request: Request, connect_seconds: float, deadline: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    within = min(loop.time() + connect_seconds, deadline)
    try:
        async with asyncio.timeout_at(within):
            return await asyncio.open_connection(
                request.address,
                request.port,
                limit=READ_BYTES,
                ssl=request.context,
                server_hostname=request.host if request.context else None,
                ssl_handshake_timeout=connect_seconds if request.context else None,
            )
    except (OSError, TimeoutError, ssl.SSLError, ssl.CertificateError, ConnectionError) as failure:
        raise ConnectFailed from failure


@dataclass
class Body:
    """The body of an answer."""

    _reader: asyncio.StreamReader
    _deadline: float
    _http: h11.Connection = field(
        default_factory=lambda: h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    )
    _received: int = 0
    """The bytes that came."""
    _content: int = 0
    """Those of the body among them."""
    _steps: int = 0

    async def begin(self, request: Request, writer: asyncio.StreamWriter) -> Head:
        """Send the request, and read the answer as far as its body. Used by `exchange` only."""
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()]
        if request.body or request.method == b"POST":
            headers.append((b"content-length", str(len(request.body)).encode()))
        sent = self._http.send(h11.Request(method=request.method, target=request.target, headers=headers)) or b""
        if request.body:
            sent += self._http.send(h11.Data(data=request.body)) or b""
        sent += self._http.send(h11.EndOfMessage()) or b""
        try:
            async with asyncio.timeout_at(self._deadline):
                writer.write(sent)
                await writer.drain()
                return await self._head()
        except TimeoutError:
            raise Late from None
        except ConnectionError as failure:
            raise Broken from failure

    async def _head(self) -> Head:
        for _ in range(MAX_INTERIM_ANSWERS + 1):
            event = await self._next()
            if isinstance(event, h11.Response):
                if len(event.headers) > MAX_HEADERS:
                    raise Misbehaved(f"the server sends more than {MAX_HEADERS} headers")
                found = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                return Head(event.status_code, found)
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                raise Broken
        raise Misbehaved(f"the server sends more than {MAX_INTERIM_ANSWERS} interim answers")

    async def chunks(self, size_bytes: int) -> AsyncGenerator[bytes, None]:
        """The bytes of the body, in chunks of about `size_bytes`."""
        clock = asyncio.get_running_loop().time
        began, held = clock(), bytearray()
        while True:
            try:
                async with asyncio.timeout_at(min(self._deadline, clock() + PAUSE_SECONDS)):
                    event = await self._next()
            except TimeoutError:
                if clock() >= self._deadline:
                    raise Late from None
                raise Misbehaved(f"the server sent nothing for {PAUSE_SECONDS:g} s") from None
            match event:
                case h11.Data():
                    held += event.data
                    self._content += len(event.data)
                case h11.EndOfMessage() | h11.ConnectionClosed():
                    if held:
                        yield bytes(held)
                    return
                case _:
                    raise Broken
            seconds = clock() - began
            if seconds > GRACE_SECONDS and self._content < seconds * MIN_BYTES_PER_SECOND:
                raise Misbehaved(f"the server sends fewer than {MIN_BYTES_PER_SECOND} bytes a second")
            if len(held) >= size_bytes:
                yield bytes(held)
                held.clear()

    async def _next(self) -> object:
        """The next event of the answer."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._check_overhead()
                data = await self._reader.read(READ_BYTES)
                self._received += len(data)
                self._http.receive_data(data)
        except h11.RemoteProtocolError as failure:
            if failure.error_status_hint == 431:
                raise Misbehaved(f"the server sends a head of more than {MAX_HEAD_BYTES} bytes") from None
            raise Broken from failure
        except (ConnectionError, ssl.SSLError) as failure:
            raise Broken from failure
        self._steps += 1
        if self._steps % STEPS == 0:
            await asyncio.sleep(0)
        return event

    def _check_overhead(self) -> None:
        if self._received - self._content > MAX_OVERHEAD_BYTES + self._content:
            raise Misbehaved("the server sends far more than the file itself, such as endless headers")

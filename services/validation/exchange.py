"""Exchange: one HTTP/1.1 request to an untrusted server, and its response within limits.

A server may send endless interim responses, headers or trailers, chunks of one byte, chunk extensions of kilobytes, or
one byte per second. None of these blocks the event loop, which gets a turn after every few events, and none outlasts
the deadline.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11

READ_BYTES = 64 * 1024
# The limit of the head of a response, of each interim response before it, and of its trailers.
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
MAX_INTERIM_RESPONSES = 8
# The limit of everything except the body (heads, chunk sizes and extensions, trailers), on top of the body's size.
MAX_OVERHEAD_BYTES = 128 * 1024
# The event loop gets a turn after this many events of the parser.
EVENTS_PER_TURN = 32
# The minimum rate of the body, on average from GRACE_SECONDS on, and its longest pause.
MIN_BYTES_PER_SECOND = 4096
GRACE_SECONDS = 15.0
MAX_PAUSE_SECONDS = 20.0


class ConnectFailed(Exception):
    """The connection to an address failed; another address may work. `__cause__` is the reason."""


class ResponseBroken(Exception):
    """The response is incomplete or malformed."""


class LimitExceeded(Exception):
    """The server sends more than the limits allow, or too slowly; the message is for the user."""


class DeadlineExpired(Exception):
    """The deadline of the exchange has expired."""


@dataclass(frozen=True)
class Request:
    """A request, and the address that it is sent to."""

    address: str
    """The numeric address to connect to."""
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
    """The status and the headers of a response."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case; of several headers with one name, the last."""


@asynccontextmanager
async def exchange(request: Request, connect_seconds: float, deadline: float) -> AsyncIterator[tuple[Head, Body]]:
    """Send a request, and yield the head and the body of the response.

    Args:
        request: The request.
        connect_seconds: The limit of the connection, including the TLS handshake.
        deadline: The end of the whole exchange, as a time of the event loop's clock.

    Raises `ConnectFailed`, `ResponseBroken`, `LimitExceeded` or `DeadlineExpired`.
    """
    reader, writer = await _connect(request, connect_seconds, deadline)
    try:
        body = Body(reader, deadline)
        yield await body.begin(request, writer), body
    finally:
        # Aborted, because the server may never complete an orderly close.
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
    """The body of a response."""

    _reader: asyncio.StreamReader
    _deadline: float
    _http: h11.Connection = field(
        default_factory=lambda: h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    )
    _received: int = 0
    """All bytes that have arrived."""
    _content: int = 0
    """The bytes of the body among them."""
    _events: int = 0

    async def begin(self, request: Request, writer: asyncio.StreamWriter) -> Head:
        """Send the request, and read the response up to its body. Only `exchange` calls it.

        Raises `ResponseBroken`, `LimitExceeded` or `DeadlineExpired`.
        """
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()]
        if request.body or request.method == b"POST":
            headers.append((b"content-length", str(len(request.body)).encode()))
        data = self._http.send(h11.Request(method=request.method, target=request.target, headers=headers)) or b""
        if request.body:
            data += self._http.send(h11.Data(data=request.body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        try:
            async with asyncio.timeout_at(self._deadline):
                writer.write(data)
                await writer.drain()
                return await self._head()
        except TimeoutError:
            raise DeadlineExpired from None
        except ConnectionError as failure:
            raise ResponseBroken from failure

    async def _head(self) -> Head:
        for _ in range(MAX_INTERIM_RESPONSES + 1):
            event = await self._next_event()
            if isinstance(event, h11.Response):
                if len(event.headers) > MAX_HEADERS:
                    raise LimitExceeded(f"the server sends more than {MAX_HEADERS} headers")
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                return Head(event.status_code, headers)
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                raise ResponseBroken
        raise LimitExceeded(f"the server sends more than {MAX_INTERIM_RESPONSES} interim responses")

    async def chunks(self, size_bytes: int) -> AsyncGenerator[bytes, None]:
        """Yield the body in chunks of about `size_bytes`.

        Raises `ResponseBroken`, `LimitExceeded` or `DeadlineExpired`.
        """
        clock = asyncio.get_running_loop().time
        began, buffer = clock(), bytearray()
        while True:
            try:
                async with asyncio.timeout_at(min(self._deadline, clock() + MAX_PAUSE_SECONDS)):
                    event = await self._next_event()
            except TimeoutError:
                if clock() >= self._deadline:
                    raise DeadlineExpired from None
                raise LimitExceeded(f"the server sent nothing for {MAX_PAUSE_SECONDS:g} s") from None
            match event:
                case h11.Data():
                    buffer += event.data
                    self._content += len(event.data)
                case h11.EndOfMessage() | h11.ConnectionClosed():
                    if buffer:
                        yield bytes(buffer)
                    return
                case _:
                    raise ResponseBroken
            seconds = clock() - began
            if seconds > GRACE_SECONDS and self._content < seconds * MIN_BYTES_PER_SECOND:
                raise LimitExceeded(f"the server sends fewer than {MIN_BYTES_PER_SECOND} bytes a second")
            if len(buffer) >= size_bytes:
                yield bytes(buffer)
                buffer.clear()

    async def _next_event(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._check_overhead()
                data = await self._reader.read(READ_BYTES)
                self._received += len(data)
                self._http.receive_data(data)
        except h11.RemoteProtocolError as failure:
            if failure.error_status_hint == 431:
                raise LimitExceeded(f"the server sends a head of more than {MAX_HEAD_BYTES} bytes") from None
            raise ResponseBroken from failure
        except (ConnectionError, ssl.SSLError) as failure:
            raise ResponseBroken from failure
        self._events += 1
        if self._events % EVENTS_PER_TURN == 0:
            await asyncio.sleep(0)
        return event

    def _check_overhead(self) -> None:
        if self._received - self._content > MAX_OVERHEAD_BYTES + self._content:
            raise LimitExceeded("the server sends far more than the file itself, such as endless headers")

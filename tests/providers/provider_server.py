"""Provider server: an HTTP server that stands for an external provider, checks every request, and fails on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import jsonschema  # type: ignore[import-untyped]

from tests.trap_ports import bind_trap


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """An answer, or the beginning of one."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    stalls: bool = False
    """Nothing is sent until the server closes."""
    cut_at: int | None = None
    """After so many bytes of the body the connection ends."""
    stalls_at: int | None = None
    """After so many bytes of the body nothing is sent until the server closes."""


STALLED = Answer(stalls=True)
HTML = Answer(200, b"<html><body>Sign in to the network</body></html>", {"content-type": "text/html; charset=utf-8"})


def json_answer(document: Any, status: int = 200, **headers: str) -> Answer:
    """An answer in JSON; `retry_after="7"` is the header `retry-after: 7`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(document).encode(), {"content-type": "application/json", **named})


class ProviderServer:
    """A server on a free port of this machine. A subclass answers as one provider does.

    `violations` lists what the provider's published protocol does not allow; a test expects it to be empty at the end.
    """

    def __init__(self, handle: Callable[[Request], Answer] | None = None) -> None:
        self._handle = handle
        self.answers: list[Answer | None] = []
        """What is answered next in place of the provider's own answer, the first one first; None: its own answer."""
        self.default: Answer | None = None
        """What is answered after `answers` in place of the provider's own answer."""
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Any:
        self._server = await asyncio.start_server(self._serve, sock=bind_trap("127.0.0.1"))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def handle(self, request: Request) -> Answer:
        """The provider's answer to a request."""
        return self._handle(request) if self._handle else json_answer({"path": request.path})

    def check(self, request: Request, schema: Mapping[str, Any]) -> str:
        """What a body violates in a schema; empty when it is valid."""
        try:
            document = request.json()
        except ValueError:
            return "the body is no JSON"
        error = jsonschema.Draft202012Validator(schema).iter_errors(document)
        return "; ".join(f"{each.json_path}: {each.message}" for each in error)

    def refuse(self, problem: str, answer: Answer) -> Answer:
        """Record a violation of the protocol, and return the provider's answer to it."""
        self.violations.append(problem)
        return answer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _read(reader)
            self.requests.append(request)
            answer = self.handle(request)
            if self.answers:
                answer = self.answers.pop(0) or answer
            elif self.default:
                answer = self.default
            await self._send(writer, answer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        if answer.stalls:
            await self._closing.wait()
            return
        headers = {"content-length": str(len(answer.body)), "connection": "close", **answer.headers}
        head = [f"HTTP/1.1 {answer.status} Status", *(f"{name}: {value}" for name, value in headers.items())]
        end = answer.cut_at if answer.stalls_at is None else answer.stalls_at
        writer.write("\r\n".join([*head, "\r\n"]).encode() + answer.body[:end])
        await writer.drain()
        if answer.stalls_at is not None:
            await self._closing.wait()


async def _read(reader: asyncio.StreamReader) -> Request:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split()
    address = urlsplit(target)
    return Request(method, unquote(address.path), dict(parse_qsl(address.query)), headers, body)


class Clock:
    """A clock that tests set, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

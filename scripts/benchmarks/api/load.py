"""An open load over HTTP/1.1, created by a process of its own.

Reads a `Plan` as JSON from standard input, and prints the `Answers`. A response time counts from the moment at which
the request was due, so that a slow server is measured as its users see it. This module imports only the standard
library, to take little CPU from the server.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass

# A request without a response after this time counts as failed.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Plan:
    """A load."""

    port: int
    requests: list[str]
    """Whole HTTP/1.1 requests, sent in rotation."""
    per_second: float
    """The mean rate; the moments are random (a Poisson process)."""
    seconds: float
    status: int
    """The expected HTTP status."""
    seed: int = 1


@dataclass(frozen=True)
class Answers:
    """The responses to a load."""

    seconds: list[float]
    """The times of the successful responses, in their order."""
    bad: int
    """The number of requests with another status, or without a response."""


async def send_load(plan: Plan) -> Answers:
    """Send a load from a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", __file__), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(json.dumps(asdict(plan)).encode())
    return Answers(**json.loads(output))


class _Connection(asyncio.Protocol):
    """A connection, which carries one request at a time."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._buffer = b""
        self._due = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, due: float, request: bytes) -> None:
        self._due, self._buffer = due, b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        size = head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
        if len(body) == int(size):
            self._load.record_answer(self, self._due, int(head[9:12]))

    def connection_lost(self, failure: Exception | None) -> None:
        self._load.record_loss(self)


class _Load:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._idle: deque[_Connection] = deque()
        self._requests = [request.encode() for request in plan.requests]
        self._left = 0
        self._done = asyncio.Event()
        self._busy: set[_Connection] = set()
        self._seconds: list[float] = []

    async def run(self) -> Answers:
        chance, now = random.Random(self._plan.seed), 0.0  # noqa: S311  no secret
        moments = []
        while (now := now + chance.expovariate(self._plan.per_second)) < self._plan.seconds:
            moments.append(now)
        self._left = len(moments)
        opening: set[asyncio.Task[None]] = set()
        begin = time.perf_counter()
        for number, moment in enumerate(moments):
            if (pause := begin + moment - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            request = self._requests[number % len(self._requests)]
            if self._idle:
                self._send(self._idle.pop(), begin + moment, request)
            else:
                task = asyncio.create_task(self._open(begin + moment, request))
                opening.add(task)
                task.add_done_callback(opening.discard)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._done.wait()
        return Answers(self._seconds, len(moments) - len(self._seconds))

    async def _open(self, due: float, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._plan.port)
        self._send(connection, due, request)

    def _send(self, connection: _Connection, due: float, request: bytes) -> None:
        self._busy.add(connection)
        connection.send(due, request)

    def record_answer(self, connection: _Connection, due: float, status: int) -> None:
        if status == self._plan.status:
            self._seconds.append(time.perf_counter() - due)
        self._busy.discard(connection)
        self._idle.append(connection)
        self._count()

    def record_loss(self, connection: _Connection) -> None:
        if connection in self._busy:
            self._busy.discard(connection)
            self._count()
        else:
            self._idle.remove(connection)

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            self._done.set()


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    gc.disable()

    async def run() -> Answers:
        return await _Load(plan).run()

    json.dump(asdict(asyncio.run(run())), sys.stdout)


if __name__ == "__main__":
    main()

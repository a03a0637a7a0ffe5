"""Load: requests over HTTP/1.1 at a rate that does not heed the answers, by a process of its own.

Reads what to do as JSON from standard input (`Plan`) and prints seconds as JSON, one figure a request: from the moment
at which it was to be sent until its answer was whole. A server that falls behind is thus seen as its users see it.
It imports nothing but the standard library, so that it takes as little of the machine as it can.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass

# A request that is not answered by then was lost.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Plan:
    """A load."""

    port: int
    requests: list[str]
    """Whole HTTP/1.1 requests, which are sent in turn."""
    per_second: float
    """How many are sent, at moments that are as random as users are."""
    seconds: float
    status: int
    """What each is to be answered."""
    seed: int = 1


async def offer(plan: Plan) -> list[float]:
    """The load from a process of its own: seconds that each answer took, in the order of the answers."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", __file__), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(json.dumps(asdict(plan)).encode())
    if process.returncode:
        raise RuntimeError("the load was not answered as it should be")
    found: list[float] = json.loads(output)
    return found


class _Connection(asyncio.Protocol):
    """A connection, on which one request is answered after the other."""

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
            self._load.answered(self, self._due, int(head[9:12]))

    def connection_lost(self, failure: Exception | None) -> None:
        self._load.lost(self)


class _Load:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._idle: deque[_Connection] = deque()
        self._requests = [request.encode() for request in plan.requests]
        self._left = 0
        self._done = asyncio.Event()
        self._closing = False
        self.took: list[float] = []
        self.failure = ""

    async def run(self) -> list[float]:
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
                self._idle.pop().send(begin + moment, request)
            else:
                task = asyncio.create_task(self._open(begin + moment, request))
                opening.add(task)
                task.add_done_callback(opening.discard)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._done.wait()
        self._closing = True
        return self.took

    async def _open(self, due: float, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._plan.port)
        connection.send(due, request)

    def answered(self, connection: _Connection, due: float, status: int) -> None:
        self.took.append(time.perf_counter() - due)
        if status != self._plan.status:
            self._fail(f"answered {status}")
        self._idle.append(connection)
        self._left -= 1
        if not self._left:
            self._done.set()

    def lost(self, connection: _Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        elif not self._closing:
            self._fail("a connection was lost")

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why
        self._done.set()


def main() -> int:
    plan = Plan(**json.load(sys.stdin))
    gc.disable()

    async def run() -> tuple[list[float], str]:
        load = _Load(plan)
        return await load.run(), load.failure

    took, failure = asyncio.run(run())
    if failure:
        print(failure, file=sys.stderr)
        return 1
    json.dump(took, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

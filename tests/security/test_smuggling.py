"""Smuggling: ambiguous requests are refused at once, and error responses reveal nothing internal."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from tests.gateway.proxy import Proxy

SECONDS = 2.0
"""The maximum response time: more than a busy machine needs, and less than the 30 s of a request that hangs."""
HEAD = "host: here\r\nconnection: close\r\n"
POST = f"POST /v1/auth/sign-in HTTP/1.1\r\n{HEAD}"
CHUNKS = f"{POST}transfer-encoding: chunked\r\n\r\n"

SHAPES = {
    "two hosts": "GET /health HTTP/1.1\r\nhost: here\r\nhost: there\r\n\r\n",
    "two equal hosts": "GET /health HTTP/1.1\r\nhost: here\r\nhost: here\r\n\r\n",
    "no host": "GET /health HTTP/1.1\r\n\r\n",
    "an empty host": "GET /health HTTP/1.1\r\nhost:\r\n\r\n",
    "a host with a path": "GET /health HTTP/1.1\r\nhost: here/there\r\n\r\n",
    "a host with a user": "GET /health HTTP/1.1\r\nhost: me@here\r\n\r\n",
    "a host and a blank": "GET /health HTTP/1.1\r\nhost: here there\r\n\r\n",
    "lines without CR": "GET /health HTTP/1.1\nhost: here\n\n",
    "lines without CR, with a token": "GET /v1/videos HTTP/1.1\nhost: h\nauthorization: Bearer a.b.c\n\n",
    "lines without CR, with a connection": "GET /health HTTP/1.1\nhost: here\nconnection: close\n\n",
    "CONNECT": "CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: 127.0.0.1:22\r\n\r\n",
    "CONNECT to a path": "CONNECT /health HTTP/1.1\r\nhost: here\r\n\r\n",
    "an absolute address": "GET http://there/health HTTP/1.1\r\nhost: here\r\n\r\n",
    "an absolute address of us": "GET http://here/health HTTP/1.1\r\nhost: here\r\n\r\n",
    "an asterisk": f"OPTIONS * HTTP/1.1\r\n{HEAD}\r\n",
    "a blank before a colon": f"GET /health HTTP/1.1\r\n{HEAD}x : y\r\n\r\n",
    "a folded line": f"GET /health HTTP/1.1\r\n x: y\r\n{HEAD}\r\n",
    "a line without colon": f"GET /health HTTP/1.1\r\n{HEAD}nonsense\r\n\r\n",
    "a NUL in a header": f"GET /health HTTP/1.1\r\n{HEAD}x: a\0b\r\n\r\n",
    "an underscore in a name": f"GET /health HTTP/1.1\r\n{HEAD}content_length: 1\r\n\r\n",
    "two lengths": f"{POST}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}",
    "a length and chunks": f"{POST}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
    "chunks without CR": f"{POST}transfer-encoding: chunked\r\n\r\n2\n{{}}\n0\n\n",
    "a chunk size without CR": f"{CHUNKS}2\n{{}}\r\n0\r\n\r\n",
    "a chunk without CR": f"{CHUNKS}2\r\n{{}}\n0\r\n\r\n",
    "a chunk extension without CR": f"{CHUNKS}2;a=b\n{{}}\r\n0\r\n\r\n",
    "a chunk extension with LF": f"{CHUNKS}2;a\nb\r\n{{}}\r\n0\r\n\r\n",
    "a last chunk without CR": f"{CHUNKS}2\r\n{{}}\r\n0\n\r\n",
    "two encodings": f"{POST}transfer-encoding: gzip, chunked\r\n\r\n",
    "HTTP/0.9": "GET /health\r\n\r\n",
    "HTTP/1.0": "GET /health HTTP/1.0\r\n\r\n",
    "HTTP/3": "GET /health HTTP/3.0\r\nhost: here\r\n\r\n",
    "a websocket": "GET /health HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}

# Text that an error must not contain: names of the gateway's software, headers and clusters, and addresses.
INSIDE = re.compile(
    r"envoy|upstream|cluster|filter|lua|rbac|jwt|transcod|codec|127\.0\.0\.1|localhost|errno|x-http|x-wire|:authority|"
    r"orchestrator|delayed connect",
    re.IGNORECASE,
)


def assert_nothing_internal(answer: str) -> None:
    head, _, body = answer.partition("\r\n\r\n")
    assert not INSIDE.search(body), body
    names = [line.partition(":")[0].lower() for line in head.split("\r\n")[1:]]
    assert not [name for name in names if name.startswith(("x-envoy", "x-http", "x-wire", "grpc-"))]


@pytest.mark.parametrize("shape", SHAPES)
async def test_ambiguous_requests_are_refused_at_once(gateway: Proxy, shape: str) -> None:
    began = time.monotonic()
    answer = await gateway.send_raw(SHAPES[shape].encode("latin-1"))
    assert time.monotonic() - began < SECONDS
    assert int(answer.split()[1]) in (400, 403, 426, 501), answer
    assert "username" not in answer, "the service received the request"
    assert_nothing_internal(answer)


async def test_pipelined_requests_are_parsed_separately(gateway: Proxy, bearer: dict[str, str]) -> None:
    """However the bytes are split: the bytes of one request never count for another."""
    one = f"GET /v1/videos HTTP/1.1\r\nhost: h\r\nauthorization: {bearer['authorization']}\r\n\r\n"
    two = "POST /v1/auth/sign-in HTTP/1.1\r\nhost:h\r\ncontent-length:2\r\n\r\n{}"
    whole = (one + two + one + two + one).encode()
    for cuts in (
        [],
        [10],
        [len(one)],
        [len(one) + 5],
        [len(one) + len(two) - 1],
        [7, len(one) - 2, len(one) + 20, 400],
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
        try:
            last = 0
            for cut in (*sorted(cuts), len(whole)):
                writer.write(whole[last:cut])
                await writer.drain()
                last = cut
            found = []
            async with asyncio.timeout(20):
                for _ in range(5):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    length = re.search(r"(?i)content-length: (\d+)", head)
                    assert length is not None
                    body = (await reader.readexactly(int(length[1]))).decode()
                    found.append((int(head.split()[1]), "CR and LF" in body))
            assert [status for status, _ in found] == [200, 400, 200, 400, 200]
            assert not any(lines for _, lines in found)
        finally:
            writer.transport.abort()


async def read_statuses(gateway: Proxy, request: bytes, count: int) -> list[int]:
    """Send pipelined requests in one write; returns the statuses of up to `count` responses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
    found: list[int] = []
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            while len(found) < count:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                found.append(int(head.split()[1]))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # Closed after an error.
    finally:
        writer.transport.abort()
    return found


async def test_a_single_lf_has_one_meaning(gateway: Proxy, bearer: dict[str, str]) -> None:
    """Envoy takes a LF for a line end and has no setting against it; nothing behind it parses lines.

    Wherever one line of two pipelined requests ends with LF alone, the gateway answers as for CR and LF, or refuses: no
    byte of one request counts for another, and a header is not hidden in another one's value.
    """
    token = bearer["authorization"]
    lines = (
        *(
            "POST /v1/auth/sign-in HTTP/1.1",
            "host:h",
            "x:y",
            "transfer-encoding:chunked",
            "",
            "2",
            "{}",
            "0",
            "t:u",
            "",
        ),
        *("GET /v1/videos HTTP/1.1", "host:h", f"authorization:{token}", "x:y", ""),
    )
    whole = [line + "\r\n" for line in lines]
    expected = await read_statuses(gateway, "".join(whole).encode(), 2)
    assert expected == [400, 200]
    accepted = 0
    for number, line in enumerate(lines):
        request = "".join([*whole[:number], line + "\n", *whole[number + 1 :]]).encode()
        found = await read_statuses(gateway, request, 2)
        accepted += found == expected
        # Refused in the first request, whose connection is closed, or in the second one.
        assert found in (expected, [400], [400, 400]), (line, found)
    # As docs/verification.md states, some are accepted.
    assert 0 < accepted < len(lines)
    # Two of them end the head. What follows is a request of its own, which needs a token of its own.
    smuggled = f"GET /v1/videos HTTP/1.1\r\nhost:h\r\nauthorization:{token}\r\nx: y\n\n"
    assert await read_statuses(gateway, (smuggled + "GET /v1/videos HTTP/1.1\r\nhost:h\r\n\r\n").encode(), 2) in (
        [200, 401],
        [400, 401],
        [400],
    )


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("GET", "/nothing", ""),
        ("DELETE", "/v1/videos", ""),
        ("GET", "/v1/videos", ""),
        ("GET", "/v1/videos?nonsense=1", ""),
        ("POST", "/v1/auth/sign-in", '{"x":1}'),
        ("POST", "/v1/auth/sign-in", "nonsense"),
        ("POST", "/v1/auth/sign-in", '{"username": 1, "password": []}'),
        ("POST", "/v1/auth/sign-in", '{"username": {"a": 1}}'),
        # This platform has no media services.
        ("GET", "/v1/voices", ""),
        ("POST", "/v1/scripts", '{"topic":"x"}'),
        ("POST", "/moneyprinter.video.v1.VideoService/ListVideos", ""),
    ],
)
async def test_no_error_reveals_internals(
    gateway: Proxy, bearer: dict[str, str], verb: str, path: str, body: str
) -> None:
    for token in (
        "",
        f"authorization: {bearer['authorization']}\r\n",
        "authorization: Bearer a.b.c\r\n",
        "authorization: x\r\n",
    ):
        request = f"{verb} {path} HTTP/1.1\r\n{HEAD}{token}content-length: {len(body)}\r\n\r\n{body}"
        answer = await gateway.send_raw(request)
        if int(answer.split()[1]) >= 400:
            assert_nothing_internal(answer)

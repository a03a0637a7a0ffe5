"""Files: downloads with their length, and uploads that are never buffered as a whole."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.runtime import children
from tests.gateway.platform import ETAG, FILE, PART, Platform
from tests.gateway.proxy import Proxy

MIB = 1 << 20


@pytest.mark.parametrize(("path", "name"), [("file", "video.mp4"), ("files/poster.jpg", "poster.jpg")])
@pytest.mark.parametrize("base", ["/v1/videos/vid_1", "/videos/vid_1"])
async def test_a_file_arrives_whole_with_its_headers(
    gateway: Proxy, bearer: dict[str, str], base: str, path: str, name: str
) -> None:
    answer = await gateway.http.get(f"{base}/{path}", headers=bearer)
    assert answer.status_code == 200
    assert answer.content == FILE
    assert answer.headers["content-length"] == str(len(FILE))
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["x-content-sha256"] == hashlib.sha256(FILE).hexdigest()


@pytest.mark.parametrize("path", ["file", "files/480p.mp4"])
async def test_a_range_of_a_file_is_206(gateway: Proxy, bearer: dict[str, str], path: str) -> None:
    answer = await gateway.http.get(f"/v1/videos/vid_1/{path}", headers={**bearer, "range": "bytes=0-999"})
    assert (answer.status_code, answer.content) == (206, PART)
    assert answer.headers["content-range"] == f"bytes 0-999/{len(FILE)}"
    assert answer.headers["content-length"] == "1000"


@pytest.mark.parametrize(
    ("path", "kind", "held"),
    [
        ("preview.m3u8", "application/vnd.apple.mpegurl", b"playlist"),
        ("preview/segment-0.m4s", "video/mp4", b"segment-0.m4s"),
    ],
)
@pytest.mark.parametrize("base", ["/v1/videos/vid_1", "/api/v1/videos/vid_1", "/videos/vid_1"])
async def test_a_preview_is_a_playlist_and_its_files(
    gateway: Proxy, bearer: dict[str, str], base: str, path: str, kind: str, held: bytes
) -> None:
    answer = await gateway.http.get(f"{base}/{path}", headers=bearer)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, kind, held)


async def test_the_connection_can_be_reused_after_a_download(gateway: Proxy, bearer: dict[str, str]) -> None:
    """Also after a response without a body, which must leave no byte on the connection."""
    head = f"host: here\r\nauthorization: {bearer['authorization']}\r\n"
    path = "/v1/videos/vid_1/file"
    requests = [
        f"GET {path} HTTP/1.1\r\n{head}\r\n",
        f"HEAD {path} HTTP/1.1\r\n{head}\r\n",
        f"GET {path} HTTP/1.1\r\n{head}if-none-match: {ETAG}\r\n\r\n",
        f"GET {path} HTTP/1.1\r\n{head}range: bytes={len(FILE)}-\r\n\r\n",
        f"HEAD /v1/videos HTTP/1.1\r\n{head}\r\n",
        f"GET /v1/videos HTTP/1.1\r\n{head}\r\n",
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
    found = []
    try:
        async with asyncio.timeout(20):
            for request in requests:
                writer.write(request.encode())
                answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                assert "connection: close" not in answer
                status, length = int(answer.split()[1]), re.search(r"content-length: (\d+)", answer)
                if not request.startswith("HEAD") and status != 304:
                    assert length is not None
                    await reader.readexactly(int(length[1]))
                found.append((status, int(length[1]) if length else None))
    finally:
        writer.transport.abort()
    assert [status for status, _ in found] == [200, 200, 304, 416, 200, 200]
    assert found[0][1] == found[1][1] == len(FILE)


async def test_head_is_get_without_its_body(gateway: Proxy, bearer: dict[str, str]) -> None:
    own = ("x-request-id", "date", "x-ratelimit-remaining")
    files = ("/v1/videos/vid_1/file", "/v1/videos/vid_1/preview.m3u8")
    for path in ("/health", "/v1/videos", *files, "/docs", "/v1/nothing", "/v1/videos/vid_none/status"):
        get, head = [await gateway.http.request(verb, path, headers=bearer) for verb in ("GET", "HEAD")]
        assert head.status_code == get.status_code
        assert head.content == b""
        names = set(get.headers) - {"transfer-encoding"}
        assert {name: head.headers.get(name) for name in names if name not in own} == {
            name: get.headers[name] for name in names if name not in own
        }, path
    for path in ("/v1/events", "/v1/videos/vid_1/watch"):
        head = await gateway.http.head(path, headers=bearer, timeout=5)
        assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream")
    assert (await gateway.http.head("/v1/videos")).status_code == 401


async def test_a_file_with_a_matching_etag_is_not_sent_again(gateway: Proxy, bearer: dict[str, str]) -> None:
    path = "/v1/videos/vid_1/file"
    first = await gateway.http.get(path, headers=bearer)
    assert first.headers["etag"] == ETAG
    again = await gateway.http.get(path, headers={**bearer, "if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", ETAG)


async def test_a_range_past_the_end_is_416_with_the_length(gateway: Proxy, bearer: dict[str, str]) -> None:
    answer = await gateway.http.get("/v1/videos/vid_1/file", headers={**bearer, "range": f"bytes={len(FILE)}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(FILE)}")
    assert answer.json()["details"][0]["reason"] == "REQUEST_INVALID"


async def test_conditions_and_digests_reach_the_service(
    platform: Platform, gateway: Proxy, bearer: dict[str, str]
) -> None:
    await gateway.http.get("/v1/videos/vid_1/file", headers={**bearer, "if-range": '"x"', "if-none-match": '"y"'})
    assert (platform.videos.metadata["if-range"], platform.videos.metadata["if-none-match"]) == ('"x"', '"y"')
    digests = {"content-md5": "x", "content-digest": "x", "repr-digest": "x", "x-content-sha256": "x"}
    await gateway.http.post("/v1/assets?filename=a.mp4", content=b"x", headers={**bearer, **digests})
    assert {name: platform.videos.metadata.get(name) for name in digests} == digests


async def test_a_preview_that_is_not_ready_is_503_with_retry_after(gateway: Proxy, bearer: dict[str, str]) -> None:
    answer = await gateway.http.get("/v1/videos/vid_early/preview.m3u8", headers=bearer)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["details"][0]["reason"] == "VIDEO_NOT_READY"


@pytest.mark.parametrize("path", ["/v1/assets?filename=a.mp4", "/v1/clips/probe-file", "/v1/videos"])
async def test_a_form_is_refused_with_advice(gateway: Proxy, bearer: dict[str, str], path: str) -> None:
    answer = await gateway.http.post(path, files={"file": b"x"}, headers=bearer)
    assert answer.status_code == 415
    assert "--data-binary" in answer.json()["message"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "x"])
async def test_a_compressed_body_is_refused(gateway: Proxy, bearer: dict[str, str], encoding: str) -> None:
    for path in ("/v1/assets?filename=a.mp4", "/v1/videos"):
        answer = await gateway.http.post(path, content=b"x", headers={**bearer, "content-encoding": encoding})
        assert answer.status_code == 415


async def test_a_client_detects_a_cut_file_at_once(gateway: Proxy, bearer: dict[str, str]) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="received 524288 bytes, expected 1048576"):
        await gateway.http.get("/v1/videos/vid_cut/file", headers=bearer, timeout=5)


async def test_a_client_detects_a_file_cut_by_the_end_of_its_token(gateway: Proxy, platform: Platform) -> None:
    """Also when the server cancels the handler, which raises no error itself."""
    token = platform.mesh.token(exp=int(time.time()) + 3)
    with pytest.raises(httpx.RemoteProtocolError, match="received 524288 bytes, expected 1048576"):
        await gateway.http.get("/v1/videos/vid_stalls/file", headers={"authorization": f"Bearer {token}"}, timeout=20)


@pytest.mark.parametrize(("job", "whole"), [("vid_1", True), ("vid_cut", False)])
async def test_a_client_detects_a_cut_file_over_http_2(
    gateway: Proxy, bearer: dict[str, str], job: str, whole: bool
) -> None:
    curl = shutil.which("curl")
    if curl is None or b"HTTP2" not in await children.run([curl, "--version"]):
        pytest.skip("needs a curl that speaks HTTP/2")
    url = f"http://{gateway.address}/v1/videos/{job}/file"
    header = f"authorization: {bearer['authorization']}"
    command = [curl, "--silent", "--http2-prior-knowledge", "--header", header, url]
    if whole:
        assert await children.run(command) == FILE
    else:
        with pytest.raises(children.ChildFailed):
            await children.run(command)


@pytest.mark.parametrize(
    ("job", "status", "reason"), [("vid_none", 404, "VIDEO_NOT_FOUND"), ("vid_unreadable", 500, "DATA_CORRUPT")]
)
async def test_a_missing_file_is_an_error_and_not_a_file(
    gateway: Proxy, bearer: dict[str, str], job: str, status: int, reason: str
) -> None:
    answer = await gateway.http.get(f"/v1/videos/{job}/file", headers=bearer)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["details"][0]["reason"] == reason
    assert answer.headers.get("retry-after") == ("1" if status >= 500 else None)
    assert not {"content-disposition", "x-content-sha256"} & set(answer.headers)


@pytest.mark.parametrize("name", ["Passwd", "a b", "a" * 65])
async def test_an_invalid_file_name_is_refused_by_the_contract(
    gateway: Proxy, bearer: dict[str, str], name: str
) -> None:
    answer = await gateway.http.get(f"/v1/videos/vid_1/files/{name}", headers=bearer)
    assert answer.status_code == 400
    assert answer.json()["details"][0]["reason"] == "REQUEST_INVALID"


@pytest.mark.parametrize("size", [0, 1, MIB, 5_000_000])
async def test_an_upload_arrives_as_it_was_sent(gateway: Proxy, bearer: dict[str, str], size: int) -> None:
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    name = "a walk + é.mp4"
    answer = await gateway.http.post("/v1/assets", params={"filename": name}, content=body, headers=bearer)
    assert answer.status_code == 201
    digest = hashlib.sha256(body).hexdigest()
    assert answer.json() == {"asset_id": "ast_1", "filename": name, "size_bytes": size, "sha256": digest}


def peak_bytes(gateway: Proxy) -> int:
    """Return the peak memory of Envoy so far."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


async def test_a_large_upload_is_streamed_and_not_buffered(gateway: Proxy, bearer: dict[str, str]) -> None:
    pieces, piece = 100, b"\xa5" * MIB
    digest = hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            digest.update(piece)
            yield piece

    before = peak_bytes(gateway)
    answer = await gateway.http.post("/v1/assets", params={"filename": "big.mp4"}, content=body(), headers=bearer)
    assert answer.status_code == 201
    assert (answer.json()["size_bytes"], answer.json()["sha256"]) == (pieces * MIB, digest.hexdigest())
    assert peak_bytes(gateway) - before < 32 * MIB


async def endless_upload(gateway: Proxy, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any], int]:
    """Upload without end, and read meanwhile, as curl does. Returns status, body, and the MiB sent until then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
    sent = 0

    async def send() -> None:
        nonlocal sent
        while True:
            writer.write(b"100000\r\n" + b"x" * MIB + b"\r\n")
            await writer.drain()
            sent += 1

    lines = [f"POST {path} HTTP/1.1", "host: here", "transfer-encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(line for line in head.splitlines() if line.startswith("content-length"))
            body = await reader.readexactly(int(length.split()[1]))
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        writer.transport.abort()
    return int(head.split()[1]), json.loads(body), sent


async def test_an_upload_refused_midway_gets_the_reason(gateway: Proxy, bearer: dict[str, str]) -> None:
    status, body, _ = await endless_upload(gateway, "/v1/assets?filename=endless", bearer)
    assert (status, body["details"][0]["reason"]) == (429, "ASSET_TOO_LARGE")


async def test_an_upload_without_a_token_is_refused_before_it_is_read(gateway: Proxy) -> None:
    status, body, sent = await endless_upload(gateway, "/v1/assets?filename=big.mp4", {})
    assert (status, body["code"]) == (401, 16)
    assert sent < 20

"""Claims: the gateway trusts no header and no spelling of a path with which a client claims something about itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.contracts import load_methods
from tests.gateway import proxy
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy

VIDEO = {"title": "A walk", "clips": [{"url": "https://example.com/a.mp4"}]}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

SPOOFED = {
    "x-auth-sub": "root",
    "x-user-id": "root",
    "x-user-roles": "root",
    "x-client-address": "6.6.6.6",
    "x-forwarded-for": "6.6.6.6",
    "x-forwarded-proto": "spoofed",
    "x-real-ip": "6.6.6.6",
    "forwarded": "for=6.6.6.6",
    "x-envoy-external-address": "6.6.6.6",
    "x-envoy-internal": "true",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-original-path": "/health",
    "x-envoy-decorator-operation": "root",
    "x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/moneyprinter/sa/orchestrator",
    "x-http-code": "201",
    "x-request-id": "root",
}


async def test_headers_with_claims_of_a_client_are_dropped(
    platform: Platform, gateway: Proxy, bearer: dict[str, str]
) -> None:
    answer = await gateway.http.post("/v1/videos", json=VIDEO, headers={**bearer, "traceparent": TRACE, **SPOOFED})
    assert answer.status_code == 202
    arrived = {name: str(value) for name, value in platform.videos.metadata.items()}
    for name, value in SPOOFED.items():
        assert arrived.get(name) != value, name
    assert "root" not in arrived.values()
    assert arrived["x-client-address"] == "127.0.0.1"
    assert "6.6.6.6" not in arrived["x-forwarded-for"]
    assert (arrived["traceparent"], arrived["authorization"]) == (TRACE, bearer["authorization"])


@pytest.mark.parametrize(
    "header",
    [
        *("%7mue: x", "x!y: z", "x-\xe9: z", "x-odd: \xff", "range: \xff", "some-bin: !!!", "grpc-tags-bin: !!!"),
        *("grpc-timeout: soon", "grpc-timeout: 1n", "grpc-encoding: nonsense", "x-unheard-of: x", "cookie: a=b"),
    ],
)
async def test_unknown_headers_are_not_forwarded(
    platform: Platform, gateway: Proxy, bearer: dict[str, str], header: str
) -> None:
    """Including those that gRPC cannot parse."""
    body = json.dumps(VIDEO)
    lines = ["POST /v1/videos HTTP/1.1", "host: here", f"content-length: {len(body)}", header]
    lines += ["content-type: application/json", f"authorization: {bearer['authorization']}", "", body]
    platform.videos.metadata = {}
    answer = await gateway.send_raw("\r\n".join(lines).encode("latin-1"))
    name = header.partition(":")[0]
    if name == "x-\xe9":
        assert answer.startswith("HTTP/1.1 400 "), "it is no header at all"
    elif name == "grpc-encoding":
        assert answer.startswith("HTTP/1.1 415 "), "no request is compressed"
    else:
        assert answer.startswith("HTTP/1.1 202 ")
        assert platform.videos.metadata["x-client-address"] == "127.0.0.1"
        assert name not in platform.videos.metadata


async def test_trusted_proxies_name_the_client(platform: Platform, bearer: dict[str, str], tmp_path: Path) -> None:
    """The rightmost entries come from trusted proxies; entries to the left of them come from the client."""
    behind = platform.gateway().model_copy(update={"trusted_proxies": 1})
    async with proxy.run_proxy(behind, tmp_path / "gateway") as gateway:
        await gateway.wait_for_keys()
        headers = {**bearer, "x-forwarded-for": "6.6.6.6, 203.0.113.9", "x-client-address": "6.6.6.6"}
        answer = await gateway.http.post("/v1/videos", json=VIDEO, headers=headers)
        assert answer.status_code == 202
        assert platform.videos.metadata["x-client-address"] == "203.0.113.9"


@pytest.mark.parametrize(
    "given",
    ["", "x", "00-0-0-01", TRACE.upper(), TRACE.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32), f'{TRACE}"x'],
)
async def test_a_request_without_a_valid_trace_gets_one_from_its_request_id(
    platform: Platform, gateway: Proxy, bearer: dict[str, str], given: str
) -> None:
    answer = await gateway.http.post("/v1/videos", json=VIDEO, headers={**bearer, "traceparent": given})
    trace = answer.headers["x-request-id"].replace("-", "")
    assert re.fullmatch(f"00-{trace}-[0-9a-f]{{16}}-01", platform.videos.metadata["traceparent"])


PUBLIC = ("/health", "/v1/auth/jwks.json")
SECRET = "/v1/videos"
INTERNAL = next(method.path for method in load_methods() if method.path.endswith("ConfigService/GetSecret"))

# Spellings of paths that another server may interpret differently from the gateway: each must be refused, or have its
# literal meaning.
TRICKS = [
    # A public path that normalizes to another one.
    *(f"{public}/..%2f..%2f..{SECRET}" for public in PUBLIC),
    *(f"{public}/../../..{SECRET}" for public in PUBLIC),
    *(f"{public}/.%2e/%2e%2e/..{SECRET}" for public in PUBLIC),
    *(f"{public}%2f..{SECRET}" for public in PUBLIC),
    *(
        f"{public}{end}{SECRET}"
        for public in PUBLIC
        for end in (";", "%3b", "%00", "%0a", "%23", "%3f", "%5c..", "\\..")
    ),
    f"/health//..{SECRET}",
    f"//health/..{SECRET}",
    f"/./health/..{SECRET}",
    # A protected path in spellings that a literal match would miss.
    "/v1//videos",
    "//v1/videos",
    "/v1/./videos",
    "/v1/x/../videos",
    "/v1/%76ideos",
    "/V1/Videos",
    "/v1/videos/",
    "/v1/videos%20",
    "/v1/videos%00",
    "/v1/videos%2f",
    "/v1/videos;x=1",
    "/api//v1/videos",
    "/api/v1/../v1/videos",
    "/API/v1/videos",
    "/videos/../v1/videos",
    "/api/api/v1/videos",
    # Internal paths.
    INTERNAL,
    INTERNAL.lower(),
    f"/api{INTERNAL}",
    f"/health/..{INTERNAL}",
    f"/v1/videos/..%2f..{INTERNAL}",
    f"/{INTERNAL}",
    "/grpc.health.v1.Health/Check",
    "/config_dump",
    "/stats",
    "/quitquitquit",
]


@pytest.mark.parametrize("path", TRICKS)
async def test_no_spelling_of_a_path_bypasses_the_token(gateway: Proxy, path: str) -> None:
    for verb in ("GET", "POST"):
        head = f"{verb} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
        answer = await gateway.send_raw(head)
        assert int(answer.split()[1]) in (400, 401, 403, 404, 405, 415), answer
        assert '"videos"' not in answer


@pytest.mark.parametrize("path", TRICKS)
async def test_with_a_token_every_spelling_is_the_list_of_videos_or_refused(
    gateway: Proxy, bearer: dict[str, str], path: str
) -> None:
    head = f"GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\nauthorization: {bearer['authorization']}\r\n\r\n"
    answer = await gateway.send_raw(head)
    status = int(answer.split()[1])
    assert status in (200, 400, 403, 404, 405), answer
    if status == 200:
        assert answer.endswith('{"videos":[],"next_page_token":"0 "}')


@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://evil.example/v1/videos HTTP/1.1",
        "GET //evil.example/v1/videos HTTP/1.1",
        "GET v1/videos HTTP/1.1",
        "GET /v1/videos#/health HTTP/1.1",
        "GET /health#/../v1/videos HTTP/1.1",
        "CONNECT 127.0.0.1:22 HTTP/1.1",
        "TRACE /v1/videos HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET /v1/videos HTTP/1.0",
        "GET /v1/videos HTTP/0.9",
        "get /v1/videos HTTP/1.1",
    ],
)
async def test_no_request_line_bypasses_the_token(gateway: Proxy, request_line: str) -> None:
    answer = await gateway.send_raw(f"{request_line}\r\nhost: here\r\nconnection: close\r\n\r\n")
    assert answer == "" or int(answer.split()[1]) >= 400, answer
    assert '"videos"' not in answer


@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: 4", "transfer-encoding: chunked"],
        ["content-length: 4", "content-length: 40"],
        ["content-length: 4, 40"],
        ["content-length: +4"],
        ["transfer-encoding: chunked, identity"],
        ["transfer-encoding : chunked"],
        ["transfer-encoding: xchunked"],
        ["transfer-encoding:\x0bchunked"],
    ],
    ids=" ".join,
)
async def test_no_second_request_is_smuggled_in_a_body(
    gateway: Proxy, bearer: dict[str, str], lines: list[str]
) -> None:
    """Bodies with ambiguous lengths: there is never a second response, nor that of the smuggled request."""
    second = ["GET /v1/videos/vid_smuggled HTTP/1.1", "host: here", f"authorization: {bearer['authorization']}"]
    body = "\r\n".join(["0", "", *second, "", ""])
    head = ["POST /v1/auth/sign-in HTTP/1.1", "host: here", "connection: close", *lines]
    answer = await gateway.send_raw("\r\n".join([*head, "", body]), to_the_end=True)
    assert answer.count("HTTP/1.1 ") == 1
    assert int(answer.split()[1]) in (400, 501), answer
    assert "vid_smuggled" not in answer


async def test_unparsable_requests_get_the_security_headers(gateway: Proxy) -> None:
    answer: Any = await gateway.send_raw("NONSENSE\r\n\r\n")
    assert answer.startswith("HTTP/1.1 400 ")
    for name in ("content-security-policy", "x-content-type-options", "x-frame-options"):
        assert f"\r\n{name}: " in answer

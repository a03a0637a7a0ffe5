"""REST: the specification's bodies, key by key, and errors in one form."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from google.protobuf import json_format

from tests.gateway.platform import Platform, fixture
from tests.gateway.proxy import Proxy

SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
INTERNAL_HEADERS = ("grpc-", "x-envoy-", "x-http-code", "x-content-length")

JOB = "vid_12345abc"


def is_same(answer: Any, expected: Any) -> bool:
    """Report whether two JSON bodies have the same keys in the same order, types and values, including nulls."""
    return json.dumps(answer.json()) == json.dumps(expected)


@pytest.mark.parametrize("path", ["/v1/videos", "/api/v1/videos", "/videos"])
async def test_a_created_video_has_the_specifications_body(
    platform: Platform, gateway: Proxy, bearer: dict[str, str], path: str
) -> None:
    answer = await gateway.http.post(path, json=fixture("create_video_request"), headers=bearer)
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"] == f"/v1/videos/{JOB}/status"
    assert is_same(answer, fixture("create_video_response"))
    arrived = json_format.MessageToDict(platform.videos.created[-1], preserving_proto_field_name=True)
    assert arrived == fixture("create_video_request")


@pytest.mark.parametrize("base", ["/v1", "/api/v1", ""])
async def test_a_status_has_the_specifications_body(gateway: Proxy, bearer: dict[str, str], base: str) -> None:
    created = await gateway.http.post("/v1/videos", json=fixture("create_video_request"), headers=bearer)
    answer = await gateway.http.get(f"{base}{created.json()['progress_url']}", headers=bearer)
    assert answer.status_code == 200
    assert is_same(answer, fixture("video_status_response"))


async def test_health_has_the_specifications_body(platform: Platform, gateway: Proxy) -> None:
    answer = await gateway.http.get("/health")
    assert answer.status_code == 200
    assert is_same(answer, fixture("health_response"))


async def test_an_unhealthy_platform_answers_503_with_the_same_body(platform: Platform, gateway: Proxy) -> None:
    platform.monitoring.status = "unhealthy"
    try:
        answer = await gateway.http.get("/health")
    finally:
        platform.monitoring.status = "healthy"
    assert answer.status_code == 503
    assert is_same(answer, {**fixture("health_response"), "status": "unhealthy"})


async def test_empty_fields_are_printed_and_whole_numbers_are_numbers(gateway: Proxy, bearer: dict[str, str]) -> None:
    answer = await gateway.http.get("/v1/videos/vid_7", headers=bearer)
    video = answer.json()["video"]
    assert (video["job_id"], video["title"], video["status"], video["progress"]) == ("vid_7", "user_1", "", 0)
    assert (video["duration"], video["file_size"]) == (118, 52428800)


async def test_query_parameters_are_fields(gateway: Proxy, bearer: dict[str, str]) -> None:
    for path in ("/v1/videos", "/videos"):
        answer = await gateway.http.get(path, params={"page_size": 3, "page_token": "a b"}, headers=bearer)
        assert answer.json() == {"videos": [], "next_page_token": "3 a b"}


async def test_every_reply_has_security_headers_and_no_internal_detail(gateway: Proxy, bearer: dict[str, str]) -> None:
    for path, status in (
        ("/health", 200),
        ("/v1/videos", 200),
        ("/v1/videos/vid_1/file", 200),
        ("/v1/videos/vid_none/status", 404),
        ("/nothing", 404),
        ("/v1/..%2fhealth", 400),
    ):
        answer = await gateway.http.get(path, headers=bearer)
        assert answer.status_code == status
        assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert not [name for name in answer.headers if name.startswith(INTERNAL_HEADERS)]
    answer = await gateway.http.get("/v1/videos")
    assert answer.status_code == 401
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


VIDEO = json.dumps({"title": "A walk", "clips": [{"url": "https://example.com/a.mp4"}]}).encode()


async def test_a_body_of_the_largest_size_arrives(platform: Platform, gateway: Proxy, bearer: dict[str, str]) -> None:
    body = VIDEO + b" " * ((1 << 20) - len(VIDEO))
    assert (await gateway.http.post("/v1/videos", content=body, headers=bearer)).status_code == 202


async def test_an_error_of_a_service_keeps_its_details(gateway: Proxy, bearer: dict[str, str]) -> None:
    answer = await gateway.http.get("/v1/videos/vid_none/status", headers=bearer)
    assert answer.status_code == 404
    assert answer.json() == {
        "code": 5,
        "message": "there is no video vid_none",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "VIDEO_NOT_FOUND",
                "domain": "moneyprinter",
                "metadata": {},
            }
        ],
    }


async def test_a_violated_rule_names_its_fields(gateway: Proxy, bearer: dict[str, str]) -> None:
    body = {**fixture("create_video_request"), "title": "", "settings": {"resolution": "9000p"}}
    answer = await gateway.http.post("/v1/videos", json=body, headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    info, bad = answer.json()["details"]
    assert info["reason"] == "REQUEST_INVALID"
    assert bad["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert [violation["field"] for violation in bad["field_violations"]] == ["title", "settings.resolution"]
    assert all(violation["description"] for violation in bad["field_violations"])


async def test_the_access_log_names_the_user_and_no_secrets(gateway: Proxy, bearer: dict[str, str]) -> None:
    log = gateway.gateway.access_log
    assert log is not None
    sign_in = await gateway.http.post("/v1/auth/sign-in", json={"username": "ann", "password": "pass-word"})
    assert sign_in.status_code == 200
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {**bearer, "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    refused = await gateway.http.get("/v1/videos")
    missing = await gateway.http.get("/api/v1/videos/vid_none/status", headers=headers)
    last = await gateway.http.get("/v1/videos", params={"page_token": "hidden"}, headers=headers)
    await gateway.wait_for_log(last.headers["x-request-id"])
    lines = {line["request_id"]: line for line in map(json.loads, log.read_text().splitlines())}

    def found(answer: httpx.Response, *names: str) -> tuple[Any, ...]:
        line = lines[answer.headers["x-request-id"]]
        return tuple(line[name] for name in names)

    service = "/moneyprinter.video.v1.VideoService"
    seen = ("method", "path", "route", "code", "grpc_status", "user", "service", "peer", "trace_id")
    assert found(last, *seen) == (
        *("GET", "/v1/videos", f"{service}/ListVideos", 200, "0", "user_1", "orchestrator", "127.0.0.1", trace),
    )
    assert found(missing, *seen) == (
        *("GET", "/v1/videos/vid_none/status", f"{service}/GetVideoStatus", 404, "5"),
        *("user_1", "orchestrator", "127.0.0.1", trace),
    )
    own = refused.headers["x-request-id"].replace("-", "")
    assert found(refused, *seen) == (
        "GET",
        "/v1/videos",
        f"{service}/ListVideos",
        401,
        "16",
        None,
        "orchestrator",
        "127.0.0.1",
        own,
    )
    assert found(refused, "upstream") == (None,)
    for secret in ("hidden", "pass-word", bearer["authorization"].split()[1]):
        assert secret not in log.read_text()

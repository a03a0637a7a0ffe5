"""CORS: only pages of the allowed origins may call the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateway import proxy
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy

PAGE = "https://app.example.com"
OTHERS = ["https://example.com", "https://app.example.com.evil.example", "http://app.example.com", "null"]


@pytest.fixture(scope="module")
async def front(both: tuple[Platform, Proxy], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    settings = both[0].gateway().model_copy(update={"cors_origins": (PAGE,)})
    async with proxy.run_proxy(settings, tmp_path_factory.mktemp("cors")) as running:
        await running.wait_for_keys()
        yield running


def preflight_headers(origin: str) -> dict[str, str]:
    """Return the headers of the preflight for a request with a token."""
    wanted = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    return {"origin": origin, **wanted}


async def test_an_allowed_origin_may_call(front: Proxy, bearer: dict[str, str]) -> None:
    before = await front.http.options("/v1/videos", headers=preflight_headers(PAGE))
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "POST" in before.headers["access-control-allow-methods"]
    assert {"authorization", "content-type"} <= set(before.headers["access-control-allow-headers"].split(", "))
    answer = await front.http.get("/v1/videos", headers={**bearer, "origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "x-ratelimit-remaining" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", OTHERS)
async def test_another_origin_may_not_call(front: Proxy, bearer: dict[str, str], origin: str) -> None:
    before = await front.http.options("/v1/videos", headers=preflight_headers(origin))
    answer = await front.http.get("/v1/videos", headers={**bearer, "origin": origin})
    for found in (before, answer):
        assert not [name for name in found.headers if name.startswith("access-control-allow-origin")]


async def test_without_the_setting_no_origin_may_call(gateway: Proxy, bearer: dict[str, str]) -> None:
    answer = await gateway.http.get("/v1/videos", headers={**bearer, "origin": PAGE})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_an_incomplete_preflight_reaches_no_service(front: Proxy, bearer: dict[str, str]) -> None:
    for path in ("/v1/videos", "/moneyprinter.user.v1.UserService/ListSigningKeys", "/nothing"):
        answer = await front.http.options(path, headers={**bearer, "origin": PAGE})
        assert answer.status_code == (404 if path == "/nothing" else 405), (path, answer.text)


async def test_a_page_can_read_the_reason_of_a_refusal(front: Proxy, bearer: dict[str, str]) -> None:
    """The reason is readable whichever filter refuses."""
    web = {"content-type": "application/grpc-web+proto"}
    for verb, path, headers in (
        ("GET", "/nothing", bearer),
        ("DELETE", "/v1/videos", bearer),
        ("GET", "/v1/videos", {}),
        ("GET", "/v1/videos;x", bearer),
        ("POST", "/moneyprinter.video.v1.VideoService/ListVideos", web),
        ("POST", "/a.b.C/D", web),
    ):
        answer = await front.http.request(verb, path, headers={**headers, "origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == PAGE, path
        assert {"grpc-status", "grpc-message"} <= set(answer.headers["access-control-expose-headers"].split(", "))

"""gRPC-Web: browsers get the reasons of the gateway's own replies, as those of services."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import unquote

import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.gateway import proxy
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy

VIDEOS = "/moneyprinter.video.v1.VideoService"
EMPTY = bytes(5)
LARGE = bytes(2 << 20)


async def call_refused(
    gateway: Proxy, path: str, headers: dict[str, str], content: bytes = EMPTY, kind: str = "application/grpc-web+proto"
) -> tuple[int, str, str]:
    """Make a call that is refused. Returns its code, message and reason."""
    answer = await gateway.http.post(path, content=content, headers={**headers, "content-type": kind})
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, kind, b"")
    packed = answer.headers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
    assert int(answer.headers["grpc-status"]) == status.code
    assert unquote(answer.headers["grpc-message"]) == status.message
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return status.code, status.message, info.reason


@pytest.mark.parametrize("kind", ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"])
async def test_a_call_without_a_token_gets_its_reason(gateway: Proxy, kind: str) -> None:
    code, message, reason = await call_refused(gateway, f"{VIDEOS}/ListVideos", {}, kind=kind)
    assert (code, reason) == (16, "TOKEN_INVALID")
    assert "authorization: Bearer" in message


async def test_every_filter_of_the_gateway_returns_its_reason(
    platform: Platform, gateway: Proxy, bearer: dict[str, str]
) -> None:
    assert (await call_refused(gateway, "/a.b.C/D", bearer))[::2] == (12, "METHOD_UNKNOWN")
    assert (await call_refused(gateway, f"{VIDEOS}/NoSuch", bearer))[::2] == (12, "METHOD_UNKNOWN")
    assert (await call_refused(gateway, f"{VIDEOS}/CreateVideo", bearer, LARGE))[::2] == (8, "REQUEST_TOO_LARGE")
    # The media services do not run here.
    assert (await call_refused(gateway, "/moneyprinter.audio.v1.SpeechService/ListVoices", bearer))[::2] == (
        *(14, "SERVICE_UNAVAILABLE"),
    )


async def test_a_rate_limited_call_gets_its_reason(platform: Platform, tmp_path: Path) -> None:
    strict = platform.gateway().model_copy(update={"user_per_minute": 1, "user_burst": 1})
    async with proxy.run_proxy(strict, tmp_path / "strict") as gateway:
        await gateway.wait_for_keys()
        headers = dict(platform.mesh.bearer())
        first = await gateway.http.get("/v1/videos", headers=headers)
        assert first.status_code == 200
        assert (await call_refused(gateway, f"{VIDEOS}/ListVideos", headers))[::2] == (8, "RATE_LIMITED")

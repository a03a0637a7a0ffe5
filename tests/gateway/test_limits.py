"""Rate limits of users and of addresses, at one gateway and at several."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.contracts import load_methods
from gateway.render import BODY_BURST, BODY_UNIT_BYTES
from moneyprinter import errors
from moneyprinter.calls import TypedChannel
from moneyprinter.user.v1 import user_service_pb2 as users_pb
from moneyprinter.user.v1 import user_service_pb2_grpc as users_grpc
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from tests.gateway import proxy
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy

# So slow that no bucket is filled while a test runs.
SMALL = {"user_per_minute": 1, "user_burst": 5, "address_per_minute": 2, "address_burst": 3}

SIGN_IN = {"username": "ann", "password": "secret"}


@pytest.fixture
async def strict(platform: Platform, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A gateway with a burst of 5 calls per user, and of 3 credential exchanges per address."""
    async with proxy.run_proxy(platform.gateway().model_copy(update=SMALL), tmp_path / "strict") as gateway:
        await gateway.wait_for_keys()
        yield gateway


async def statuses(http: httpx.AsyncClient, headers: dict[str, str], count: int, path: str = "/v1/videos") -> list[int]:
    return [(await http.get(path, headers=headers)).status_code for _ in range(count)]


async def test_a_user_has_one_bucket_for_rest_and_grpc(platform: Platform, strict: Proxy) -> None:
    ann, bob = dict(platform.mesh.bearer("ann")), dict(platform.mesh.bearer("bob"))
    left = [
        (await strict.http.get(path, headers=ann)).headers["x-ratelimit-remaining"]
        for path in ("/v1/videos", "/api/v1/videos", "/videos", "/v1/videos/x")
    ]
    assert left == ["4", "3", "2", "1"]
    async with TypedChannel(strict.channel(), lambda: tuple(ann.items())) as channel:
        videos = pb_grpc.VideoServiceStub(channel)
        await videos.ListVideos(pb.ListVideosRequest())
        with pytest.raises(errors.ResourceExhausted) as limited:
            await videos.ListVideos(pb.ListVideosRequest())
        assert (limited.value.reason, limited.value.retry_after_seconds) == ("RATE_LIMITED", 60)

    refused = await strict.http.get("/v1/videos", headers=ann)
    assert refused.status_code == 429
    expected = {"retry-after": "60", "x-ratelimit-limit": "5", "x-ratelimit-remaining": "0"}
    assert {name: refused.headers[name] for name in expected} == expected
    assert 0 < int(refused.headers["x-ratelimit-reset"]) <= 60
    assert refused.json()["code"] == 8
    info, retry = refused.json()["details"]
    assert (info["reason"], retry["retry_delay"]) == ("RATE_LIMITED", "60s")

    # Another token of the same user has no other bucket; another user has one.
    again = {"authorization": f"Bearer {platform.mesh.token('ann', roles=['video.process'])}"}
    assert await statuses(strict.http, again, 1) == [429]
    assert await statuses(strict.http, bob, 5) == [200] * 5


async def test_a_call_without_a_valid_token_uses_no_users_bucket(platform: Platform, strict: Proxy) -> None:
    ann = dict(platform.mesh.bearer("ann"))
    head, body, _ = ann["authorization"].split(".")
    assert await statuses(strict.http, {"authorization": f"{head}.{body}.forged"}, 10) == [401] * 10
    assert await statuses(strict.http, ann, 5) == [200] * 5


async def test_an_address_has_one_bucket_for_all_credential_exchanges(platform: Platform, strict: Proxy) -> None:
    async def tried(http: httpx.AsyncClient, path: str, **headers: str) -> int:
        body = SIGN_IN if path.endswith("sign-in") else {"refresh_token": "x"}
        return (await http.post(path, json=body, headers=headers)).status_code

    paths = ("/v1/auth/sign-in", "/api/v1/auth/sign-in", "/v1/auth/refresh")
    assert [await tried(strict.http, path) for path in paths] == [200] * 3
    # A forged address, another method or a token does not evade the limit.
    assert await tried(strict.http, "/v1/auth/sign-in?") == 429
    assert await tried(strict.http, "/v1/auth/sign-in", **{"x-forwarded-for": "192.0.2.1"}) == 429
    assert await tried(strict.http, "/v1/auth/refresh", **dict(platform.mesh.bearer())) == 429
    async with TypedChannel(strict.channel()) as channel:
        with pytest.raises(errors.ResourceExhausted) as limited:
            await users_grpc.UserServiceStub(channel).SignIn(users_pb.SignInRequest(**SIGN_IN))
        assert (limited.value.reason, limited.value.retry_after_seconds) == ("RATE_LIMITED", 30)

    refused = await strict.http.post("/v1/auth/sign-in", json=SIGN_IN)
    assert (refused.headers["retry-after"], refused.headers["x-ratelimit-limit"]) == ("30", "3")
    assert [detail.get("retry_delay") for detail in refused.json()["details"]] == [None, "30s"]

    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(base_url=strict.http.base_url, transport=elsewhere) as other:
        assert await tried(other, "/v1/auth/sign-in") == 200


async def test_health_and_keys_are_not_limited(strict: Proxy) -> None:
    for path in ("/health", "/v1/auth/jwks.json", "/openapi.json", "/docs"):
        answers = [await strict.http.get(path) for _ in range(10)]
        assert [answer.status_code for answer in answers] == [200] * 10
        assert not [name for name in answers[0].headers if name.startswith("x-ratelimit")]


def test_credential_exchanges_are_read_from_the_contracts() -> None:
    found = {method.path.rpartition("/")[2] for method in load_methods() if method.exchanges_credentials}
    assert found >= {"SignIn", "RefreshToken"}
    assert not found & {"GetHealth", "ListSigningKeys"}


async def test_the_default_limits_are_those_of_the_specification(platform: Platform, tmp_path: Path) -> None:
    """A burst of 1000, then 100 per minute."""
    settings = platform.gateway()
    default = {name: type(settings).model_fields[name].default for name in ("user_burst", "user_per_minute")}
    async with proxy.run_proxy(settings.model_copy(update=default), tmp_path / "default") as gateway:
        await gateway.wait_for_keys()
        headers = dict(platform.mesh.bearer("eager"))
        began = time.monotonic()
        found: Counter[int] = Counter()

        async def some() -> None:
            found.update(await statuses(gateway.http, headers, 110, "/v1/videos?x=1"))

        await asyncio.gather(*(some() for _ in range(10)))
        filled = (time.monotonic() - began) * 100 / 60
        # No parameter is called x: it comes no further than the gateway.
        assert set(found) == {400, 429}
        assert 1000 <= found[400] <= 1000 + filled + 1
        assert await statuses(gateway.http, dict(platform.mesh.bearer("other")), 1) == [200]


async def test_the_bodies_of_one_user_have_one_limit(platform: Platform, tmp_path: Path) -> None:
    """The limit covers all buffered bodies of a user, whatever the number of calls."""
    announced = 1_000_000
    async with proxy.run_proxy(platform.gateway(), tmp_path / "bodies") as gateway:
        await gateway.wait_for_keys()
        host, port = gateway.address.split(":")

        async def begun(user: str) -> bytes:
            """Begin a request; the head of its answer, which comes before the body only if it is refused."""
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                token = dict(platform.mesh.bearer(user))["authorization"]
                lines = ("POST /v1/videos HTTP/1.1", "host: here", f"authorization: {token}")
                writer.write("\r\n".join((*lines, f"content-length: {announced}", "", "")).encode())
                return await reader.readuntil(b"\r\n\r\n")
            finally:
                writer.close()

        at_once = BODY_BURST * BODY_UNIT_BYTES // announced
        waiting = [asyncio.ensure_future(begun("ann")) for _ in range(3 * at_once)]
        async with asyncio.timeout(20):
            for number, answer in enumerate(asyncio.as_completed(waiting), start=1):
                head = await answer
                assert b" 429 " in head and b"retry-after: 1\r\n" in head
                if number == at_once:
                    break
        assert sum(not answer.done() for answer in waiting) >= at_once - 5
        other = asyncio.ensure_future(begun("bob"))
        await asyncio.wait([other], timeout=0.5)
        assert not other.done()
        for task in (*waiting, other):
            task.cancel()
        await asyncio.gather(*waiting, other, return_exceptions=True)

"""Upstreams: services that come late, go away, change their keys, or are not who they should be."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.replies import SIGN_IN
from services.embedded import ports
from services.runtime.config import PORTS, RuntimeConfig
from tests.gateway import proxy
from tests.gateway.platform import Platform, Users, fixture, public_key
from tests.gateway.proxy import Proxy
from tests.mesh import Mesh


async def status(gateway: Proxy, token: str) -> tuple[int, str]:
    """What a call with a token is answered: the status, and who refuses it."""
    answer = await gateway.http.get("/v1/videos", headers={"authorization": f"Bearer {token}"})
    if answer.is_success:
        return answer.status_code, ""
    return answer.status_code, "gateway" if answer.json()["message"].startswith(SIGN_IN) else "service"


async def fetched_again(gateway: Proxy) -> None:
    """Wait for keys that were asked for after this call."""
    await gateway.reached("jwks_fetch_success", await gateway.figure("jwks_fetch_success") + 2)


async def test_keys_are_fetched_when_they_can_be_followed_when_they_change_and_kept_when_they_cannot(
    certificates: Path, tmp_path: Path
) -> None:
    later = dict(zip(("user", "monitoring"), ports.pick_ports(2), strict=True))
    own = {**dict.fromkeys(PORTS, 0), **later}
    config = RuntimeConfig(certificates=certificates, ports=own, scratch=tmp_path / "scratch", grace_seconds=0.1)
    async with Mesh(config) as mesh:
        users = Users([public_key(mesh._key)])  # type: ignore[abstract]
        platform = Platform(mesh, users)
        await platform.start("orchestrator")
        async with proxy.running(platform.gateway(), tmp_path / "gateway") as gateway:
            await gateway.reached("jwks_fetch_failed", 1)
            answer = await gateway.http.get("/v1/videos", headers=dict(mesh.bearer()))
            assert (answer.status_code, answer.json()["code"]) == (503, 14)
            assert "cannot be verified yet" in answer.json()["message"]
            away = await gateway.http.get("/health")
            assert (away.status_code, away.json()["code"], away.headers["retry-after"]) == (503, 14, "1")
            assert [detail.get("reason") or detail["retry_delay"] for detail in away.json()["details"]] == [
                "SERVICE_UNAVAILABLE",
                "1s",
            ]

            async with Mesh(mesh.config) as late:
                await Platform(late, users).start("user")
                await gateway.keys_known()
                assert await status(gateway, mesh.token()) == (200, "")

                key = ec.generate_private_key(ec.SECP256R1())
                claims = jwt.decode(mesh.token(), options={"verify_signature": False})
                new = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "new"})
                assert await status(gateway, new) == (401, "gateway")
                users.keys.append(public_key(key, "new"))
                await fetched_again(gateway)
                # The gateway lets it pass; the service, which knows the first key only, does not.
                assert await status(gateway, new) == (401, "service")
                assert await status(gateway, mesh.token()) == (200, "")
                del users.keys[1]
                await fetched_again(gateway)
                assert await status(gateway, new) == (401, "gateway")

            failures = await gateway.figure("jwks_fetch_failed")
            await gateway.reached("jwks_fetch_failed", failures + 2)
            assert await status(gateway, mesh.token()) == (200, "")


async def test_an_instance_that_stops_costs_no_request(
    platform: Platform, bearer: dict[str, str], tmp_path: Path
) -> None:
    """Not even one that may be made only once, since the instance says which it has not begun. But for uploads, which
    the gateway does not keep."""
    created, stopping = len(platform.videos.created), asyncio.Event()

    async def ask(gateway: Proxy, path: str, content: bytes) -> list[httpx.Response]:
        answers, left = [], 5
        while left:
            answers.append(await gateway.http.post(path, content=content, headers=bearer))
            left -= stopping.is_set()
        return answers

    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(platform.another("orchestrator"))
        told = platform.gateway()
        two = {**told.addresses, "orchestrator": f"{told.addresses['orchestrator']},{address}"}
        async with proxy.running(told.model_copy(update={"addresses": two}), tmp_path / "two") as gateway:
            await gateway.keys_known()
            video = json.dumps(fixture("create_video_request")).encode()
            async with asyncio.TaskGroup() as clients:
                creating = [clients.create_task(ask(gateway, "/v1/videos", video)) for _ in range(30)]
                uploading = [clients.create_task(ask(gateway, "/v1/assets", b"x" * 1000)) for _ in range(20)]
                await gateway.reached("cluster.orchestrator.upstream_rq_completed", 400)
                await stack.aclose()
                stopping.set()
    creations = [answer.status_code for task in creating for answer in task.result()]
    assert (set(creations), len(creations)) == ({202}, len(platform.videos.created) - created)
    uploads = [answer for task in uploading for answer in task.result()]
    refused = [answer for answer in uploads if answer.status_code != 201]
    assert len(refused) < len(uploads) / 2
    for answer in refused:
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, 14, "1"), answer.text
        assert [detail.get("reason") for detail in answer.json()["details"]] == ["SERVICE_UNAVAILABLE", None]


async def test_a_server_that_is_not_the_service_is_not_spoken_to(
    platform: Platform, gateway: Proxy, bearer: dict[str, str], tmp_path: Path
) -> None:
    told = platform.gateway()
    crossed = {**told.addresses, "orchestrator": told.addresses["monitoring"]}
    async with proxy.running(told.model_copy(update={"addresses": crossed}), tmp_path / "crossed") as confused:
        await confused.keys_known()
        answer = await confused.http.get("/v1/videos", headers=bearer)
        assert (answer.status_code, answer.json()["code"]) == (503, 14)
        assert answer.json()["message"] == "this part of the platform cannot be reached; try again in a moment"
        assert await confused.figure("cluster.orchestrator.ssl.fail_verify_san") >= 1
        assert (await confused.http.get("/health")).status_code == 200


async def test_a_service_that_speaks_only_tls_1_2_is_not_spoken_to(
    platform: Platform, bearer: dict[str, str], certificates: Path, tmp_path: Path
) -> None:
    leaf = certificates / "orchestrator"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.load_cert_chain(leaf / "cert.pem", leaf / "key.pem")
    context.set_alpn_protocols(["h2"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("a connection of TLS 1.2 came about")

    told = platform.gateway()
    async with await asyncio.start_server(served, "127.0.0.1", 0, ssl=context) as server:
        host, port = server.sockets[0].getsockname()
        old = told.model_copy(update={"addresses": {**told.addresses, "orchestrator": f"{host}:{port}"}})
        async with proxy.running(old, tmp_path / "old") as gateway:
            await gateway.keys_known()
            answer = await gateway.http.get("/v1/videos", headers=bearer)
            assert answer.status_code == 503
            assert await gateway.figure("cluster.orchestrator.ssl.handshake") == 0

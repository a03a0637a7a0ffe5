"""Services that start late, stop, change their keys, or present another identity."""

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
    """Call with a token. Returns the status and the reason of a refusal."""
    answer = await gateway.http.get("/v1/videos", headers={"authorization": f"Bearer {token}"})
    if answer.is_success:
        return answer.status_code, ""
    return answer.status_code, "gateway" if answer.json()["message"].startswith(SIGN_IN) else "service"


async def wait_for_key_refresh(gateway: Proxy) -> None:
    """Wait for keys that the gateway fetched after this call."""
    await gateway.wait_for_stat("jwks_fetch_success", await gateway.read_stat("jwks_fetch_success") + 2)


async def test_token_keys_are_fetched_refreshed_and_kept_during_an_outage(certificates: Path, tmp_path: Path) -> None:
    later = dict(zip(("user", "monitoring"), ports.pick_ports(2), strict=True))
    own = {**dict.fromkeys(PORTS, 0), **later}
    config = RuntimeConfig(certificates=certificates, ports=own, scratch=tmp_path / "scratch", grace_seconds=0.1)
    async with Mesh(config) as mesh:
        users = Users([public_key(mesh._key)])  # type: ignore[abstract]
        platform = Platform(mesh, users)
        await platform.start("orchestrator")
        async with proxy.run_proxy(platform.gateway(), tmp_path / "gateway") as gateway:
            await gateway.wait_for_stat("jwks_fetch_failed", 1)
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
                await gateway.wait_for_keys()
                assert await status(gateway, mesh.token()) == (200, "")

                key = ec.generate_private_key(ec.SECP256R1())
                claims = jwt.decode(mesh.token(), options={"verify_signature": False})
                new = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "new"})
                assert await status(gateway, new) == (401, "gateway")
                users.keys.append(public_key(key, "new"))
                await wait_for_key_refresh(gateway)
                # The gateway accepts it; the service, which has only the first key, refuses it.
                assert await status(gateway, new) == (401, "service")
                assert await status(gateway, mesh.token()) == (200, "")
                del users.keys[1]
                await wait_for_key_refresh(gateway)
                assert await status(gateway, new) == (401, "gateway")

            failures = await gateway.read_stat("jwks_fetch_failed")
            await gateway.wait_for_stat("jwks_fetch_failed", failures + 2)
            assert await status(gateway, mesh.token()) == (200, "")


async def test_no_request_fails_when_an_instance_stops(
    platform: Platform, bearer: dict[str, str], tmp_path: Path
) -> None:
    """Also calls that are not retry-safe, since the instance marks those that it has not begun. Uploads are excepted,
    since the gateway does not buffer them."""
    created, stopping = len(platform.videos.created), asyncio.Event()

    async def ask(gateway: Proxy, path: str, content: bytes) -> list[httpx.Response]:
        answers, left = [], 5
        while left:
            answers.append(await gateway.http.post(path, content=content, headers=bearer))
            left -= stopping.is_set()
        return answers

    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(platform.run_another("orchestrator"))
        settings = platform.gateway()
        two = {**settings.addresses, "orchestrator": f"{settings.addresses['orchestrator']},{address}"}
        async with proxy.run_proxy(settings.model_copy(update={"addresses": two}), tmp_path / "two") as gateway:
            await gateway.wait_for_keys()
            video = json.dumps(fixture("create_video_request")).encode()
            async with asyncio.TaskGroup() as clients:
                creating = [clients.create_task(ask(gateway, "/v1/videos", video)) for _ in range(30)]
                uploading = [clients.create_task(ask(gateway, "/v1/assets", b"x" * 1000)) for _ in range(20)]
                await gateway.wait_for_stat("cluster.orchestrator.upstream_rq_completed", 400)
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


async def test_a_server_with_another_identity_is_not_used(
    platform: Platform, gateway: Proxy, bearer: dict[str, str], tmp_path: Path
) -> None:
    settings = platform.gateway()
    crossed = {**settings.addresses, "orchestrator": settings.addresses["monitoring"]}
    async with proxy.run_proxy(settings.model_copy(update={"addresses": crossed}), tmp_path / "crossed") as confused:
        await confused.wait_for_keys()
        answer = await confused.http.get("/v1/videos", headers=bearer)
        assert (answer.status_code, answer.json()["code"]) == (503, 14)
        assert answer.json()["message"] == "this part of the platform cannot be reached; try again in a moment"
        assert await confused.read_stat("cluster.orchestrator.ssl.fail_verify_san") >= 1
        assert (await confused.http.get("/health")).status_code == 200


async def test_a_service_with_only_tls_1_2_is_not_used(
    platform: Platform, bearer: dict[str, str], certificates: Path, tmp_path: Path
) -> None:
    leaf = certificates / "orchestrator"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.load_cert_chain(leaf / "cert.pem", leaf / "key.pem")
    context.set_alpn_protocols(["h2"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("a connection of TLS 1.2 came about")

    settings = platform.gateway()
    async with await asyncio.start_server(served, "127.0.0.1", 0, ssl=context) as server:
        host, port = server.sockets[0].getsockname()
        old = settings.model_copy(update={"addresses": {**settings.addresses, "orchestrator": f"{host}:{port}"}})
        async with proxy.run_proxy(old, tmp_path / "old") as gateway:
            await gateway.wait_for_keys()
            answer = await gateway.http.get("/v1/videos", headers=bearer)
            assert answer.status_code == 503
            assert await gateway.read_stat("cluster.orchestrator.ssl.handshake") == 0

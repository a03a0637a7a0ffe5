"""TLS for clients, and the replacement of certificates during requests."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from moneyprinter.calls import TypedChannel
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.embedded import authority
from tests.gateway import proxy
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy


@asynccontextmanager
async def secure(platform: Platform, folder: Path) -> AsyncIterator[Proxy]:
    """A gateway with TLS and its own certificates, which a test may replace."""
    certificates = folder / "certificates"
    shutil.copytree(platform.mesh.config.certificates, certificates)
    settings = {"certificates": certificates, "tls": authority.issue_gateway_certificate(certificates)}
    async with proxy.run_proxy(platform.gateway().model_copy(update=settings), folder / "gateway") as gateway:
        await gateway.wait_for_keys()
        yield gateway


@pytest.fixture(scope="module")
async def front(both: tuple[Platform, Proxy], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    async with secure(both[0], tmp_path_factory.mktemp("tls")) as running:
        yield running


@pytest.fixture
def gateway(front: Proxy) -> Proxy:
    return front


def create_ssl_context(gateway: Proxy) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(gateway.gateway.certificates / "ca.pem"))


async def open_tls(gateway: Proxy, context: ssl.SSLContext, name: str = "localhost") -> ssl.SSLObject:
    """Open a connection, and return its TLS object."""
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port, ssl=context, server_hostname=name)
    found: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return found


async def test_rest_and_grpc_are_served_over_tls(platform: Platform, gateway: Proxy, bearer: dict[str, str]) -> None:
    assert gateway.http.base_url.scheme == "https"
    answer = await gateway.http.get("/v1/videos", headers=bearer)
    assert answer.status_code == 200
    async with TypedChannel(gateway.channel(), platform.mesh.bearer) as channel:
        await pb_grpc.VideoServiceStub(channel).ListVideos(pb.ListVideosRequest())


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")])
async def test_clients_get_tls_1_3_and_their_protocol(
    gateway: Proxy, name: str, offered: list[str], chosen: str
) -> None:
    context = create_ssl_context(gateway)
    context.set_alpn_protocols(offered)
    found = await open_tls(gateway, context, name)
    assert (found.version(), found.selected_alpn_protocol()) == ("TLSv1.3", chosen)


async def test_tls_1_2_is_refused_at_the_handshake(gateway: Proxy) -> None:
    context = create_ssl_context(gateway)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await open_tls(gateway, context)
    # By whom is all that is known of one who never came to ask for anything.
    await gateway.wait_for_log("UNSUPPORTED_PROTOCOL")
    assert gateway.gateway.access_log is not None
    found = [line for line in gateway.gateway.access_log.read_text().splitlines() if "UNSUPPORTED_PROTOCOL" in line]
    line = json.loads(found[0])
    assert (line["event"], line["peer"]) == ("handshake failed", "127.0.0.1")


async def test_plain_http_is_not_answered(gateway: Proxy) -> None:
    assert await gateway.send_raw("GET /health HTTP/1.1\r\nhost: here\r\n\r\n") == ""


async def test_the_public_certificate_cannot_be_used_in_the_mesh(gateway: Proxy) -> None:
    assert gateway.gateway.tls is not None
    certificate = x509.load_pem_x509_certificate((gateway.gateway.tls / "cert.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert not names.get_values_for_type(x509.UniformResourceIdentifier)
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [usage._name for usage in usages] == ["serverAuth"]


def replace_certificate(folder: Path, name: str) -> None:
    """Replace a certificate atomically, key first."""
    fresh = folder.with_name("fresh")
    fresh.mkdir(exist_ok=True)
    for file in ("ca.pem", "ca.key"):
        shutil.copy(folder / file, fresh / file)
    authority.issue_certificates(fresh, ["gateway"], trust_domain="cluster.local", namespace="moneyprinter")
    authority.issue_gateway_certificate(fresh)
    for file in ("key.pem", "cert.pem"):
        (fresh / name / file).replace(folder / name / file)


async def test_certificates_are_replaced_while_requests_run(
    platform: Platform, tmp_path: Path, bearer: dict[str, str]
) -> None:
    """The certificates for clients and for services; no request fails, on old or new connections."""
    async with secure(platform, tmp_path) as gateway:
        await _replace_meanwhile(gateway, bearer)


async def _replace_meanwhile(gateway: Proxy, bearer: dict[str, str]) -> None:
    folder = gateway.gateway.certificates
    before = (await open_tls(gateway, create_ssl_context(gateway))).getpeercert(binary_form=True)
    seen = []
    done = asyncio.Event()

    async def calls(fresh: bool) -> None:
        while not done.is_set():
            if fresh:
                async with httpx.AsyncClient(
                    base_url=gateway.http.base_url, verify=create_ssl_context(gateway)
                ) as http:
                    seen.append((await http.get("/v1/videos", headers=bearer)).status_code)
            else:
                seen.append((await gateway.http.get("/v1/videos", headers=bearer)).status_code)

    async with asyncio.TaskGroup() as group:
        for fresh in (False, True, True):
            group.create_task(calls(fresh))
        for taken, name in (("listener.*server_ssl", "public"), ("cluster.orchestrator.client_ssl", "gateway")):
            figure = f"^{taken}_socket_factory.ssl_context_update_by_sds$"
            updates = await gateway.read_stat(figure)
            replace_certificate(folder, name)
            await gateway.wait_for_stat(figure, updates + 1)
            count = len(seen)
            while len(seen) < count + 20:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        done.set()
    assert set(seen) == {200}
    assert (await open_tls(gateway, create_ssl_context(gateway))).getpeercert(binary_form=True) != before
    # A new connection to a service is made with the new certificate: the service takes it.
    assert (await gateway.http.get("/v1/videos", headers=bearer)).status_code == 200

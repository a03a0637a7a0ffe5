"""Rotation: certificates are renewed under load, and no request fails. (Signing keys of tokens: tests/user.)"""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from moneyprinter import errors
from moneyprinter.content.v1 import content_service_pb2 as content_pb
from moneyprinter.content.v1 import content_service_pb2_grpc as content_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.embedded import authority, nats, ports
from services.runtime import events, identity
from services.runtime.config import PORTS, RuntimeConfig
from services.runtime.server import Runtime
from tests.gateway import proxy
from tests.gateway.platform import Platform, Users, public_key
from tests.mesh import Mesh

WRITE = content_pb.WriteScriptRequest(title="A walk")


def issued(folder: Path, now: datetime | None = None) -> None:
    workloads = (*PORTS, "nats")
    authority.issue_certificates(folder, workloads, trust_domain="cluster.local", namespace="moneyprinter", now=now)


def renew(folder: Path, *names: str, now: datetime | None = None) -> None:
    """Replace the certificates of some workloads with new ones of the same authority, key first."""
    fresh = folder.with_name("fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for file in ("ca.pem", "ca.key"):
        shutil.copy(folder / file, fresh / file)
    issued(fresh, now)
    for name in names:
        for file in ("key.pem", "cert.pem"):
            (fresh / name / file).replace(folder / name / file)


def number(certificate: bytes) -> int:
    return x509.load_pem_x509_certificate(certificate).serial_number


def on_disk(folder: Path, name: str) -> int:
    return number((folder / name / "cert.pem").read_bytes())


async def shown(port: int, folder: Path, name: str) -> int:
    """Return the serial number of the certificate that a service presents to a new connection."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "orchestrator" / "cert.pem", folder / "orchestrator" / "key.pem")
    context.set_alpn_protocols(["h2"])
    host = f"{name}.moneyprinter.svc"
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(found).serial_number


@dataclass
class SeenCertificates:
    """The certificates that callers presented, by workload."""

    numbers: dict[str, int] = field(default_factory=dict)

    def note(self, context: Any) -> None:
        self.numbers[identity.caller()] = number(context.auth_context()["x509_pem_cert"][0])


def content(seen: SeenCertificates) -> Any:
    """A wiring of a content service that records its callers."""

    class Scripts(content_grpc.ContentServiceServicer):
        async def WriteScript(
            self, request: content_pb.WriteScriptRequest, context: Any
        ) -> content_pb.WriteScriptResponse:
            seen.note(context)
            return content_pb.WriteScriptResponse(sentences=[request.title], writer="caller")

    @asynccontextmanager
    async def wire(_: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.add(content_grpc.add_ContentServiceServicer_to_server, Scripts())  # type: ignore[abstract]
        yield

    return wire


def videos(seen: SeenCertificates, done: asyncio.Event) -> Any:
    """A wiring of the public service: an empty list, recorded callers, and a watch until `done` is set."""

    class Videos(video_grpc.VideoServiceServicer):
        async def ListVideos(self, request: video_pb.ListVideosRequest, context: Any) -> video_pb.ListVideosResponse:
            seen.note(context)
            return video_pb.ListVideosResponse()

        async def WatchVideo(
            self, request: video_pb.WatchVideoRequest, context: Any
        ) -> AsyncIterator[video_pb.WatchVideoResponse]:
            while not done.is_set():
                yield video_pb.WatchVideoResponse()
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def wire(_: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.add(video_grpc.add_VideoServiceServicer_to_server, Videos())  # type: ignore[abstract]
        yield

    return wire


@dataclass
class Load:
    """Continuous calls, each of which must succeed."""

    done: asyncio.Event
    counts: dict[str, int] = field(default_factory=dict)

    async def calls(self, name: str, call: Callable[[], Any]) -> None:
        while not self.done.is_set():
            await call()
            self.counts[name] = self.counts.get(name, 0) + 1
            await asyncio.sleep(0.005)

    async def wait_for_more_calls(self) -> None:
        """Wait for ten more calls of each kind."""
        before = dict(self.counts)
        await wait_until(lambda: all(self.counts.get(name, 0) >= count + 10 for name, count in before.items()))


async def wait_until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
def renewable(config: RuntimeConfig, tmp_path: Path) -> RuntimeConfig:
    """The settings of a mesh with replaceable certificates."""
    issued(tmp_path / "certificates")
    return config.model_copy(update={"certificates": tmp_path / "certificates"})


async def test_certificates_are_renewed_without_a_failed_request(renewable: RuntimeConfig, tmp_path: Path) -> None:
    """Through Envoy, between services, and on existing streams: all six certificates, twice."""
    folder, done = renewable.certificates, asyncio.Event()
    of_content, of_videos = SeenCertificates(), SeenCertificates()
    async with Mesh(renewable) as mesh:
        platform = Platform(mesh, Users([public_key(mesh._key)]))  # type: ignore[abstract]
        await mesh.start("content", None, content(of_content))
        await mesh.start("orchestrator", None, videos(of_videos, done))
        for service in ("user", "monitoring"):
            await platform.start(service)
        async with proxy.run_proxy(platform.gateway(), tmp_path / "gateway") as gateway:
            await gateway.wait_for_keys()
            inner = mesh.stub(content_grpc.ContentServiceStub, caller="orchestrator")
            token = mesh.token(exp=int(time.time()) + 300)
            bearer = {"authorization": f"Bearer {token}"}
            load = Load(done)

            async def rest() -> None:
                answer = await gateway.http.get("/v1/videos", headers=bearer)
                assert answer.status_code == 200, answer.text

            async def watch(stub: Any) -> None:
                async for _ in stub.WatchVideo(video_pb.WatchVideoRequest(job_id="vid_1"), metadata=bearer.items()):
                    load.counts["watch"] = load.counts.get("watch", 0) + 1

            async def written() -> None:
                await inner.WriteScript(WRITE)

            async with asyncio.TaskGroup() as group:
                group.create_task(load.calls("rest", rest))
                group.create_task(load.calls("inner", written))
                group.create_task(watch(mesh.stub(video_grpc.VideoServiceStub, caller="gateway")))
                try:
                    await wait_until(lambda: len(load.counts) == 3)
                    for _ in range(2):
                        renew(folder, "gateway", "orchestrator", "content", "user", "monitoring")
                        # Callers present the new certificates, ...
                        await wait_until(lambda: of_content.numbers["orchestrator"] == on_disk(folder, "orchestrator"))
                        assert await shown(mesh.config.ports["content"], folder, "content") == on_disk(
                            folder, "content"
                        )
                        # ... and clients of Envoy continue on their existing connections.
                        await load.wait_for_more_calls()
                finally:
                    done.set()
            assert min(load.counts.values()) > 20
            assert await shown(mesh.config.ports["user"], folder, "user") == on_disk(folder, "user")


async def test_a_half_replaced_certificate_is_not_loaded(renewable: RuntimeConfig) -> None:
    """The key is new and the certificate still old: calls continue with the previous pair."""
    folder = renewable.certificates
    seen = SeenCertificates()
    async with Mesh(renewable) as mesh:
        await mesh.start("content", None, content(seen))
        before = {name: on_disk(folder, name) for name in ("content", "orchestrator")}
        for name in before:
            (folder / name / "key.pem").write_bytes((folder / "audio" / "key.pem").read_bytes())
        assert await shown_to_audio(mesh, folder) == before["content"]
        (folder / "content" / "cert.pem").write_text("-----BEGIN nothing")
        assert await shown_to_audio(mesh, folder) == before["content"]
        (folder / "content" / "key.pem").unlink()
        assert await shown_to_audio(mesh, folder) == before["content"]


async def shown_to_audio(mesh: Mesh, folder: Path) -> int:
    whole = folder.with_name("whole")
    if not whole.exists():
        shutil.copytree(folder, whole)
        for name in ("audio", "orchestrator"):
            shutil.copytree(folder / "audio", whole / name, dirs_exist_ok=True)
    return await shown(mesh.config.ports["content"], whole, "content")


async def test_an_expired_certificate_is_refused(renewable: RuntimeConfig) -> None:
    seen = SeenCertificates()
    async with Mesh(renewable) as mesh:
        await mesh.start("content", None, content(seen))
        await mesh.stub(content_grpc.ContentServiceStub).WriteScript(WRITE)
        long_ago = datetime.now(UTC) - authority.LEAF_LIFETIME - timedelta(minutes=10)
        renew(renewable.certificates, "orchestrator", now=long_ago)
        with pytest.raises(errors.Unavailable):
            await mesh.stub(content_grpc.ContentServiceStub).WriteScript(WRITE, timeout=5)


async def test_a_reconnection_to_the_queue_uses_the_newest_certificate(
    renewable: RuntimeConfig, tmp_path: Path
) -> None:
    """Meanwhile the authority has changed, so NATS would refuse the old certificate."""
    [port] = ports.pick_ports()
    log = tmp_path / "nats.log"
    async with nats.run_server(renewable, tmp_path / "nats", log_file=log, port=port) as url:
        connecting = events.connect(renewable, "orchestrator", url)
        client = await connecting.__aenter__()
        await client.flush()
    try:
        shutil.rmtree(renewable.certificates)
        issued(renewable.certificates)
        await wait_until(lambda: not client.is_connected)
        async with nats.run_server(renewable, tmp_path / "nats", log_file=log, port=port):
            await wait_until(lambda: client.is_connected)
            await client.flush()
    finally:
        async with asyncio.timeout(30):
            await connecting.__aexit__(None, None, None)

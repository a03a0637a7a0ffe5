"""NATS admits only the workloads of the mesh, each to the subjects of its own work."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error, NoServersError
from nats.js.errors import NotFoundError

from services.embedded import authority
from services.runtime import events, tls
from services.runtime.config import RuntimeConfig


async def connect_once(url: str, context: ssl.SSLContext) -> Client:
    """Connect, or raise the error of the first attempt."""

    async def ignored(failure: Exception) -> None:
        pass

    return await nats.connect(
        url,
        tls=context,
        tls_hostname="nats.moneyprinter.svc",
        tls_handshake_first=True,
        allow_reconnect=False,
        connect_timeout=5,
        error_cb=ignored,
    )


def context_of(folder: Path, ca: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_a_message_reaches_a_worker_through_a_stream(config: RuntimeConfig, nats_url: str) -> None:
    async with events.connect(config, "orchestrator", nats_url) as client:
        stream = client.jetstream()
        await stream.add_stream(name="jobs", subjects=["jobs.>"])
        assert (await stream.publish("jobs.render", b"1")).seq == 1
        subscription = await stream.pull_subscribe("jobs.render", durable="render")
        [message] = await subscription.fetch(1, timeout=5)
        assert message.data == b"1"
        await message.ack_sync()
        with pytest.raises(NotFoundError):
            await stream.stream_info("other")


async def test_monitoring_receives_video_events(config: RuntimeConfig, nats_url: str) -> None:
    async with (
        events.connect(config, "orchestrator", nats_url) as orchestrator,
        events.connect(config, "monitoring", nats_url) as monitoring,
    ):
        subscription = await monitoring.subscribe("video.processing.>")
        await events.until_subscribed(monitoring)
        await orchestrator.publish("video.processing.started", b"{}")
        assert (await subscription.next_msg(5)).subject == "video.processing.started"


@pytest.mark.parametrize(
    ("workload", "act", "subject"),
    [
        ("monitoring", "publish", "video.processing.started"),
        ("monitoring", "publish", "$JS.API.STREAM.CREATE.jobs"),
        ("monitoring", "subscribe", "jobs.>"),
        ("monitoring", "subscribe", ">"),
        ("orchestrator", "publish", "elsewhere"),
        ("orchestrator", "subscribe", "_INBOX.monitoring.>"),
        ("orchestrator", "subscribe", ">"),
    ],
)
async def test_a_workload_may_use_only_its_own_subjects(
    config: RuntimeConfig, nats_url: str, workload: str, act: str, subject: str
) -> None:
    refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def failed(failure: Exception) -> None:
        if not refused.done():
            refused.set_result(str(failure))

    client = await nats.connect(
        nats_url,
        tls=tls.find_certificates(config, workload).client_context(),
        tls_hostname="nats.moneyprinter.svc",
        tls_handshake_first=True,
        error_cb=failed,
    )
    try:
        if act == "publish":
            await client.publish(subject, b"{}")
        else:
            await client.subscribe(subject)
        async with asyncio.timeout(30):
            assert "permissions violation" in (await refused).lower()
    finally:
        await client.close()


@pytest.mark.parametrize("workload", ["audio", "gateway", "nats"])
async def test_a_workload_without_permissions_is_refused(config: RuntimeConfig, nats_url: str, workload: str) -> None:
    with pytest.raises(Error, match=r"(?i)authorization"):
        await connect_once(nats_url, tls.find_certificates(config, workload).client_context())


async def test_a_certificate_of_another_authority_is_refused(
    config: RuntimeConfig, nats_url: str, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign"
    authority.issue_certificates(foreign, ["orchestrator"], trust_domain="cluster.local", namespace="moneyprinter")
    with pytest.raises((NoServersError, ssl.SSLError, OSError)):
        await connect_once(nats_url, context_of(foreign / "orchestrator", config.certificates / "ca.pem"))


async def test_a_client_without_certificate_is_refused(config: RuntimeConfig, nats_url: str) -> None:
    with pytest.raises((NoServersError, ssl.SSLError, OSError)):
        await connect_once(nats_url, ssl.create_default_context(cafile=str(config.certificates / "ca.pem")))


@pytest.mark.parametrize(("version", "answered"), [(ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, False)])
async def test_tls_1_2_is_refused(
    config: RuntimeConfig, nats_url: str, version: ssl.TLSVersion, answered: bool
) -> None:
    context = context_of(config.certificates / "orchestrator", config.certificates / "ca.pem")
    context.minimum_version = context.maximum_version = version
    port = urlsplit(nats_url).port
    connect = asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="nats.moneyprinter.svc")
    if answered:
        reader, writer = await connect
        assert (await reader.readline()).startswith(b"INFO ")
        writer.close()
    else:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await connect

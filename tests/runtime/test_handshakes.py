"""Peers that do not get through a handshake are in the audit trail; those that are known are not."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.content.v1 import content_service_pb2 as content_pb
from moneyprinter.content.v1 import content_service_pb2_grpc as content_grpc
from services.embedded import authority
from services.runtime import channels
from tests.mesh import Mesh
from tests.runtime.auditing import Trail, content, event_fields


def no_certificate(context: ssl.SSLContext, foreign: Path) -> None:
    """Present none."""


def foreign_certificate(context: ssl.SSLContext, foreign: Path) -> None:
    context.load_cert_chain(foreign / "orchestrator" / "cert.pem", foreign / "orchestrator" / "key.pem")


def old_tls(context: ssl.SSLContext, foreign: Path) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


async def refused(port: int, context: ssl.SSLContext | None) -> None:
    """Connect, and wait until the server ends the connection."""
    async with asyncio.timeout(20):
        with suppress(ssl.SSLError, ConnectionError):
            name = "content.moneyprinter.svc" if context else None
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ssl.SSLError, ConnectionError):
                while await reader.read(4096):
                    pass
            writer.close()


@pytest.mark.parametrize("peer", [no_certificate, foreign_certificate, old_tls, None])
async def test_a_failed_handshake_is_recorded(
    mesh: Mesh, trail: Trail, certificates: Path, tmp_path: Path, peer: Any
) -> None:
    stub = await content(mesh)
    await stub.WriteScript(content_pb.WriteScriptRequest(title="A walk"))
    context = None
    if peer:
        authority.issue_certificates(
            tmp_path / "foreign", ["orchestrator"], trust_domain="cluster.local", namespace="moneyprinter"
        )
        context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        context.set_alpn_protocols(["h2"])
        peer(context, tmp_path / "foreign")
    await refused(int(mesh.config.address("content").rpartition(":")[2]), context)
    events = await trail.wait_events("connect")
    assert [event_fields(event) for event in events] == [
        {
            "target": "spiffe://cluster.local/ns/moneyprinter/sa/content",
            "result": "PEER_UNIDENTIFIED",
            "address": "127.0.0.1",
        }
    ]


async def test_an_identified_peer_that_disconnects_is_not_recorded(mesh: Mesh, trail: Trail) -> None:
    await content(mesh)
    for caller, allowed in (("orchestrator", True), ("rendering", False)):
        channel = channels.connect(mesh.config, caller, "content", "moneyprinter.content.v1.ContentService")
        with nullcontext() if allowed else pytest.raises(errors.PermissionDenied):
            await content_grpc.ContentServiceStub(channel).WriteScript(content_pb.WriteScriptRequest(title="A walk"))
        await channel.close()
    # Told after the others would have been.
    await refused(int(mesh.config.address("content").rpartition(":")[2]), None)
    await trail.wait_events("connect")
    assert [(event.action, event.result) for event in trail.events] == [
        ("call", "CALLER_NOT_ALLOWED"),
        ("connect", "PEER_UNIDENTIFIED"),
    ]


async def test_each_of_many_failed_handshakes_is_recorded_once(mesh: Mesh, trail: Trail) -> None:
    await content(mesh)
    port = int(mesh.config.address("content").rpartition(":")[2])
    async with asyncio.TaskGroup() as crowd:
        for _ in range(100):
            crowd.create_task(refused(port, None))
    await trail.wait_events("connect", 100)
    # Told after all others would have been.
    await refused(port, None)
    await trail.wait_events("connect", 101)
    assert len(trail.events) == 101

"""What is counted can be read where a port is set for it: calls by what they ended with, and figures of a service."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from moneyprinter import errors
from moneyprinter.audio.v1 import audio_service_pb2 as pb
from moneyprinter.audio.v1 import audio_service_pb2_grpc as pb_grpc
from services.embedded import ports
from services.runtime import telemetry
from services.runtime.config import ConfigError
from services.runtime.server import Runtime
from services.runtime.telemetry import Gauge
from tests.mesh import Mesh

ROOMS = Gauge("test_rooms", "Rooms of the tests", "room")


class Voices(pb_grpc.AudioServiceServicer):
    """Has one voice."""

    async def GetVoice(self, request: pb.GetVoiceRequest, context: Any) -> pb.GetVoiceResponse:
        if request.name != "en-US":
            raise errors.InvalidArgument("nobody speaks so", reason="VOICE_UNKNOWN")
        return pb.GetVoiceResponse(name=request.name)


@asynccontextmanager
async def wire(_: None, runtime: Runtime) -> AsyncIterator[None]:
    runtime.add(pb_grpc.add_AudioServiceServicer_to_server, Voices())  # type: ignore[abstract]
    yield


async def read(port: int) -> dict[tuple[str, ...], float]:
    """What is counted: its name and the values of its labels, by the order of their names, and the figure."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.status_code == httpx.codes.OK
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_calls_are_counted_by_status_code(mesh: Mesh) -> None:
    [port] = ports.pick_ports()
    mesh.config = mesh.config.model_copy(update={"metrics_ports": {"audio": port}})
    await mesh.start("audio", None, wire)
    before = await read(port)
    stub = mesh.stub(pb_grpc.AudioServiceStub)
    for _ in range(3):
        await stub.GetVoice(pb.GetVoiceRequest(name="en-US"))
    with pytest.raises(errors.InvalidArgument):
        await stub.GetVoice(pb.GetVoiceRequest(name="xx"))
    good, bad = [
        ("rpc_server_call_duration_seconds_count", code, "/moneyprinter.audio.v1.AudioService/GetVoice", "audio")
        for code in ("OK", "InvalidArgument")
    ]
    async with asyncio.timeout(10):
        # A call is counted when it has ended, a moment after it was answered.
        while (after := await read(port)).get(bad, 0) == before.get(bad, 0):
            pass
    assert after[good] - before.get(good, 0) == 3
    assert after[bad] - before.get(bad, 0) == 1
    assert after["process_resident_memory_bytes",] > 0


async def test_gauges_are_read_at_each_scrape(mesh: Mesh) -> None:
    [port] = ports.pick_ports()
    mesh.config = mesh.config.model_copy(update={"metrics_ports": {"audio": port}})
    await mesh.start("audio", None, wire)
    rooms = {"kitchen": 1.0}
    with (
        telemetry.register_gauge(ROOMS, lambda: rooms),
        telemetry.register_gauge(ROOMS, lambda: {"kitchen": 2.0, "hall": 1.0}),
    ):
        assert (await read(port))["test_rooms", "kitchen"] == 3
        rooms["kitchen"] = 5.0
        found = await read(port)
        assert (found["test_rooms", "kitchen"], found["test_rooms", "hall"]) == (7, 1)
    assert ("test_rooms", "kitchen") not in await read(port)


async def test_a_metrics_port_in_use_is_reported(mesh: Mesh) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        mesh.config = mesh.config.model_copy(update={"metrics_ports": {"audio": port}})
        with pytest.raises(ConfigError, match=f"metrics of audio cannot be read at port {port}"):
            await mesh.start("audio", None, wire)

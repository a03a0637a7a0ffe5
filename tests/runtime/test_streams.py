"""A streaming call that is left in the middle ends at once, wherever it stood, and closes what it held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moneyprinter.encoder.v1 import encoder_service_pb2 as pb
from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from services.runtime.server import Runtime
from tests.mesh import Mesh


class Flood(pb_grpc.EncoderServiceServicer):
    """Sends packets without end, faster than a client reads."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.failures: list[BaseException] = []

    async def Encode(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.EncodeResponse]:
        task = asyncio.current_task()
        try:
            while True:
                yield pb.EncodeResponse(packet=pb.Packet(data=bytes(200_000)))
        finally:
            if asyncio.current_task() is not task:
                self.failures.append(RuntimeError("closed by somebody else"))
            self.closed.set()

    async def GetLoad(self, request: pb.GetLoadRequest, context: Any) -> pb.GetLoadResponse:
        return pb.GetLoadResponse()


@pytest.mark.parametrize("read", [1, 2, 5])
async def test_a_call_cancelled_while_it_writes_is_closed_by_its_own_task(mesh: Mesh, read: int) -> None:
    flood = Flood()

    @asynccontextmanager
    async def wire(_: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.add(pb_grpc.add_EncoderServiceServicer_to_server, flood)
        yield

    await mesh.start("encoder", None, wire)
    call = mesh.stub(pb_grpc.EncoderServiceStub, caller="processing").Encode(iter(()))
    for _ in range(read):
        await anext(aiter(call))
    call.cancel()
    async with asyncio.timeout(30):
        await flood.closed.wait()
    assert flood.failures == []


async def test_health_can_be_watched(mesh: Mesh) -> None:
    await mesh.start("encoder", None, _nothing)
    channel = mesh.channel("encoder", "moneyprinter.encoder.v1.EncoderService", caller="monitoring")
    stub: Any = health_pb2_grpc.HealthStub(channel)
    call = stub.Watch(health_pb2.HealthCheckRequest())
    first = await anext(aiter(call))
    assert first.status == health_pb2.HealthCheckResponse.SERVING
    call.cancel()


@asynccontextmanager
async def _nothing(_: None, runtime: Runtime) -> AsyncIterator[None]:
    yield

"""A server under way: how calls end that fail, take too long, or are too many, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from moneyprinter import errors
from moneyprinter.content.v1 import content_service_pb2 as pb
from moneyprinter.content.v1 import content_service_pb2_grpc as pb_grpc
from moneyprinter.validation.v1 import validation_service_pb2 as validation_pb
from moneyprinter.validation.v1 import validation_service_pb2_grpc as validation_grpc
from services.embedded import ports
from services.runtime import channels, server
from services.runtime.config import ConfigError, RuntimeConfig
from services.runtime.server import Runtime
from tests.mesh import Mesh

Handler = Callable[[], Awaitable[pb.WriteScriptResponse]]
CONTENT = "moneyprinter.content.v1.ContentService"
VALIDATION = "moneyprinter.validation.v1.ValidationService"
REQUEST = pb.WriteScriptRequest(title="A walk")


def wiring(handler: Handler, max_calls: int = 10) -> server.Wire:
    """A content service whose WriteScript is `handler`."""

    class Servicer(pb_grpc.ContentServiceServicer):
        async def WriteScript(self, request: pb.WriteScriptRequest, context: Any) -> pb.WriteScriptResponse:
            return await handler()

    @asynccontextmanager
    async def wire(_: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.max_calls = max_calls
        runtime.add(pb_grpc.add_ContentServiceServicer_to_server, Servicer())  # type: ignore[abstract]
        yield

    return wire


async def call(mesh: Mesh, **options: Any) -> pb.WriteScriptResponse:
    return await mesh.stub(pb_grpc.ContentServiceStub).WriteScript(REQUEST, **options)


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidArgument("no", reason="SCRIPT_EMPTY", violations=[errors.Violation("title", "is empty")]),
        errors.NotFound("no", reason="VIDEO_NOT_FOUND"),
        errors.Conflict("no", reason="SECRET_CONFLICT"),
        errors.FailedPrecondition("no", reason="VIDEO_NOT_READY"),
        errors.ResourceExhausted("no", reason="BUSY", retry_after_seconds=1.5),
        errors.DataLoss("no", reason="DATA_CORRUPT"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_arrives_as_it_was_raised(mesh: Mesh, error: errors.Error) -> None:
    async def handler() -> pb.WriteScriptResponse:
        raise error

    await mesh.start("content", None, wiring(handler))
    with pytest.raises(type(error)) as raised:
        await call(mesh)
    arrived = raised.value
    assert (arrived.message, arrived.reason) == (error.message, error.reason)
    assert (arrived.violations, arrived.retry_after_seconds) == (error.violations, error.retry_after_seconds)


async def test_an_unreachable_service_gives_a_retry_delay_and_no_address_of_the_mesh(
    mesh: Mesh, config: RuntimeConfig
) -> None:
    """A service that calls another one which is not there, such as the user service just after a restart."""
    [port] = ports.pick_ports()
    nobody = config.model_copy(update={"ports": {**config.ports, "validation": port}})

    async def handler() -> pb.WriteScriptResponse:
        async with channels.connect(nobody, "content", "validation", VALIDATION) as channel:
            stub: Any = validation_grpc.ValidationServiceStub(channel)
            await stub.CheckAddress(validation_pb.CheckAddressRequest(url="https://example.com"))
        raise AssertionError

    await mesh.start("content", None, wiring(handler))
    async with mesh.channel("content", CONTENT)._channel as channel:
        write = pb_grpc.ContentServiceStub(channel).WriteScript
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await write(REQUEST)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    trailers = dict(failed.value.trailing_metadata() or ())
    assert trailers["retry-after"] == "1"
    answer = str((failed.value.details(), trailers))
    assert [leak for leak in ("ipv4", "127.0.0.1", str(port), "connect to") if leak in answer] == []


async def test_the_default_retry_delay_of_an_unavailable_service_is_one_second(mesh: Mesh) -> None:
    async def handler() -> pb.WriteScriptResponse:
        raise errors.Unavailable("the database does not answer", reason="SERVICE_UNAVAILABLE")

    await mesh.start("content", None, wiring(handler))
    with pytest.raises(errors.Unavailable) as raised:
        await call(mesh)
    assert raised.value.retry_after_seconds == 1.0


@pytest.mark.parametrize("kind", [KeyError, asyncio.CancelledError])
async def test_a_defect_is_reported_by_an_incident_id_without_details(mesh: Mesh, kind: type[BaseException]) -> None:
    async def handler() -> pb.WriteScriptResponse:
        raise kind("secret-particulars")

    await mesh.start("content", None, wiring(handler))
    with pytest.raises(errors.Internal, match="incident") as raised:
        await call(mesh)
    assert "secret-particulars" not in raised.value.message


async def forever() -> pb.WriteScriptResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_call_ends_at_its_deadline(mesh: Mesh) -> None:
    await mesh.start("content", None, wiring(forever))
    with pytest.raises(errors.DeadlineExceeded) as raised:
        await call(mesh, timeout=0.2)
    assert raised.value.reason == "DEADLINE_EXCEEDED"


async def test_an_unreachable_service_is_unavailable(mesh: Mesh) -> None:
    with pytest.raises(errors.Unavailable) as raised:
        await call(mesh)
    assert raised.value.reason == "SERVICE_UNAVAILABLE"


async def test_calls_beyond_the_limit_are_refused(mesh: Mesh) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def handler() -> pb.WriteScriptResponse:
        entered.set()
        await leave.wait()
        return pb.WriteScriptResponse(writer="caller")

    await mesh.start("content", None, wiring(handler, max_calls=1))
    first = asyncio.ensure_future(call(mesh))
    await entered.wait()
    with pytest.raises(errors.ResourceExhausted) as raised:
        await call(mesh)
    assert (raised.value.reason, raised.value.retry_after_seconds) == ("BUSY", 1.0)
    leave.set()
    assert (await first).writer == "caller"


async def test_a_stopping_server_finishes_its_calls_and_accepts_no_more(config: RuntimeConfig) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def handler() -> pb.WriteScriptResponse:
        entered.set()
        await leave.wait()
        return pb.WriteScriptResponse(writer="caller")

    async with Mesh(config.model_copy(update={"grace_seconds": 20.0})) as mesh:
        running = server.run_service("content", mesh.config, settings=None, wire=wiring(handler))
        runtime = await running.__aenter__()
        mesh.config = mesh.config.model_copy(update={"ports": {**mesh.config.ports, "content": runtime.port}})
        last = asyncio.ensure_future(call(mesh))
        await entered.wait()
        stopping = asyncio.ensure_future(running.__aexit__(None, None, None))
        await runtime.stopping.wait()
        assert not last.done()
        leave.set()
        assert (await last).writer == "caller"
        await stopping
        with pytest.raises(errors.Unavailable):
            await call(mesh)


class Posts(validation_grpc.ValidationServiceServicer):
    """Counts the calls of a method that may not be repeated."""

    def __init__(self) -> None:
        self.count = 0
        self.many = asyncio.Event()

    async def PostWebhook(
        self, request: validation_pb.PostWebhookRequest, context: Any
    ) -> validation_pb.PostWebhookResponse:
        self.count += 1
        if self.count >= 400:
            self.many.set()
        return validation_pb.PostWebhookResponse(http_status=200)

    @asynccontextmanager
    async def wire(self, _: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.add(validation_grpc.add_ValidationServiceServicer_to_server, self)
        yield


@pytest.mark.parametrize("others", [0, 1])
async def test_a_stopping_server_has_not_failed(config: RuntimeConfig, others: int) -> None:
    """Calls that it has not begun are made at another one; where there is none, it is away."""
    posts, stopped = Posts(), asyncio.Event()  # type: ignore[abstract]
    made: list[validation_pb.PostWebhookResponse] = []
    refused: list[errors.Error] = []

    async def post(stub: Any) -> None:
        while not stopped.is_set():
            try:
                made.append(await stub.PostWebhook(validation_pb.PostWebhookRequest(url="https://a.test/", body=b"{}")))
            except errors.Error as error:
                refused.append(error)
                return

    async with Mesh(config) as mesh, AsyncExitStack() as stack:
        further = [(await mesh.start("validation", None, posts.wire)).port for _ in range(others)]
        runtime = await stack.enter_async_context(mesh.another("validation", posts.wire))
        ports = {**mesh.config.ports, "validation": runtime.port}
        mesh.config = mesh.config.model_copy(update={"ports": ports, "further_ports": {"validation": further}})
        stub = mesh.stub(validation_grpc.ValidationServiceStub)
        async with asyncio.TaskGroup() as callers:
            for _ in range(50):
                callers.create_task(post(stub))
            await posts.many.wait()
            await stack.aclose()
            stopped.set()
    assert len(made) == posts.count
    assert {(type(error), error.reason) for error in refused} == (
        set() if others else {(errors.Unavailable, "SERVICE_UNAVAILABLE")}
    )


async def test_every_workload_can_check_health(mesh: Mesh) -> None:
    await mesh.start("content", None, wiring(forever))
    channel = mesh.channel("content", "moneyprinter.content.v1.ContentService", caller="audio")
    stub: Any = health_pb2_grpc.HealthStub(channel)
    for name in ("", "moneyprinter.content.v1.ContentService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("flag", [False, True])
async def test_reflection_is_off_unless_configured(config: RuntimeConfig, flag: bool) -> None:
    async with Mesh(config.model_copy(update={"reflection": flag})) as mesh:
        await mesh.start("content", None, wiring(forever))
        channel: Any = mesh.channel("content", "moneyprinter.content.v1.ContentService")
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)

        async def asked() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")

        async def names() -> list[str]:
            answers = [answer async for answer in stub.ServerReflectionInfo(asked())]
            return [service.name for service in answers[0].list_services_response.service]

        if flag:
            assert "moneyprinter.content.v1.ContentService" in await names()
        else:
            with pytest.raises(errors.Error) as raised:
                await names()
            assert raised.value.reason == "METHOD_UNKNOWN"


async def test_a_port_in_use_is_reported_in_one_line(mesh: Mesh) -> None:
    runtime = await mesh.start("content", None, wiring(forever))
    taken = mesh.config.model_copy(update={"ports": {**mesh.config.ports, "content": runtime.port}})
    with pytest.raises(ConfigError, match=rf"content cannot listen on 127\.0\.0\.1:{runtime.port}: the port is in use"):
        async with server.run_service("content", taken, settings=None, wire=wiring(forever)):
            pass

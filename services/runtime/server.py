"""Server: the one way in which a service starts, is called, and stops.

`running(service, config)` opens what the service's `wire` opens, serves it over mTLS, and closes all of
it in reverse. Every call passes the same chain, outermost first: telemetry, error mapping and audit, peer
identity, user, access rule, deadline, admission, and the contract's rules for each message.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from moneyprinter import calls, contract
from moneyprinter.errors import PermissionDenied, Unauthenticated, Unavailable
from moneyprinter.objects import Objects
from moneyprinter.user.v1 import audit_service_pb2, audit_service_pb2_grpc, user_service_pb2, user_service_pb2_grpc
from services.runtime import access, channels, errors, scratch, telemetry, tls
from services.runtime import contract as contracts
from services.runtime.admission import Admission, ConcurrencyLimit, Flow, Patience, Places, share
from services.runtime.authority import Authority, checker
from services.runtime.config import ConfigError, RuntimeConfig, load
from services.runtime.scratch import Scratch
from services.runtime.wire import Limits

log = structlog.get_logger()

Wire = Callable[[Any, "Runtime"], Any]

CHECK_SECONDS = 2.0
CANCEL_SECONDS = 3.0
MAX_CALLS = 1000

# What the gateway adds to calls that come over REST: where they came, and whether they want the headers alone.
TRANSCODED = "x-envoy-original-path"
HEAD = "x-http-head"

CUT = b"\x7a\x7f"
"""No message: a field that is longer than all that follows.

Over REST, an error after the first bytes of a file would look like its end: HTTP/1.1 has no trailers that clients read.
At this, Envoy's transcoder resets the stream, which breaks the connection.
"""

_EXPECTED_ENDS = ("AUTHORITY_ENDED", "DEADLINE_EXCEEDED")

OPTIONS = (
    # Without this a second process would share the port in silence.
    ("grpc.so_reuseport", 0),
    # Who connects and shows no certificate has so long.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    # Messages are not compressed: a few bytes could stand for all of the above. The bits are the algorithms; 1: none.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60 * 60_000),
)


class Runtime:
    """What the wiring of a service is given."""

    def __init__(
        self,
        service: str,
        config: RuntimeConfig,
        server: grpc.aio.Server,
        stack: AsyncExitStack,
        outbox: access.Outbox,
    ) -> None:
        self.service = service
        self.config = config
        self.outbox = outbox
        """What is told to the audit trail; the user service, which keeps it, sends it to itself."""
        self.port = 0
        """The port that it listens on."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with the error when a background task dies."""
        self.stopping = asyncio.Event()
        """Set when the service begins to stop: calls that wait for something end now."""
        self.admission = Admission(MAX_CALLS, config.max_streams, config.streams_per_client)
        """How many calls are served at once."""
        self.keys: access.Keys | None = None
        """The keys of user tokens, when a wiring has them itself; they are asked of the user service otherwise."""
        self.health = Health()
        self.contracts: list[str] = []
        self._server = server
        self._stack = stack
        self._scratch = Scratch(config.scratch, service)
        stack.callback(self._scratch.close)

    def add(self, register: Callable[[Any, grpc.aio.Server], None], servicer: Any) -> None:
        """Serve a servicer: `runtime.add(pb_grpc.add_AudioServiceServicer_to_server, AudioServicer(...))`."""
        register(servicer, self._server)
        module = importlib.import_module(register.__module__.removesuffix("_grpc"))
        name = register.__name__.removeprefix("add_").removesuffix("Servicer_to_server")
        self.contracts.append(module.DESCRIPTOR.services_by_name[name].full_name)

    @property
    def max_calls(self) -> int:
        """How many calls are served at once beside streams; more are refused. A wiring may lower it."""
        return self.admission.calls.most

    @max_calls.setter
    def max_calls(self, most: int) -> None:
        self.admission.calls = ConcurrencyLimit(most, share(most))

    def limit(self, most: int, *methods: str, each: int | None = None, while_working: bool = False) -> None:
        """Serve at most so many calls of some methods (`/package.Service/Method`) together at once.

        One client may have `each` of them, by default a quarter. With `while_working`, a call counts until its answer
        begins. So what clients may ask for leaves places for what the mesh itself asks.
        """
        what = f"calls of {', '.join(method.rpartition('/')[2] for method in methods)}"
        limit = ConcurrencyLimit(most, each or share(most), what, while_working=while_working)
        self.admission.methods.update(dict.fromkeys(methods, limit))

    def connect(self, service: str, contract_name: str) -> calls.TypedChannel:
        """Open a channel to another service; it closes with this one."""
        channel = channels.connect(self.config, self.service, service, contract_name)
        self._stack.push_async_callback(channel.close)
        return channel

    def objects(self) -> Objects:
        """The objects of the storage service."""
        return Objects(self.connect("storage", "moneyprinter.storage.v1.StorageService"))

    def check(self, name: str, probe: Callable[[], Awaitable[object]]) -> None:
        """Answer the health check `name` by running `probe`; what it raises means NOT_SERVING."""
        self.health.probes[name] = probe

    @asynccontextmanager
    async def background(self, work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
        """Run `work` while the context is open. When it dies before, the process stops, and is started anew."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (failure := task.exception()):
                log.error("background task died", service=self.service, task=name, exc_info=failure)
                if not self.failed.done():
                    self.failed.set_exception(failure)

        task = asyncio.create_task(work, name=f"{self.service}: {name}")
        task.add_done_callback(ended)
        try:
            yield
        finally:
            await cancel(task)

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """A new folder for files of work in progress, removed when the context closes."""
        folder = self._scratch.folder()
        try:
            yield folder
        finally:
            # Shielded: a call that ends well may be cancelled while its folder waits for a thread that removes it.
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


class Health(health_aio.HealthServicer):
    """grpc.health.v1, with checks that are run when they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.probes: dict[str, Callable[[], Awaitable[object]]] = {}

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> health_pb2.HealthCheckResponse:
        probe = self.probes.get(request.service)
        if probe is None:
            return await super().Check(request, context)
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await probe()
        except Exception as failure:
            log.warning("health check failed", check=request.service, error=str(failure) or type(failure).__name__)
            return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


class Chain(grpc.aio.ServerInterceptor):
    """What every call passes before and after its handler."""

    def __init__(
        self,
        service: str,
        decide: access.Access,
        outbox: access.Outbox,
        arrivals: tls.Arrivals,
        authority: Authority,
    ) -> None:
        self._service = service
        self._authority = authority
        self._arrivals = arrivals
        self._access = decide
        self._outbox = outbox
        self.runtime: Runtime | None = None

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        method, metadata = details.method, _combined(details.invocation_metadata or ())
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        behaviour = getattr(handler, kind)
        message = handler.request_deserializer.__self__
        at_most = contracts.limits(method, message)

        streams = handler.request_streaming or handler.response_streaming

        async def checked(request: Any, call: access.Call, flow: Flow) -> Any:
            if handler.request_streaming:
                call.reached = True
                return _checked_stream(flow.received(request), message, at_most, call)
            read = await contracts.read(request, message, at_most)
            call.requested(read)
            call.reached = True
            return read

        async def answer(request: Any, context: Any) -> Any:
            async with self._call(method, metadata, context, streams=streams) as (call, flow):
                response = await behaviour(await checked(request, call, flow), context)
                call.answered(response)
                return response

        async def stream(request: Any, context: Any) -> None:
            # Written here, not yielded: gRPC leaves the generator of a cancelled call to the garbage collector.
            async with self._call(method, metadata, context, streams=streams) as (call, flow):
                responses = behaviour(await checked(request, call, flow), context)
                if inspect.iscoroutine(responses):
                    await responses  # It writes by itself, as the health service's Watch does.
                    return
                async with aclosing(responses):
                    async for response in responses:
                        call.answered(response)
                        await flow.send(response, context)
                        if HEAD in metadata:
                            break

        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(
            stream if handler.response_streaming else answer,
            # Not before the caller is known to be allowed to send it.
            request_deserializer=None,
            response_serializer=lambda response: CUT if response is CUT else handler.response_serializer(response),
        )

    @asynccontextmanager
    async def _call(
        self, method: str, metadata: dict[str, Any], context: Any, *, streams: bool
    ) -> AsyncIterator[tuple[access.Call, Flow]]:
        with (
            telemetry.traced(metadata.get(telemetry.TRACEPARENT)),
            telemetry.logged_call(self._service, method) as outcome,
        ):
            self._arrivals.known(context.peer())
            call = access.Call(self._outbox, method)
            flow = None
            try:
                await self._access.admit(method, context.auth_context(), metadata, context.peer())
                seconds = min(contract.deadline_seconds(method), context.time_remaining() or float("inf"))
                channels.serve_until(seconds)
                authority = self._authority.required(method) if streams else nullcontext()
                async with asyncio.timeout(seconds), authority:
                    with self._admitted(method, streams=streams) as flow:
                        yield call, flow
                call.ended("OK")
            except (Exception, asyncio.CancelledError) as failure:
                if isinstance(failure, asyncio.CancelledError) and _is_cancelled():
                    outcome["code"] = "CANCELLED"
                    call.ended("CANCELLED")
                    raise
                error = errors.typed(failure)
                outcome.update(code=type(error).__name__, reason=error.reason)
                if notes := getattr(error, "__notes__", None):
                    outcome["note"] = notes[0]
                call.ended(error.reason, refused=isinstance(error, PermissionDenied | Unauthenticated))
                # Events end with their deadline and with what allowed them; clients go on.
                breaks = flow is not None and flow.has_begun and (flow.sends_file or error.reason not in _EXPECTED_ENDS)
                if breaks and TRANSCODED in metadata:
                    with suppress(Exception):
                        await context.write(CUT)
                await errors.abort(context, error)

    @contextmanager
    def _admitted(self, method: str, *, streams: bool) -> Iterator[Flow]:
        assert self.runtime is not None
        if method.startswith(access.FOR_EVERY_WORKLOAD):
            # Whether a server is well is answered however much it has to do.
            yield Flow(Places(), None)
            return
        from_client = access.caller() == "gateway"
        admission, config = self.runtime.admission, self.runtime.config
        patience = Patience(config.client_grace_seconds, config.client_bytes_per_second) if from_client else None
        with admission.admitted(method, access.client(), directly=from_client, streams=streams) as places:
            yield Flow(places, patience)


def _is_cancelled() -> bool:
    """Whether this task is cancelled, and not only what it waited for: to a client, CANCELLED is a call never begun."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _combined(metadata: Any) -> dict[str, Any]:
    """Metadata by name. What came twice becomes one value, as in HTTP, so that nobody sees one and misses another."""
    found: dict[str, Any] = {}
    for name, value in metadata:
        found[name] = f"{found[name]}, {value}" if name in found and isinstance(value, str) else value
    return found


async def _checked_stream(
    requests: AsyncIterator[bytes], kind: type[Message], at_most: Limits, call: access.Call
) -> AsyncIterator[Message]:
    async for request in requests:
        read = await contracts.read(request, kind, at_most)
        call.requested(read)
        yield read


@asynccontextmanager
async def running(
    service: str,
    config: RuntimeConfig,
    *,
    settings: Any = None,
    keys: access.Keys | None = None,
    wire: Wire | None = None,
) -> AsyncIterator[Runtime]:
    """Run one service while the context is open; it is ready when the body begins.

    `settings` is the service's `Config`; without it, it is read from the environment. `keys` are the
    keys of user tokens; without them, they are asked of the user service. `wire` is the service's own
    unless a test brings another.
    """
    if wire is None:
        wire, settings = _find(service, settings)
    await asyncio.to_thread(scratch.clear, config.scratch)
    async with AsyncExitStack() as stack:
        stack.enter_context(telemetry.readable(config, service))
        channel = channels.connect(config, service, "user", "moneyprinter.user.v1.UserService")
        stack.push_async_callback(channel.close)
        decide = access.Access(config, keys or _user_service_keys(channel))
        outbox = access.Outbox(config, service, _user_service_trail(channel))
        arrivals = tls.Arrivals(outbox.left_unknown)
        stack.callback(arrivals.close)
        authority = Authority(checker(channel))
        chain = Chain(service, decide, outbox, arrivals, authority)
        server = grpc.aio.server(interceptors=(chain,), options=OPTIONS)
        address = f"{config.bind}:{config.ports[service]}"
        try:
            port = server.add_secure_port(address, tls.certificates(config, service).server(arrivals.arrived))
        except RuntimeError:
            raise ConfigError(f"{service} cannot listen on {address}: the port is in use") from None
        runtime = chain.runtime = Runtime(service, config, server, stack, outbox)
        runtime.port = port
        arrivals.serve(port)
        await stack.enter_async_context(wire(settings, runtime))
        await stack.enter_async_context(_told(runtime))
        await stack.enter_async_context(runtime.background(authority.run(), "authority"))
        decide.keys = keys or runtime.keys or decide.keys
        health_pb2_grpc.add_HealthServicer_to_server(runtime.health, server)
        if config.reflection:
            reflection.enable_server_reflection([*runtime.contracts, reflection.SERVICE_NAME], server)
        await server.start()
        for name in ("", *runtime.contracts):
            await runtime.health.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info("service ready", service=service, address=address)
        try:
            yield runtime
        finally:
            runtime.stopping.set()
            arrivals.close()
            await runtime.health.enter_graceful_shutdown()
            await server.stop(config.grace_seconds)


def _find(service: str, settings: Any) -> tuple[Wire, Any]:
    try:
        wire = importlib.import_module(f"services.{service}.server").wire
    except ModuleNotFoundError as missing:
        if missing.name not in (f"services.{service}", f"services.{service}.server"):
            raise
        raise ConfigError(f"there is no service {service}") from None
    if settings is None:
        settings = load(importlib.import_module(f"services.{service}.config").Config)
    return wire, settings


@asynccontextmanager
async def _told(runtime: Runtime) -> AsyncIterator[None]:
    """Tell the audit trail what happens while the context is open, to the last."""
    try:
        async with runtime.background(runtime.outbox.run(), "audit"):
            yield
    finally:
        await runtime.outbox.drain()


def _user_service_trail(channel: calls.TypedChannel) -> Callable[[Sequence[Any]], Awaitable[object]]:
    stub = audit_service_pb2_grpc.AuditServiceStub(channel)

    async def send(events: Sequence[Any]) -> None:
        await stub.AppendEvents(audit_service_pb2.AppendEventsRequest(events=events))

    return send


def _user_service_keys(channel: calls.TypedChannel) -> access.Keys:
    stub = user_service_pb2_grpc.UserServiceStub(channel)

    async def fetch() -> dict[str, Any]:
        found = await stub.ListSigningKeys(user_service_pb2.ListSigningKeysRequest())
        fields = ("kty", "crv", "x", "y", "kid", "use", "alg")
        return {"keys": [{field: getattr(key, field) for field in fields} for key in found.keys]}

    return access.Keys(fetch)


async def serve(
    services: Sequence[str], config: RuntimeConfig, stop: asyncio.Event, ready: Callable[[], None] = lambda: None
) -> None:
    """Run services until `stop` is set, all at once, since one may wait for another; call `ready` when all are.

    When one fails, the others are stopped in order, and its error is raised.
    """
    waiting = set(services)

    async def one(service: str) -> None:
        async with running(service, config) as runtime:
            waiting.discard(service)
            if not waiting:
                # What is there now stays: the collector, which holds up the loop, need not look through it again.
                gc.freeze()
                ready()
            stopped = asyncio.create_task(stop.wait())
            runtime.failed.add_done_callback(lambda _: stopped.cancel())
            await asyncio.wait([stopped])
            if runtime.failed.done():
                runtime.failed.result()
            others = [task for name, task in tasks.items() if name != service]
            if others and service == "user":
                # To the last: the others have something to tell the audit trail while they stop.
                await asyncio.wait(others)

    tasks: dict[str, asyncio.Task[None]] = {}
    try:
        async with asyncio.TaskGroup() as group:
            for service in services:
                tasks[service] = group.create_task(one(service), name=service)
    except* (ConfigError, Unavailable) as failures:
        raise failures.exceptions[0] from None


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end.

    More than once where needed: `asyncio.wait_for` of Python 3.11, which nats-py uses, loses a cancellation
    that comes at the moment in which what it waits for is done.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_SECONDS)


async def connected(channel: calls.TypedChannel, service: str, seconds: float = 15.0) -> None:
    """Wait until a channel is connected. Raises Unavailable when it is not within `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await channel.channel_ready()
            return
    raise Unavailable(f"{service} cannot be reached", reason="SERVICE_UNAVAILABLE")

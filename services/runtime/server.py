"""Server: how every service starts, serves and stops.

`run_service(service, config)` enters the service's `wire` context, serves its servicers over mTLS, and closes all of it
in reverse order. Every call passes the `CallInterceptor`.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from moneyprinter import calls
from moneyprinter.config.v1 import config_service_pb2_grpc
from moneyprinter.errors import Unavailable
from moneyprinter.user.v1 import audit_service_pb2, audit_service_pb2_grpc, user_service_pb2, user_service_pb2_grpc
from services.runtime import channels, redis, revocation, scratch, telemetry, tls, turns
from services.runtime.admission import Admission, ConcurrencyLimit, client_share
from services.runtime.audit import AuditBuffer
from services.runtime.authorizer import Authorizer, TokenKeys
from services.runtime.config import ConfigError, RuntimeConfig
from services.runtime.credentials import CredentialGuard
from services.runtime.handshakes import HandshakeMonitor
from services.runtime.interceptor import CallInterceptor
from services.runtime.layers import load
from services.runtime.objects import Objects
from services.runtime.redis import RedisClient
from services.runtime.revocation_feed import RevocationFeed
from services.runtime.scratch import Scratch
from services.runtime.secrets import SecretClient
from services.runtime.tasks import cancel

log = structlog.get_logger()

Wire = Callable[[Any, "Runtime"], Any]

CHECK_SECONDS = 2.0
MAX_CALLS = 1000

OPTIONS = (
    # By default a second process would silently share the port.
    ("grpc.so_reuseport", 0),
    # The time for a handshake.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    # Compression is off, because a few bytes could expand to the limit above. A bit per algorithm; 1: identity only.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60 * 60_000),
)


class Runtime:
    """The runtime of one service: what its `wire` function registers with and takes from."""

    def __init__(
        self,
        service: str,
        config: RuntimeConfig,
        server: grpc.aio.Server,
        stack: AsyncExitStack,
        audit: AuditBuffer,
        admission: Admission,
    ) -> None:
        self.service = service
        self.config = config
        self.audit = audit
        """The events for the audit log. The user service, which stores that log, replaces `audit.send`."""
        self.port = 0
        """The port on which the server listens."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with the error of a background task that died."""
        self.stopping = asyncio.Event()
        """Set when the service begins to stop, so that calls that wait can end."""
        self.admission = admission
        """The concurrency limits of the server."""
        self.keys: TokenKeys | None = None
        """The keys of user tokens, when the service has them itself; others fetch them from the user service."""
        self.redis: RedisClient | None = None
        """The client of Redis, when the settings name one."""
        self.health = Health()
        self.contracts: list[str] = []
        self._server = server
        self._stack = stack
        self._scratch = Scratch(config.scratch, service)
        stack.callback(self._scratch.close)

    def add(self, register: Callable[[Any, grpc.aio.Server], None], servicer: Any) -> None:
        """Register a servicer: `runtime.add(pb_grpc.add_AudioServiceServicer_to_server, AudioServicer(...))`."""
        register(servicer, self._server)
        module = importlib.import_module(register.__module__.removesuffix("_grpc"))
        name = register.__name__.removeprefix("add_").removesuffix("Servicer_to_server")
        self.contracts.append(module.DESCRIPTOR.services_by_name[name].full_name)

    @property
    def max_calls(self) -> int:
        """The number of calls besides client streams that are served at once; further calls are refused."""
        return self.admission.calls.limit

    @max_calls.setter
    def max_calls(self, limit: int) -> None:
        self.admission.calls = ConcurrencyLimit(limit, client_share(limit))

    def limit(self, limit: int, *methods: str, per_client: int | None = None, until_response: bool = False) -> None:
        """Serve at most `limit` calls of all `methods` (`/package.Service/Method`) at once.

        One client may have `per_client` of them, by default a quarter. With `until_response`, a call counts until its
        response begins. Such limits keep slots free for calls of the mesh itself.
        """
        name = f"calls of {', '.join(method.rpartition('/')[2] for method in methods)}"
        shared = ConcurrencyLimit(limit, per_client or client_share(limit), name, until_response=until_response)
        self.admission.methods.update(dict.fromkeys(methods, shared))

    def take_turns(self, *methods: str, weight: int = turns.LIGHT) -> None:
        """Let the calls of unary `methods` (`/package.Service/Method`) take turns (`services.runtime.turns`).

        The weight of a request is that of its size, but at least `weight`.
        """
        self.admission.weights.update(dict.fromkeys(methods, weight))

    def connect(self, service: str, contract_name: str) -> calls.TypedChannel:
        """Open a channel to a gRPC service (`package.Service`) of another service. It closes with this one."""
        channel = channels.connect(self.config, self.service, service, contract_name)
        self._stack.push_async_callback(channel.close)
        return channel

    def objects(self) -> Objects:
        """Open a channel to the storage service and return a client of its objects."""
        return Objects(self.connect("storage", "moneyprinter.storage.v1.StorageService"))

    def check(self, name: str, probe: Callable[[], Awaitable[object]]) -> None:
        """Answer the health check `name` with NOT_SERVING when `probe` raises, and else with SERVING."""
        self.health.probes[name] = probe

    @asynccontextmanager
    async def background(self, work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
        """Run `work` while the context is open. When it dies earlier, `failed` fails, and the process stops."""

        def report_death(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (failure := task.exception()):
                log.error("background task died", service=self.service, task=name, exc_info=failure)
                if not self.failed.done():
                    self.failed.set_exception(failure)

        task = asyncio.create_task(work, name=f"{self.service}: {name}")
        task.add_done_callback(report_death)
        try:
            yield
        finally:
            await cancel(task)

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """Yield a new folder for temporary files, removed when the context closes."""
        folder = self._scratch.folder()
        try:
            yield folder
        finally:
            # Shielded: a call that ended well may be cancelled while a thread removes its folder.
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


class Health(health_aio.HealthServicer):
    """The servicer of grpc.health.v1, with checks that run on request."""

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


@asynccontextmanager
async def run_service(
    service: str,
    config: RuntimeConfig,
    *,
    settings: Any = None,
    keys: TokenKeys | None = None,
    wire: Wire | None = None,
) -> AsyncIterator[Runtime]:
    """Run one service while the context is open; it is ready when the body begins.

    `settings` is the service's `Config`, by default read from the environment. `keys` are the keys of user tokens, by
    default fetched from the user service. `wire` is the service's own unless a test passes another. Raises
    `ConfigError` when the service is unknown, a setting is wrong or the port is in use.
    """
    if wire is None:
        wire, settings = await _load_service(service, settings, config)
    await asyncio.to_thread(scratch.clear, config.scratch)
    async with AsyncExitStack() as stack:
        stack.enter_context(telemetry.serve_metrics(config, service))
        channel = channels.connect(config, service, "user", "moneyprinter.user.v1.UserService")
        stack.push_async_callback(channel.close)
        authorizer = Authorizer(config, keys or _user_service_keys(channel))
        audit = AuditBuffer(config, service, _user_service_audit(channel))
        handshakes = HandshakeMonitor(audit.record_failed_handshake)
        stack.callback(handshakes.close)
        check = revocation.credential_check(channel)
        monitor = revocation.RevocationMonitor(check)
        redis_client = await stack.enter_async_context(redis.open_client(config))
        # Other keys are not the user service's, which then has not issued the tokens.
        if keys is None and service in revocation.checking_services():
            authorizer.credentials = CredentialGuard(check, RevocationFeed(redis_client) if redis_client else None)
        admission = Admission(MAX_CALLS, config.max_streams, config.streams_per_client)
        interceptor = CallInterceptor(service, config, authorizer, audit, handshakes, monitor, admission)
        server = grpc.aio.server(interceptors=(interceptor,), options=OPTIONS)
        address = f"{config.bind}:{config.ports[service]}"
        try:
            credentials = tls.find_certificates(config, service).server_credentials(handshakes.scan)
            port = server.add_secure_port(address, credentials)
        except RuntimeError:
            raise ConfigError(f"{service} cannot listen on {address}: the port is in use") from None
        runtime = Runtime(service, config, server, stack, audit, admission)
        runtime.redis = redis_client
        runtime.port = port
        handshakes.watch(port)
        await stack.enter_async_context(wire(settings, runtime))
        await stack.enter_async_context(_send_audit_events(runtime))
        await stack.enter_async_context(runtime.background(monitor.run(), "revocation"))
        authorizer.keys = keys or runtime.keys or authorizer.keys
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
            handshakes.close()
            await runtime.health.enter_graceful_shutdown()
            await server.stop(config.grace_seconds)


async def _load_service(service: str, settings: Any, config: RuntimeConfig) -> tuple[Wire, Any]:
    try:
        wire = importlib.import_module(f"services.{service}.server").wire
    except ModuleNotFoundError as missing:
        if missing.name not in (f"services.{service}", f"services.{service}.server"):
            raise
        raise ConfigError(f"there is no service {service}") from None
    if settings is None:
        stored = await _read_stored_settings(service, config) if config.stored_settings and service != "config" else {}
        settings = load(importlib.import_module(f"services.{service}.config").Config, stored=stored)
    return wire, settings


async def _read_stored_settings(service: str, config: RuntimeConfig) -> Any:
    """Return the settings in the secret `<service>/settings`. Raises `ConfigError` when they are no JSON object."""
    channel = channels.connect(config, service, "config", "moneyprinter.config.v1.ConfigService")
    try:
        await wait_connected(channel, "config")
        found = await SecretClient(config_service_pb2_grpc.ConfigServiceStub(channel)).read(f"{service}/settings")
    finally:
        await channel.close()
    try:
        return json.loads(found.value) if found else {}
    except ValueError:
        raise ConfigError(f"the secret {service}/settings is no JSON object of settings") from None


@asynccontextmanager
async def _send_audit_events(runtime: Runtime) -> AsyncIterator[None]:
    """Send audit events while the context is open, and the last ones when it closes."""
    try:
        async with runtime.background(runtime.audit.run(), "audit"):
            yield
    finally:
        await runtime.audit.drain()


def _user_service_audit(channel: calls.TypedChannel) -> Callable[[Sequence[Any]], Awaitable[object]]:
    stub = audit_service_pb2_grpc.AuditServiceStub(channel)

    async def send(events: Sequence[Any]) -> None:
        await stub.AppendEvents(audit_service_pb2.AppendEventsRequest(events=events))

    return send


def _user_service_keys(channel: calls.TypedChannel) -> TokenKeys:
    stub = user_service_pb2_grpc.UserServiceStub(channel)

    async def fetch() -> dict[str, Any]:
        found = await stub.ListSigningKeys(user_service_pb2.ListSigningKeysRequest())
        fields = ("kty", "crv", "x", "y", "kid", "use", "alg")
        return {"keys": [{field: getattr(key, field) for field in fields} for key in found.keys]}

    return TokenKeys(fetch)


async def serve(
    services: Sequence[str], config: RuntimeConfig, stop: asyncio.Event, ready: Callable[[], None] = lambda: None
) -> None:
    """Run services until `stop` is set, and call `ready` when all are ready.

    They start concurrently, because one may wait for another. When one fails, the others are stopped in order, and its
    error is raised: a `ConfigError` or `Unavailable` alone, any other in an `ExceptionGroup`.
    """
    waiting = set(services)

    async def one(service: str) -> None:
        async with run_service(service, config) as runtime:
            waiting.discard(service)
            if not waiting:
                # Objects of the start live for ever: the collector, which blocks the loop, need not scan them again.
                gc.freeze()
                ready()
            stopped = asyncio.create_task(stop.wait())
            runtime.failed.add_done_callback(lambda _: stopped.cancel())
            await asyncio.wait([stopped])
            if runtime.failed.done():
                runtime.failed.result()
            others = [task for name, task in tasks.items() if name != service]
            if others and service == "user":
                # The user service stops last, because the others send audit events while they stop.
                await asyncio.wait(others)

    tasks: dict[str, asyncio.Task[None]] = {}
    try:
        async with asyncio.TaskGroup() as group:
            for service in services:
                tasks[service] = group.create_task(one(service), name=service)
    except* (ConfigError, Unavailable) as failures:
        raise failures.exceptions[0] from None


async def wait_connected(channel: calls.TypedChannel, service: str, seconds: float = 15.0) -> None:
    """Wait until a channel to `service` is connected. Raises `Unavailable` after `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await channel.channel_ready()
            return
    raise Unavailable(f"{service} cannot be reached", reason="SERVICE_UNAVAILABLE")

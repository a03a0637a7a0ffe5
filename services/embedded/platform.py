"""Platform: the whole of MoneyPrinter on one machine, started in order and stopped in reverse.

    certificates -> PostgreSQL, NATS -> the services, Envoy -> `GET /health` answers 200

Nothing that it starts outlives it, however it ends.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config import Gateway
from services.embedded import authority, environment, envoy, folder, health, nats, ports, postgres, replicas, servers
from services.embedded.errors import PlatformError
from services.runtime import telemetry
from services.runtime.config import PORTS, PREFIX, SERVICES, RuntimeConfig, load
from services.runtime.server import serve
from services.runtime.tasks import run_all

log = structlog.get_logger()

NONE: Mapping[str, int] = {}
HEALTH_PAUSE_SECONDS = 0.05
HEALTH_SECONDS = 5.0


@dataclass(frozen=True)
class Platform:
    """A platform that is ready."""

    url: str
    """Of its gateway, for example `http://127.0.0.1:8080`."""
    data: Path
    new_account: Path | None
    """The file of the account that was made by this start: JSON with `username` and `password`."""
    failed: asyncio.Future[None]
    """Ends with the error when its services end by themselves."""


@asynccontextmanager
async def platform(
    data: Path,
    *,
    port: int = PORTS["gateway"],
    processes: bool = False,
    instances: Mapping[str, int] = NONE,
    tls: bool = False,
    allow_local: bool = False,
) -> AsyncIterator[Platform]:
    """Run a platform on a data folder while the context is open; it is ready when the body begins.

    `port` is the gateway's, and the services' follow it; 0 picks free ones. With `processes`, each service
    is a process of its own, which is started again when it dies, and `instances` says of which there are
    several; with `tls`, the gateway serves https; with `allow_local`, clips may come from this machine, and webhooks
    be posted to it. Raises PlatformError, ConfigError or
    moneyprinter.errors.Unavailable, in one line, when something does not start.
    """
    data = data.expanduser().resolve()
    async with AsyncExitStack() as stack:
        stack.enter_context(folder.locked(data))
        numbers = ports.of_platform(port)
        ports.check(numbers)
        folder.announce(data, numbers["gateway"], tls=tls)
        logs = data / "logs"
        for private in (logs, data / "scratch"):
            private.mkdir(mode=0o700, exist_ok=True)
        further = replicas.further_ports(instances)
        stack.enter_context(environment.applied(environment.of_runtime(data, numbers, further)))
        config = load(RuntimeConfig)
        stack.enter_context(_logged(config, logs / "services.log"))
        authority.issue(
            config.certificates, (*PORTS, "nats"), trust_domain=config.trust_domain, namespace=config.namespace
        )
        # Reading the services' code takes as long as starting the servers that they need.
        reading = asyncio.create_task(asyncio.to_thread(_read_code, () if processes else SERVICES))
        database_port, nats_port, internal_port = ports.pick(3)
        database, nats_url = await _together(
            stack,
            _database(data, logs / "postgres.log", database_port),
            nats.running(
                config,
                data / "nats",
                log_file=logs / "nats.log",
                port=nats_port,
                until_hung=lambda pid: health.until_nats_hung(pid, config, f"tls://{ports.BIND}:{nats_port}"),
            ),
        )
        stack.enter_context(environment.applied(environment.of_services(data, database, nats_url)))
        if allow_local:
            stack.enter_context(environment.applied(environment.of_local_addresses()))
        await reading
        gateway = Gateway(
            addresses={name: ",".join(config.addresses(name)) for name in SERVICES},
            certificates=config.certificates,
            bind=ports.BIND,
            port=numbers["gateway"],
            tls=authority.issue_public(config.certificates) if tls else None,
            internal_port=internal_port,
            trust_domain=config.trust_domain,
            namespace=config.namespace,
            token_issuer=config.token_issuer,
            token_audience=config.token_audience,
            access_log=logs / "requests.log",
        )
        logs_bounded = asyncio.create_task(servers.bound_logs(logs))
        stack.callback(logs_bounded.cancel)
        url = folder.url(numbers["gateway"], tls=tls)
        account = data / "first-account"
        new_account = not account.exists()
        failed, _ = await _together(
            stack,
            _in_processes(config, logs, {**replicas.settings(instances), **os.environ})
            if processes
            else _in_this_process(config),
            envoy.running(
                gateway,
                data / "gateway",
                log_file=logs / "envoy.log",
                until_hung=lambda pid: health.until_hung(pid, lambda: envoy.answer(gateway, data / "gateway")),
            ),
        )
        await servers.in_time(healthy(url, data), failed, f"{url}/health does not say healthy", f"see {logs}")
        if instances:
            late = "the gateway does not use every instance"
            await servers.in_time(envoy.all_in_use(gateway, data / "gateway", instances), failed, late, f"see {logs}")
        log.info("platform ready", url=url)
        yield Platform(url, data, account if new_account and account.exists() else None, failed)


async def healthy(url: str, data: Path) -> None:
    """Wait until the platform at `url`, on the folder `data`, says that it is healthy and has the keys of tokens."""
    config = RuntimeConfig()
    nobody = {"iss": config.token_issuer, "aud": config.token_audience, "sub": "nobody", "exp": 2**31, "iat": 0}
    token = jwt.encode(nobody, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "none"})
    for path, expected in (("/health", http.client.OK), ("/v1/videos", http.client.UNAUTHORIZED)):
        while await asyncio.to_thread(_status, url, data, path, token) != expected:  # noqa: ASYNC110  nothing tells us when
            await asyncio.sleep(HEALTH_PAUSE_SECONDS)


def _status(url: str, data: Path, path: str, token: str) -> int:
    """The status of a GET with a token; 0 when nobody answers."""
    where = urlsplit(url)
    connection: http.client.HTTPConnection
    if where.scheme == "https":
        trusted = ssl.create_default_context(cafile=str(folder.trusted(data)))
        connection = http.client.HTTPSConnection(where.netloc, timeout=HEALTH_SECONDS, context=trusted)
    else:
        connection = http.client.HTTPConnection(where.netloc, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


async def _together(stack: AsyncExitStack, *contexts: AbstractAsyncContextManager[Any]) -> tuple[Any, ...]:
    """Open contexts at once, which will close in reverse of the order in which they opened. Raises the first error."""
    return await run_all(*(stack.enter_async_context(context) for context in contexts))


@asynccontextmanager
async def _database(data: Path, log_file: Path, port: int) -> AsyncIterator[postgres.Postgres]:
    passwords = data / "passwords"
    async with postgres.running(
        data / "postgres",
        passwords=passwords,
        log_file=log_file,
        port=port,
        until_hung=lambda server, pid: health.until_hung(pid, health.of_postgres(server)),
    ) as database:
        await postgres.prepare(database)
        yield database


@asynccontextmanager
async def _in_this_process(config: RuntimeConfig) -> AsyncIterator[asyncio.Future[None]]:
    """Serve all services here; yields what ends when they do."""
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(_serve(config, stop, ready), name="services")
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield serving
    finally:
        waiting.cancel()
        stop.set()
        if not ready.is_set():
            serving.cancel()
        await asyncio.wait({serving})


async def _serve(config: RuntimeConfig, stop: asyncio.Event, ready: asyncio.Event) -> None:
    try:
        await serve(SERVICES, config, stop, ready.set)
    except ExceptionGroup as failures:
        log.error("services ended", exc_info=failures)
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise PlatformError(
            f"the services ended: {type(first).__name__}: {' '.join(str(first).split())} (see logs/services.log)"
        ) from None


@asynccontextmanager
async def _in_processes(
    config: RuntimeConfig, logs: Path, shared: Mapping[str, str]
) -> AsyncIterator[asyncio.Future[None]]:
    """Serve each service in processes of its own; yields what never ends, since those are started again."""
    wanted = [
        (service, number, port)
        for service in SERVICES
        for number, port in enumerate((config.ports[service], *config.further_ports.get(service, ())), 1)
    ]
    stacks = [(AsyncExitStack(), _in_process(*each, config, logs, shared)) for each in wanted]
    try:
        await run_all(*(stack.enter_async_context(running) for stack, running in stacks))
        yield asyncio.get_running_loop().create_future()
    finally:
        # Those of the user service last: the others have something to tell the audit trail while they stop.
        for last in (False, True):
            ending = (
                stack.aclose()
                for (stack, _), (service, _, _) in zip(stacks, wanted, strict=True)
                if (service == "user") is last
            )
            await asyncio.gather(*ending)


def _in_process(
    service: str, number: int, port: int, config: RuntimeConfig, logs: Path, shared: Mapping[str, str]
) -> AbstractAsyncContextManager[None]:
    """Serve an instance of a service, which is called by its own port, on that port."""
    name = service if number == 1 else f"{service}-{number}"
    own = {f"{PREFIX}RUNTIME_PORTS": json.dumps({**config.ports, service: port})}
    server = servers.Server(
        name,
        (sys.executable, "-P", "-m", "services.cli", "serve", service),
        logs / f"{name}.log",
        environment={**shared, **own},
        stop_seconds=config.grace_seconds + 2,
        until_hung=lambda pid: health.until_service_hung(pid, config, service, port),
    )
    return servers.running(server, lambda: servers.until_open(port))


def _read_code(services: tuple[str, ...]) -> None:
    for service in services:
        importlib.import_module(f"services.{service}.server")


@contextmanager
def _logged(config: RuntimeConfig, file: Path) -> Iterator[None]:
    """Log to a file while the context is open."""
    before = structlog.get_config()
    servers.open_log(file).close()
    with file.open("a", encoding="utf-8") as output:
        writer = telemetry.configure(config, output)
        try:
            yield
        finally:
            structlog.configure(**before)
            if writer is not None:
                writer.close()

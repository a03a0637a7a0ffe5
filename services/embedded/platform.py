"""Platform: runs all of MoneyPrinter on one machine, started in order and stopped in reverse.

    certificates -> PostgreSQL, NATS, Valkey -> the services, Envoy -> `GET /health` answers 200

No process that it starts outlives it, however it ends.
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
from services.embedded import (
    authority,
    data_folder,
    environment,
    envoy,
    health,
    nats,
    ports,
    postgres,
    replicas,
    supervisor,
    valkey,
)
from services.embedded.errors import PlatformError
from services.runtime import telemetry
from services.runtime.config import PORTS, PREFIX, SERVICES, RuntimeConfig
from services.runtime.layers import load
from services.runtime.server import serve
from services.runtime.tasks import run_all

log = structlog.get_logger()

NO_REPLICAS: Mapping[str, int] = {}
HEALTH_PAUSE_SECONDS = 0.05
HEALTH_SECONDS = 5.0


@dataclass(frozen=True)
class Platform:
    """A platform that is ready."""

    url: str
    """The URL of its gateway, for example `http://127.0.0.1:8080`."""
    data: Path
    new_account: Path | None
    """The file with the account that this start created, as JSON with `username` and `password`; None: no new one."""
    failed: asyncio.Future[None]
    """Completes with the error when the services end by themselves."""


@asynccontextmanager
async def run_platform(
    data: Path,
    *,
    port: int = PORTS["gateway"],
    processes: bool = False,
    instances: Mapping[str, int] = NO_REPLICAS,
    tls: bool = False,
    allow_local: bool = False,
) -> AsyncIterator[Platform]:
    """Run a platform on a data folder while the context is open. It is ready when the body begins.

    `port` is the gateway's, and the services' ports follow it; 0 picks free ones. With `processes`, each service runs
    in a process of its own, which restarts when it dies, and `instances` holds the number of processes of a service
    that has several. With `tls`, the gateway serves https. With `allow_local`, clips may come from this machine, and
    webhooks may go to it.

    Raises `PlatformError`, `ConfigError` or `moneyprinter.errors.Unavailable`, with a message of one line, when a part
    does not start.
    """
    data = data.expanduser().resolve()
    async with AsyncExitStack() as stack:
        stack.enter_context(data_folder.lock_folder(data))
        numbers = ports.platform_ports(port)
        ports.check_free(numbers)
        data_folder.record_address(data, numbers["gateway"], tls=tls)
        logs = data / "logs"
        for private in (logs, data / "scratch"):
            private.mkdir(mode=0o700, exist_ok=True)
        further = replicas.pick_further_ports(instances)
        stack.enter_context(environment.set_variables(environment.runtime_variables(data, numbers, further)))
        config = load(RuntimeConfig)
        stack.enter_context(_log_to(config, logs / "services.log"))
        authority.issue_certificates(
            config.certificates, (*PORTS, "nats"), trust_domain=config.trust_domain, namespace=config.namespace
        )
        # Importing the services takes as long as starting the servers that they need.
        importing = asyncio.create_task(asyncio.to_thread(_import_services, () if processes else SERVICES))
        database_port, nats_port, internal_port = ports.pick_ports(3)
        database, nats_url, redis_url = await _enter_all(
            stack,
            _run_database(data, logs / "postgres.log", database_port),
            nats.run_server(
                config,
                data / "nats",
                log_file=logs / "nats.log",
                port=nats_port,
                wait_until_hung=lambda pid: health.wait_until_nats_hung(pid, config, f"tls://{ports.BIND}:{nats_port}"),
            ),
            valkey.run_server(data / "valkey", log_file=logs / "valkey.log"),
        )
        stack.enter_context(environment.set_variables(environment.service_variables(data, database, nats_url)))
        stack.enter_context(environment.set_variables({f"{PREFIX}RUNTIME_REDIS": redis_url}))
        config = load(RuntimeConfig)
        if allow_local:
            stack.enter_context(environment.set_variables(environment.local_address_variables()))
        await importing
        own_settings = {
            "addresses": {name: ",".join(config.addresses(name)) for name in SERVICES},
            "certificates": config.certificates,
            "bind": ports.BIND,
            "port": numbers["gateway"],
            "tls": authority.issue_gateway_certificate(config.certificates) if tls else None,
            "internal_port": internal_port,
            "trust_domain": config.trust_domain,
            "namespace": config.namespace,
            "token_issuer": config.token_issuer,
            "token_audience": config.token_audience,
            "access_log": logs / "requests.log",
        }
        gateway = load(Gateway, given=own_settings)
        log_bounding = asyncio.create_task(supervisor.bound_logs(logs))
        stack.callback(log_bounding.cancel)
        url = data_folder.gateway_url(numbers["gateway"], tls=tls)
        account = data / "first-account"
        new_account = not account.exists()
        failed, _ = await _enter_all(
            stack,
            _run_in_processes(config, logs, {**replicas.replica_variables(instances), **os.environ})
            if processes
            else _run_in_this_process(config),
            envoy.run_gateway(
                gateway,
                data / "gateway",
                log_file=logs / "envoy.log",
                wait_until_hung=lambda pid: health.wait_until_hung(
                    pid, lambda: envoy.check_ready(gateway, data / "gateway")
                ),
            ),
        )
        await supervisor.wait_until_ready(
            wait_until_healthy(url, data), failed, f"{url}/health does not report healthy", f"see {logs}"
        )
        if instances:
            problem = "the gateway does not use every instance"
            await supervisor.wait_until_ready(
                envoy.wait_until_all_healthy(gateway, data / "gateway", instances), failed, problem, f"see {logs}"
            )
        log.info("platform ready", url=url)
        yield Platform(url, data, account if new_account and account.exists() else None, failed)


async def wait_until_healthy(url: str, data: Path) -> None:
    """Wait until the platform at `url`, on the folder `data`, reports healthy and its gateway has the token keys."""
    config = load(RuntimeConfig)
    # Once the gateway has the keys, it refuses a token that none of them has signed.
    claims = {"iss": config.token_issuer, "aud": config.token_audience, "sub": "nobody", "exp": 2**31, "iat": 0}
    token = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "none"})
    for path, expected in (("/health", http.client.OK), ("/v1/videos", http.client.UNAUTHORIZED)):
        while await asyncio.to_thread(_get_status, url, data, path, token) != expected:  # noqa: ASYNC110  nothing notifies
            await asyncio.sleep(HEALTH_PAUSE_SECONDS)


def _get_status(url: str, data: Path, path: str, token: str) -> int:
    """Return the HTTP status of a GET with a token; 0 when there is no answer."""
    where = urlsplit(url)
    connection: http.client.HTTPConnection
    if where.scheme == "https":
        trusted = ssl.create_default_context(cafile=str(data_folder.authority_file(data)))
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


async def _enter_all(stack: AsyncExitStack, *contexts: AbstractAsyncContextManager[Any]) -> tuple[Any, ...]:
    """Enter contexts concurrently; they exit in reverse of the order in which they entered. Raises the first error."""
    return await run_all(*(stack.enter_async_context(context) for context in contexts))


@asynccontextmanager
async def _run_database(data: Path, log_file: Path, port: int) -> AsyncIterator[postgres.Postgres]:
    passwords = data / "passwords"
    async with postgres.run_server(
        data / "postgres",
        passwords=passwords,
        log_file=log_file,
        port=port,
        wait_until_hung=lambda server, pid: health.wait_until_hung(pid, health.postgres_probe(server)),
    ) as database:
        await postgres.create_schemas(database)
        yield database


@asynccontextmanager
async def _run_in_this_process(config: RuntimeConfig) -> AsyncIterator[asyncio.Future[None]]:
    """Serve all services in this process. Yields a future that completes when they end."""
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
async def _run_in_processes(
    config: RuntimeConfig, logs: Path, shared: Mapping[str, str]
) -> AsyncIterator[asyncio.Future[None]]:
    """Serve each service in processes of its own. Yields a future that never completes, since dead ones restart."""
    wanted_instances = [
        (service, number, port)
        for service in SERVICES
        for number, port in enumerate((config.ports[service], *config.further_ports.get(service, ())), 1)
    ]
    stacks = [(AsyncExitStack(), _run_instance(*each, config, logs, shared)) for each in wanted_instances]
    try:
        await run_all(*(stack.enter_async_context(running) for stack, running in stacks))
        yield asyncio.get_running_loop().create_future()
    finally:
        # The user service stops last: the others send audit records while they stop.
        for last in (False, True):
            ending = (
                stack.aclose()
                for (stack, _), (service, _, _) in zip(stacks, wanted_instances, strict=True)
                if (service == "user") is last
            )
            await asyncio.gather(*ending)


def _run_instance(
    service: str, number: int, port: int, config: RuntimeConfig, logs: Path, shared: Mapping[str, str]
) -> AbstractAsyncContextManager[None]:
    """Serve one instance of a service on `port`; the instance calls its own service on that port, too."""
    name = service if number == 1 else f"{service}-{number}"
    own = {f"{PREFIX}RUNTIME_PORTS": json.dumps({**config.ports, service: port})}
    server = supervisor.Server(
        name,
        (sys.executable, "-P", "-m", "services.cli", "serve", service),
        logs / f"{name}.log",
        environment={**shared, **own},
        stop_seconds=config.grace_seconds + 2,
        wait_until_hung=lambda pid: health.wait_until_service_hung(pid, config, service, port),
    )
    return supervisor.run_server(server, lambda: supervisor.wait_until_open(port))


def _import_services(services: tuple[str, ...]) -> None:
    for service in services:
        importlib.import_module(f"services.{service}.server")


@contextmanager
def _log_to(config: RuntimeConfig, file: Path) -> Iterator[None]:
    """Log to `file` while the context is open."""
    before = structlog.get_config()
    supervisor.open_log(file).close()
    with file.open("a", encoding="utf-8") as output:
        writer = telemetry.configure(config, output)
        try:
            yield
        finally:
            structlog.configure(**before)
            if writer is not None:
                writer.close()

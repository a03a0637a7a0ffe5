"""Health probes with which the supervisor detects a hung server and restarts it.

A slow server on a busy machine is not hung: the kernel reports how long its threads ran and how long they waited for a
core. A server whose threads did neither counts as hung after `HUNG_CHECKS` failed probes, a busy one much later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats
import psycopg
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats.aio.client import Client

from services.embedded.postgres import SUPERUSER, Postgres
from services.runtime import channels, tls
from services.runtime.config import RuntimeConfig

log = structlog.get_logger()

Probe = Callable[[], Awaitable[object]]
"""Calls a server. Raises, or does not return in time, when the server does not answer."""

HEALTH = "grpc.health.v1.Health"

PAUSE_SECONDS = 5.0
RESPONSE_SECONDS = 5.0
CLOSE_SECONDS = 1.0
# Failed probes after which an idle server counts as hung (about 30 s), and one that runs or waits for a core.
HUNG_CHECKS, BUSY_HUNG_CHECKS = 3, 18
# A server is idle when its threads ran, or waited for a core, for less than this fraction of the time.
IDLE_FRACTION = 0.02
# How long a restarted server may take until its first answer.
START_SECONDS = 60.0


async def wait_until_hung(pid: int, probe: Probe) -> None:
    """Probe the server with process id `pid` every `PAUSE_SECONDS`. Returns when it hangs."""
    started, failures, has_answered = time.monotonic(), 0, False
    scheduled = _scheduled_seconds(pid)
    while True:
        began = time.monotonic()
        await asyncio.sleep(PAUSE_SECONDS)
        asleep = time.monotonic() - began
        passed = await _passes(probe)
        now = time.monotonic()
        if passed or asleep > PAUSE_SECONDS + RESPONSE_SECONDS:
            # After a late probe, this process was itself suspended, as with the whole machine: it proves nothing.
            if passed and not has_answered:
                log.info("server answers its health probe", pid=pid)
            has_answered = has_answered or passed
            failures, scheduled = 0, _scheduled_seconds(pid)
            continue
        if not has_answered and now - started < START_SECONDS:
            continue
        failures += 1
        window = failures * (PAUSE_SECONDS + RESPONSE_SECONDS)
        is_idle = _scheduled_seconds(pid) - scheduled < IDLE_FRACTION * window
        log.warning("server does not answer", pid=pid, failures=failures, idle=is_idle)
        if failures >= (HUNG_CHECKS if is_idle else BUSY_HUNG_CHECKS):
            return


async def _passes(probe: Probe) -> bool:
    try:
        async with asyncio.timeout(RESPONSE_SECONDS):
            await probe()
    except Exception:
        return False
    return True


def _scheduled_seconds(pid: int) -> float:
    """Return how long the threads of a process ran and waited for a core (Documentation/scheduler/sched-stats)."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError, ValueError):
            ran, waited, _ = (thread / "schedstat").read_text().split()
            total += int(ran) + int(waited)
    return total / 1e9


async def wait_until_service_hung(pid: int, config: RuntimeConfig, service: str, port: int) -> None:
    """Probe an instance of a service over one connection. Any answer counts. Returns when the instance hangs."""
    own = config.model_copy(update={"ports": {**config.ports, service: port}, "further_ports": {}})
    async with channels.connect(own, "monitoring", service, HEALTH) as channel:
        # The stubs of grpc_health do not type their calls.
        stub: Any = health_pb2_grpc.HealthStub(channel)

        async def probe() -> None:
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=RESPONSE_SECONDS)

        await wait_until_hung(pid, probe)


def postgres_probe(postgres: Postgres) -> Probe:
    """Return a probe of PostgreSQL. A refusal counts as an answer: too many connections, or still recovering."""

    async def probe() -> None:
        try:
            conninfo = postgres.conninfo(SUPERUSER, SUPERUSER)
            async with await psycopg.AsyncConnection.connect(conninfo, connect_timeout=5) as connection:
                await connection.execute("SELECT 1")
        except psycopg.OperationalError as failure:
            if "FATAL:" not in str(failure):
                raise

    return probe


async def wait_until_nats_hung(pid: int, config: RuntimeConfig, url: str) -> None:
    """Probe the JetStream of NATS, which stays off after a full disk until NATS restarts. Returns when NATS hangs.

    All probes share one connection: closing a TLS connection makes asyncio log a warning.
    """
    client: Client | None = None

    async def ignore(_: Exception) -> None:
        """Do not log an error that the failing call also raises."""

    async def close() -> None:
        nonlocal client
        closing, client = client, None
        if closing is not None:
            # A hung server does not close its side of the TLS connection.
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await closing.close()

    async def probe() -> None:
        nonlocal client
        try:
            if client is None:
                client = await nats.connect(
                    url,
                    name="supervisor",
                    tls=tls.find_certificates(config, "orchestrator").client_context(),
                    tls_hostname=tls.server_name(config, "nats"),
                    tls_handshake_first=True,
                    inbox_prefix=b"_INBOX.orchestrator",
                    allow_reconnect=False,
                    connect_timeout=4,
                    error_cb=ignore,
                )
            await client.jetstream(timeout=4).account_info()
        except BaseException:
            await close()
            raise

    try:
        await wait_until_hung(pid, probe)
    finally:
        await close()

"""Health: whether a server still answers, asked by the supervisor that starts a hung one again.

A server that works but is slow, on a busy machine, is no hung one: the system reports how long its threads ran and how
long they waited for a core. One that did neither is given up after HUNG_CHECKS questions, a busy one much later.
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

Ask = Callable[[], Awaitable[object]]
"""Asks a server for a sign of life. Raises, or does not end in time, when there is none."""

HEALTH = "grpc.health.v1.Health"

PAUSE_SECONDS = 5.0
ANSWER_SECONDS = 5.0
CLOSE_SECONDS = 1.0
# A server that does nothing is hung after so many questions, about 30 s; one that is busy, or waits for a core, later.
HUNG_CHECKS, BUSY_HUNG_CHECKS = 3, 18
# A server whose threads ran, or waited to run, for less than this part of the time does nothing.
IDLE_PART = 0.02
# How long a server may take to answer for the first time after it was started again.
START_SECONDS = 60.0


async def until_hung(pid: int, ask: Ask) -> None:
    """Ask a server again and again; return when it hangs."""
    started, failures, answered = time.monotonic(), 0, False
    worked = _worked_seconds(pid)
    while True:
        began = time.monotonic()
        await asyncio.sleep(PAUSE_SECONDS)
        asleep = time.monotonic() - began
        well = await _answers(ask)
        now = time.monotonic()
        if well or asleep > PAUSE_SECONDS + ANSWER_SECONDS:
            # Who asks too late was stopped itself, such as with the whole machine, and may judge nobody.
            answered = answered or well
            failures, worked = 0, _worked_seconds(pid)
            continue
        if not answered and now - started < START_SECONDS:
            continue
        failures += 1
        window = failures * (PAUSE_SECONDS + ANSWER_SECONDS)
        is_idle = _worked_seconds(pid) - worked < IDLE_PART * window
        log.warning("server does not answer", pid=pid, times=failures, idle=is_idle)
        if failures >= (HUNG_CHECKS if is_idle else BUSY_HUNG_CHECKS):
            return


async def _answers(ask: Ask) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await ask()
    except Exception:
        return False
    return True


def _worked_seconds(pid: int) -> float:
    """How long the threads of a process ran and waited for a core, so far (Documentation/scheduler/sched-stats)."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError, ValueError):
            ran, waited, _ = (thread / "schedstat").read_text().split()
            total += int(ran) + int(waited)
    return total / 1e9


async def until_service_hung(pid: int, config: RuntimeConfig, service: str, port: int) -> None:
    """Ask an instance of a service on one connection; any answer is a sign of life. Returns when it hangs."""
    own = config.model_copy(update={"ports": {**config.ports, service: port}, "further_ports": {}})
    async with channels.connect(own, "monitoring", service, HEALTH) as channel:
        # The stubs of grpc_health have no types for their calls.
        stub: Any = health_pb2_grpc.HealthStub(channel)

        async def ask() -> None:
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=ANSWER_SECONDS)

        await until_hung(pid, ask)


def of_postgres(postgres: Postgres) -> Ask:
    """Ask PostgreSQL: whatever it says is a sign of life, also that it has too many connections or is not ready yet."""

    async def ask() -> None:
        try:
            conninfo = postgres.conninfo(SUPERUSER, SUPERUSER)
            async with await psycopg.AsyncConnection.connect(conninfo, connect_timeout=5) as connection:
                await connection.execute("SELECT 1")
        except psycopg.OperationalError as failure:
            if "FATAL:" not in str(failure):
                raise

    return ask


async def until_nats_hung(pid: int, config: RuntimeConfig, url: str) -> None:
    """Ask NATS for its JetStream, which it switches off when the disk was full, until it is started again.

    Returns when it hangs. One connection is kept: closing one that has TLS makes asyncio log a warning.
    """
    client: Client | None = None

    async def unheard(_: Exception) -> None:
        """What fails is raised."""

    async def close() -> None:
        nonlocal client
        closing, client = client, None
        if closing is not None:
            # A server that hangs does not end its side of TLS.
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await closing.close()

    async def ask() -> None:
        nonlocal client
        try:
            if client is None:
                client = await nats.connect(
                    url,
                    name="supervisor",
                    tls=tls.certificates(config, "orchestrator").context(),
                    tls_hostname=tls.server_name(config, "nats"),
                    tls_handshake_first=True,
                    inbox_prefix=b"_INBOX.orchestrator",
                    allow_reconnect=False,
                    connect_timeout=4,
                    error_cb=unheard,
                )
            await client.jetstream(timeout=4).account_info()
        except BaseException:
            await close()
            raise

    try:
        await until_hung(pid, ask)
    finally:
        await close()

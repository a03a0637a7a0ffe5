"""Servers: real Redis servers for tests, each with its settings, that can be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import shutil
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio

from services.embedded import authority, binaries, ports
from services.runtime.config import RuntimeConfig

USERNAME, PASSWORD = "moneyprinter", "correct-horse-battery"
# What the services need, as the documents print it.
ACL = f"user {USERNAME} on >{PASSWORD} ~moneyprinter:* resetchannels -@all +@read +@write +@connection +@transaction"
ACL += " +@scripting +info +time"


@dataclass
class RedisServer:
    """A server of one kind, on a socket that stays the same when it is started again."""

    command: tuple[str, ...]
    settings: dict[str, Any]
    """The settings of the runtime with which services use it."""
    administration: str
    """The URL of a socket without TLS, and with all rights."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def configure(self, config: RuntimeConfig) -> RuntimeConfig:
        """Return the settings of a runtime with this server."""
        return config.model_copy(update=self.settings)

    async def start(self) -> None:
        """Start it, without data, and wait until it answers."""
        self.processes.append(await asyncio.to_thread(subprocess.Popen, self.command, stdout=subprocess.DEVNULL))
        async with asyncio.timeout(30):
            while True:
                with suppress(redis.exceptions.ConnectionError):
                    await self.command_as_administrator("PING")
                    return
                await asyncio.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.processes[-1].send_signal(number)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.processes[-1].wait()

    async def command_as_administrator(self, *words: object) -> Any:
        """Run a command with all rights."""
        client: Any = redis.asyncio.Redis.from_url(self.administration, protocol=2)
        async with client:
            return await client.execute_command(*words)


@asynccontextmanager
async def run_embedded(folder: Path) -> AsyncIterator[RedisServer]:
    """Run the server of the laptop platform on a private Unix socket."""
    url = f"unix://{folder / 's.sock'}"
    command = (str(binaries.valkey_program()), "--port", "0", "--save", "", "--dir", str(folder))
    server = RedisServer((*command, "--unixsocket", str(folder / "s.sock")), {"redis": url}, url)
    async with _running(server):
        yield server


@asynccontextmanager
async def run_external(folder: Path) -> AsyncIterator[RedisServer]:
    """Run a server with TLS, whose ACL has one user with the rights that the documents name.

    It is the machine's Redis. Where that is not installed, it is Valkey, which a proxy gives TLS.
    """
    [port] = ports.pick_ports()
    authority.issue_certificates(folder, ["gateway"], trust_domain="cluster.local", namespace="moneyprinter")
    public = authority.issue_gateway_certificate(folder)
    (folder / "users.acl").write_text(f"user default off\nuser admin on nopass ~* &* +@all\n{ACL}\n")
    (folder / "password").write_text(f"{PASSWORD}\n")
    settings = {
        "redis": f"rediss://127.0.0.1:{port}",
        "redis_username": USERNAME,
        "redis_password_file": folder / "password",
        "redis_ca_file": folder / "ca.pem",
    }
    socket = folder / "s.sock"
    options = {"unixsocket": str(socket), "aclfile": str(folder / "users.acl"), "dir": str(folder), "save": ""}
    program = shutil.which("redis-server")
    if program is not None:
        files = {"tls-cert-file": "cert.pem", "tls-key-file": "key.pem"}
        options |= {"port": "0", "tls-port": str(port), "bind": "127.0.0.1", "tls-auth-clients": "no"}
        options |= {name: str(public / file) for name, file in files.items()}
        options["tls-ca-cert-file"] = str(folder / "ca.pem")
    else:
        options["port"] = "0"
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    server = RedisServer(
        (program or str(binaries.valkey_program()), *words), settings, f"unix://{socket}?username=admin&password=any"
    )
    async with _running(server):
        if program is not None:
            yield server
            return
        async with _tls_proxy(port, public, socket):
            yield server


KINDS = {"embedded": run_embedded, "external": run_external}
"""The kinds of servers on which the acceptance suite runs."""


@asynccontextmanager
async def _running(server: RedisServer) -> AsyncIterator[None]:
    try:
        await server.start()
        yield
    finally:
        for process in server.processes:
            process.kill()
            process.wait()


@asynccontextmanager
async def _tls_proxy(port: int, certificate: Path, socket: Path) -> AsyncIterator[None]:
    """Accept TLS connections on a port, and forward their bytes to a Unix socket."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_unix_connection(socket)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=context):
        yield

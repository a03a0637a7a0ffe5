"""World: a platform whose parts can be killed and stopped individually.

PostgreSQL, NATS, Envoy and the orchestrators are real processes. The media services are real processes too, or
stand-ins in this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import psutil
import psycopg
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config import Gateway
from services.embedded import authority, environment, envoy, nats, ports, postgres, supervisor
from services.orchestrator.jetstream.streams import EVENTS
from services.runtime import events
from services.runtime.config import PORTS, PREFIX, SERVICES, RuntimeConfig
from tests.chaos import stand_ins
from tests.chaos.stand_ins import REGISTER, StandIns
from tests.mesh import ALL_ROLES, ffmpeg_program

REQUEST = {
    "title": "A walk",
    "clips": [{"url": "https://example.com/a.mp4"}],
    "audio": {"script": "One two. Three."},
    "settings": {"resolution": "480p", "quality": "draft"},
}
NOTHING: Mapping[str, str] = {}
# The tests create all jobs as one user.
NO_QUOTAS = {f"{PREFIX}ORCHESTRATOR_QUOTA_{kind}": "0" for kind in ("JOBS", "MINUTES")}
UNDERWAY = ("video.processing.progress", "video.processing.stage_completed")
ENDED = ("completed", "failed", "cancelled")


@dataclass
class Part:
    """A server of the world that can be stopped and started again."""

    open: Callable[[], Any]
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        await self.stack.enter_async_context(self.open())

    async def stop(self) -> None:
        await self.stack.aclose()


async def _must_name_when_to_retry(answer: httpx.Response) -> None:
    """Assert that every 5xx response has a `retry-after` header."""
    assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR or answer.headers.get("retry-after"), answer.request


_STATES = "SELECT id, status FROM jobs WHERE id = ANY(%s)"


class World:
    """The platform, its parts and its users."""

    def __init__(self, folder: Path, config: RuntimeConfig, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.config = config
        self.settings = dict(settings)
        self.stand_ins: StandIns
        self.database: Part
        self.nats: Part
        self.nats_url = ""
        self.conninfo = ""
        self.url = ""
        self.gateway: Gateway
        self.instances: dict[str, Part] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._stack = AsyncExitStack()

    # Its parts.

    async def serve(self, service: str, number: int = 1, environment: Mapping[str, str] = NOTHING) -> None:
        """Run an instance of a service in a process of its own, which is restarted when it dies."""
        name = f"{service}-{number}"
        port = [self.config.ports[service], *self.config.further_ports.get(service, [])][number - 1]
        ports_of = json.dumps({**self.config.ports, service: port})
        server = supervisor.Server(
            name,
            (sys.executable, "-P", "-m", "services.cli", "serve", service),
            self.folder / f"{name}.log",
            environment={**self.settings, f"{PREFIX}RUNTIME_PORTS": ports_of, **environment},
            stop_seconds=3.0,
        )
        self.instances[name] = Part(lambda: supervisor.run_server(server, lambda: supervisor.wait_until_open(port)))
        await self.instances[name].start()
        self._stack.push_async_callback(self.instances[name].stop)

    def process(self, name: str) -> psutil.Process:
        """The process of an instance (`orchestrator-1`), or `postgres` or `nats-server`."""
        return self.processes(name)[0]

    def processes(self, name: str) -> list[psutil.Process]:
        """All processes of an instance or a server, in the order of their start."""
        found = []
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if child.name() == name and any(str(self.folder) in part for part in child.cmdline()):
                    found.append(child)
                    # The command lines of PostgreSQL's workers do not have its folder.
                    found += child.children(recursive=True)
                elif "-" in name and child.cmdline()[-2:] == ["serve", name.rpartition("-")[0]]:
                    own = json.loads(child.environ()[f"{PREFIX}RUNTIME_PORTS"])[name.rpartition("-")[0]]
                    if own == self.port(name):
                        found.append(child)
        return sorted(found, key=lambda process: process.create_time())

    def port(self, name: str) -> int:
        service, _, number = name.rpartition("-")
        return [self.config.ports[service], *self.config.further_ports.get(service, [])][int(number) - 1]

    @asynccontextmanager
    async def stopped(self, name: str) -> AsyncIterator[None]:
        """Stop a process and its children with SIGSTOP while the context is open."""
        processes = self.processes(name)
        assert processes, f"there is no {name}"
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def killed(self, part: Part, name: str) -> AsyncIterator[None]:
        """Kill NATS or PostgreSQL, and start it again when the context closes."""
        for process in self.processes(name):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await part.stop()
        try:
            yield
        finally:
            await part.start()

    async def restart(self, name: str) -> None:
        """Restart an instance with SIGTERM, as Kubernetes does, and wait until the gateway uses it again."""
        process = self.process(name)
        # `psutil.Process.wait` would reap the child in place of the supervisor that started it.
        ended = os.pidfd_open(process.pid)
        process.terminate()
        await asyncio.to_thread(select.select, [ended], [], [], 30)
        os.close(ended)
        await supervisor.wait_until_open(self.port(name))
        await envoy.wait_until_all_healthy(self.gateway, self.folder / "envoy.yaml", [name.rpartition("-")[0]])

    def log(self, name: str) -> str:
        """The log of an instance."""
        return (self.folder / f"{name}.log").read_text()

    # Its users.

    def token(self, user: str) -> str:
        now = int(time.time())
        claims = {"iss": "moneyprinter", "aud": "moneyprinter", "sub": user, "iat": now, "exp": now + 3600}
        claims["roles"] = list(ALL_ROLES)
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "test"})

    @property
    def public_key(self) -> dict[str, str]:
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {**public, "kid": "test", "alg": "ES256", "use": "sig"}

    @asynccontextmanager
    async def user(self, name: str = "user_1") -> AsyncIterator[httpx.AsyncClient]:
        """A client of the gateway, signed in."""
        headers = {"authorization": f"Bearer {self.token(name)}"}
        hooks = {"response": [_must_name_when_to_retry]}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, event_hooks=hooks) as http:
            yield http

    async def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Query the orchestrator's database."""
        async with self._database() as connection:
            return await (await connection.execute(query, parameters)).fetchall()

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
        async with await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True) as connection:
            await connection.execute("SET search_path TO orchestrator")
            yield connection

    async def until_ended(self, jobs: Sequence[str], seconds: float = 60.0) -> dict[str, str]:
        """Wait until all jobs have ended; returns their states."""
        async with asyncio.timeout(seconds):
            while True:
                # The database may stop and start meanwhile; reuse one connection while it runs.
                with suppress(psycopg.OperationalError):
                    async with self._database() as connection:
                        while True:
                            cursor = await connection.execute(_STATES, (list(jobs),))
                            states = {str(job): str(status) for job, status in await cursor.fetchall()}
                            if len(states) == len(jobs) and set(states.values()) <= set(ENDED):
                                return states
                            await asyncio.sleep(0.1)
                await asyncio.sleep(0.1)

    async def manifests(self, jobs: Sequence[str]) -> dict[str, str]:
        """Return one hash over all files of each job."""
        rows = await self.rows("SELECT id, result -> 'files' FROM jobs WHERE id = ANY(%s)", list(jobs))
        return {
            job: hashlib.sha256("".join(sorted(f["name"] + f["object"]["sha256"] for f in files)).encode()).hexdigest()
            for job, files in rows
        }

    async def events(self, number: int, seconds: float = 30.0) -> Counter[tuple[str, str]]:
        """Wait for `number` start and end events; returns how often each was published. Event ids must be unique."""
        found: Counter[tuple[str, str]] = Counter()
        ids: Counter[str] = Counter()
        async with asyncio.timeout(seconds), events.connect(self.config, "orchestrator", self.nats_url) as client:
            stream = client.jetstream()
            subscription = await stream.pull_subscribe("video.processing.>", stream=EVENTS)
            while found.total() < number or (await subscription.consumer_info()).num_pending:
                with suppress(TimeoutError):
                    for message in await subscription.fetch(100, timeout=1):
                        event = json.loads(message.data)
                        ids[(message.headers or {})["Nats-Msg-Id"]] += 1
                        if event["event_type"] not in UNDERWAY:
                            found[event["job_id"], event["event_type"]] += 1
                        await message.ack()
        assert set(ids.values()) == {1}
        return found


@asynccontextmanager
async def world(
    folder: Path,
    *,
    real: Sequence[str] = (),
    instances: Mapping[str, int] | None = None,
    lease_seconds: float = 2.0,
    settings: Mapping[str, str] = NOTHING,
) -> AsyncIterator[World]:
    """Run a world in a folder. `real` lists services without stand-ins; `instances` are the numbers of instances."""
    counts = {"orchestrator": 1, **dict.fromkeys(real, 1), **(instances or {})}
    authority.issue_certificates(
        folder / "certificates", (*PORTS, "nats"), trust_domain="cluster.local", namespace="moneyprinter"
    )
    further = {service: ports.pick_ports(count - 1) for service, count in counts.items() if count > 1}
    numbers = ports.platform_ports(0)
    config = RuntimeConfig(
        certificates=folder / "certificates",
        ports=numbers,
        further_ports=further,
        scratch=folder / "scratch",
        ffmpeg=ffmpeg_program(),
        grace_seconds=1.0,
    )
    database_port, nats_port, internal_port = ports.pick_ports(3)
    here = World(folder, config, {})

    @asynccontextmanager
    async def database() -> AsyncIterator[None]:
        async with postgres.run_server(
            folder / "postgres",
            passwords=folder / "passwords",
            log_file=folder / "postgres.log",
            port=database_port,
            # Processes die in these tests, and never the machine.
            settings={**postgres.SETTINGS, "fsync": "off"},
        ) as found:
            await postgres.create_schemas(found)
            here.settings = {
                **environment.runtime_variables(folder, numbers, further),
                **environment.service_variables(folder, found, f"tls://127.0.0.1:{nats_port}"),
                f"{PREFIX}ORCHESTRATOR_LEASE_SECONDS": str(lease_seconds),
                f"{PREFIX}ORCHESTRATOR_RECONCILE_SECONDS": str(lease_seconds),
                **settings,
            }
            here.conninfo = found.conninfo("orchestrator")
            yield

    @asynccontextmanager
    async def queue() -> AsyncIterator[None]:
        async with nats.run_server(config, folder / "nats", log_file=folder / "nats.log", port=nats_port) as url:
            here.nats_url = url
            yield

    here.database, here.nats = Part(database), Part(queue)
    stack = here._stack
    async with stack:
        for part in (here.database, here.nats):
            await part.start()
            stack.push_async_callback(part.stop)
        stand = tuple(name for name in REGISTER if name not in real)
        here.stand_ins = await stack.enter_async_context(stand_ins.serving(config, here.public_key, stand))
        await asyncio.gather(
            *(here.serve(service, number) for service, count in counts.items() for number in range(1, count + 1))
        )
        gateway = Gateway(
            addresses={name: ",".join(config.addresses(name)) for name in SERVICES},
            certificates=config.certificates,
            port=numbers["gateway"],
            internal_port=internal_port,
            access_log=folder / "requests.log",
        )
        here.gateway = gateway
        await stack.enter_async_context(
            envoy.run_gateway(gateway, folder / "envoy.yaml", log_file=folder / "envoy.log")
        )
        here.url = f"http://127.0.0.1:{numbers['gateway']}"
        await _until_served(here)
        yield here


async def _until_served(here: World) -> None:
    async with here.user() as http, asyncio.timeout(30):
        while True:
            with suppress(httpx.HTTPError):
                if (await http.get("/v1/videos")).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.05)

"""What all tests share: a certificate authority, and a mesh of real services over real mTLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from services.embedded import authority, nats, ports
from services.runtime.config import PORTS, RuntimeConfig
from tests.databases import Databases
from tests.mesh import Mesh, mesh_config
from tests.variables import VARIABLES

# Tracebacks with all variables take a second to print.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("moneyprinter", deadline=None)
hypothesis.settings.load_profile("moneyprinter")

pytest_plugins = ["tests.gateway.fixtures", "tests.media.drawing", "tests.watchdog"]


@pytest.fixture(scope="session", autouse=True)
def _variables() -> Iterator[None]:
    """Give the services that tests start a time limits for loaded machines, and the fast voice."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority and a certificate for every workload."""
    folder = tmp_path_factory.mktemp("certificates")
    workloads = (*PORTS, "nats", "postgres")
    authority.issue_certificates(folder, workloads, trust_domain="cluster.local", namespace="moneyprinter")
    return folder


@pytest.fixture
def config(certificates: Path, tmp_path: Path) -> RuntimeConfig:
    """The runtime's settings for one test: free ports, a scratch folder of its own."""
    return mesh_config(certificates, tmp_path)


@pytest.fixture
async def mesh(config: RuntimeConfig) -> AsyncIterator[Mesh]:
    """A mesh in which a test starts services, and calls them as any workload."""
    async with Mesh(config) as running:
        yield running


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Databases]:
    """A real PostgreSQL server: `await postgres.fresh("user")` is the conninfo of a new database for a service."""
    async with Databases.running(tmp_path_factory.mktemp("postgres")) as databases:
        yield databases


@pytest.fixture
async def nats_url(config: RuntimeConfig, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a real NATS server with JetStream, empty, for this test alone."""
    [port] = ports.pick_ports()
    async with nats.run_server(config, tmp_path / "nats", log_file=tmp_path / "nats.log", port=port) as url:
        yield url

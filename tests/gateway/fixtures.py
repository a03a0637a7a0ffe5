"""Fixtures: one Envoy in front of one mesh, shared by all tests of this process in every folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.runtime.config import PORTS, RuntimeConfig
from tests.gateway.platform import Platform, run_gateway
from tests.gateway.proxy import Proxy
from tests.mesh import Mesh


@pytest.fixture(scope="session")
async def both(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Platform, Proxy]]:
    """The public services, and the gateway in front of them."""
    config = RuntimeConfig(
        certificates=certificates,
        ports=dict.fromkeys(PORTS, 0),
        scratch=tmp_path_factory.mktemp("scratch"),
        grace_seconds=1.0,
    )
    async with Mesh(config) as mesh, run_gateway(mesh, tmp_path_factory.mktemp("gateway")) as both:
        yield both


@pytest.fixture
def platform(both: tuple[Platform, Proxy]) -> Platform:
    """The public services."""
    return both[0]


@pytest.fixture
def gateway(both: tuple[Platform, Proxy]) -> Proxy:
    """The gateway in front of them."""
    return both[1]


@pytest.fixture
def bearer(platform: Platform) -> dict[str, str]:
    """The authorization header of a user with the role for videos."""
    return dict(platform.mesh.bearer())

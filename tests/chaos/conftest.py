"""Shared fixtures of the chaos tests: platforms of stand-ins with one or two orchestrators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.world import World, world


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[World]:
    """A world with one orchestrator."""
    async with world(tmp_path) as here:
        yield here


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    """A world with two orchestrators."""
    async with world(tmp_path, instances={"orchestrator": 2}) as here:
        yield here

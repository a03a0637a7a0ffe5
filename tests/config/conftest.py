"""Shared fixtures of the tests of secrets: a real server of Vault's API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.config.vault.openbao import OpenBao, run_openbao


@pytest.fixture(scope="package")
async def openbao(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> AsyncIterator[OpenBao]:
    """A server for all tests, each with a mount of its own."""
    async with run_openbao(tmp_path_factory.mktemp("openbao"), certificates) as server:
        yield server

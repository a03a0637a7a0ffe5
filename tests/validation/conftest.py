"""Fixtures of the validation tests: footage, and a web server for clips."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.validation.footage import Footage
from tests.validation.site import Site


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    """Clips by name."""
    return Footage(tmp_path_factory.mktemp("footage"))


@pytest.fixture
async def site(certificates: Path) -> AsyncIterator[Site]:
    """A web server with a certificate for 127.0.0.1 and `gateway.moneyprinter.svc`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "gateway" / "cert.pem", certificates / "gateway" / "key.pem")
    async with Site(context) as site:
        yield site

"""Fixtures of the end-to-end tests: a platform, a web server with a clip, and clips on disk."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests import media
from tests.up import up
from tests.validation.site import Site


@dataclass(frozen=True)
class RunningPlatform:
    """A running platform, a client of its first account, and a web server that it may fetch from."""

    url: str
    data: Path
    http: httpx.AsyncClient
    """Signed in as the first account."""
    site: Site


@pytest.fixture(scope="package")
async def platform(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPlatform]:
    data = tmp_path_factory.mktemp("platform") / "data"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "gateway" / "cert.pem", certificates / "gateway" / "key.pem")
    environment = {
        "MONEYPRINTER_VALIDATION_ALLOWED_NETWORKS": json.dumps(["127.0.0.0/8"]),
        "MONEYPRINTER_VALIDATION_EXTRA_AUTHORITY": str(certificates / "ca.pem"),
    }
    async with (
        Site(context) as site,
        up(data, environment=environment) as running,
        httpx.AsyncClient(base_url=running.url, timeout=30) as http,
    ):
        account = json.loads((data / "first-account").read_text())
        tokens = await http.post("/v1/auth/sign-in", json=account)
        http.headers["authorization"] = f"Bearer {tokens.json()['access_token']}"
        yield RunningPlatform(running.url, data, http, site)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coloured clip of 3 seconds, 320x180."""
    return media.corners(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=3.0)

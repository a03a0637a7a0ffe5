"""What the tests of the interface share: a platform as people run it, and clients of its first account."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from tests.up import up


@dataclass(frozen=True)
class Running:
    """A platform, and two clients of its gateway."""

    url: str
    data: Path
    """Its folder."""
    account: dict[str, str]
    """Name and password of its first account."""
    http: httpx.AsyncClient
    channel: grpc.aio.Channel
    token: str
    """An access token of the first account; the clients do not send it by themselves."""


@pytest.fixture(scope="session")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A whole platform. The gateway's limits are set so high that tests do not meet them."""
    data = tmp_path_factory.mktemp("api") / "data"
    patient = {"MONEYPRINTER_GATEWAY_USER_BURST": "1000000", "MONEYPRINTER_GATEWAY_ADDRESS_BURST": "1000000"}
    async with up(data, environment=patient) as running:
        account = json.loads((data / "first-account").read_text())
        async with (
            httpx.AsyncClient(base_url=running.url, timeout=30) as http,
            grpc.aio.insecure_channel(running.url.removeprefix("http://")) as channel,
        ):
            token = (await http.post("/v1/auth/sign-in", json=account)).json()["access_token"]
            yield Running(running.url, data, account, http, channel, token)

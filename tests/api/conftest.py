"""Shared fixtures of the API tests: a complete platform, and clients of its first account."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from tests.up import up

PASSWORD = "four tides a day, all year"


@dataclass(frozen=True)
class Running:
    """A platform, and two clients of its gateway."""

    url: str
    data: Path
    """Its data folder."""
    account: dict[str, str]
    """Name and password of its first account."""
    http: httpx.AsyncClient
    channel: grpc.aio.Channel
    token: str
    """An access token of the first account; the clients do not send it by themselves."""

    async def new_account(self, name: str, *roles: str) -> str:
        """Create an account with some roles; returns an access token."""
        admin = {"authorization": f"Bearer {self.token}"}
        invitation = (await self.http.post("/v1/auth/invitations", json={"roles": roles}, headers=admin)).json()
        request = {"username": name, "password": PASSWORD, "invitation_token": invitation["invitation_token"]}
        assert (await self.http.post("/v1/auth/register", json=request)).is_success
        signed_in = await self.http.post("/v1/auth/sign-in", json={"username": name, "password": PASSWORD})
        return str(signed_in.json()["access_token"])


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[Running]:
    """Run a complete platform. The gateway's rate limits are high enough not to affect the tests."""
    limits = {"MONEYPRINTER_GATEWAY_USER_BURST": "1000000", "MONEYPRINTER_GATEWAY_ADDRESS_BURST": "1000000"}
    async with up(data, environment=limits) as started:
        account = json.loads((data / "first-account").read_text())
        async with (
            httpx.AsyncClient(base_url=started.url, timeout=30) as http,
            grpc.aio.insecure_channel(started.url.removeprefix("http://")) as channel,
        ):
            token = (await http.post("/v1/auth/sign-in", json=account)).json()["access_token"]
            yield Running(started.url, data, account, http, channel, token)


@pytest.fixture(scope="package")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A platform for all tests. Those that change its accounts run last."""
    async with running(tmp_path_factory.mktemp("api") / "data") as started:
        yield started


@pytest.fixture(scope="package")
async def plain(api: Running) -> str:
    """An access token of an account without any role."""
    return await api.new_account("plain")

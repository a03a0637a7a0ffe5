"""Accounts over REST and gRPC, through Envoy, also while signing keys are rotated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pyotp
import pytest

from gateway.config import Gateway
from moneyprinter import errors
from moneyprinter.client import Client
from moneyprinter.user.v1 import account_service_pb2 as own
from moneyprinter.user.v1 import administration_service_pb2 as admin
from moneyprinter.user.v1 import user_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from services.runtime.config import RuntimeConfig
from services.runtime.server import Wire
from tests.databases import Databases
from tests.gateway import proxy
from tests.gateway.platform import PUBLIC_SERVICES
from tests.user.instances import Users, bearer, run_second_instance, run_user_service
from tests.user.test_service import NEW, wire_videos

STATUS = "/v1/videos/vid_1/status"


@dataclass
class Front:
    """Envoy in front of the user service, and of a VideoService that returns the user."""

    users: Users
    proxy: proxy.Proxy

    @property
    def http(self) -> httpx.AsyncClient:
        return self.proxy.http

    async def sign_in(self, username: str = "admin", password: str = "", **more: str) -> dict[str, str]:
        """Sign in, and return the headers of the user's requests."""
        body = {"username": username, "password": password or self.users.password, **more}
        answer = await self.http.post("/v1/auth/sign-in", json=body)
        assert answer.status_code == 200, answer.text
        return {"authorization": f"Bearer {answer.json()['access_token']}"}

    async def do(self, verb: str, path: str, headers: dict[str, str] | None = None, **body: Any) -> Any:
        """Make a request that succeeds, and return its JSON."""
        answer = await self.http.request(verb, path, headers=headers, json=body or None)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def refused(
        self, verb: str, path: str, headers: dict[str, str] | None = None, **body: Any
    ) -> tuple[int, str]:
        """Make a request that fails, and return its status and reason."""
        answer = await self.http.request(verb, path, headers=headers, json=body or None)
        assert answer.status_code >= 400, answer.text
        details = answer.json()["details"]
        return answer.status_code, details[0]["reason"] if details else ""


@asynccontextmanager
async def run_front(
    config: RuntimeConfig, postgres: Databases, folder: Path, *, wire: Wire = wire_videos, **settings: Any
) -> AsyncIterator[Front]:
    """Run a Front while the context is open; `wire` replaces the orchestrator."""
    async with run_user_service(config, postgres, folder, **settings) as users:
        await users.mesh.start("orchestrator", None, wire)
        found = users.mesh.config
        unreachable = dict.fromkeys(PUBLIC_SERVICES, "127.0.0.1:1")
        addresses = {service: found.address(service) for service in ("orchestrator", "user")}
        gateway = Gateway(
            addresses={**unreachable, **addresses},
            certificates=found.certificates,
            keys_seconds=1,
            user_burst=100_000,
            address_burst=100_000,
        )
        async with proxy.run_proxy(gateway, folder / "gateway") as envoy:
            await envoy.wait_for_keys()
            yield Front(users, envoy)


@pytest.fixture
async def front(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> AsyncIterator[Front]:
    async with run_front(config, postgres, tmp_path) as front:
        yield front


async def test_the_life_of_an_account_over_rest(front: Front) -> None:
    root = await front.sign_in()
    invited = await front.http.post(
        "/v1/auth/invitations", json={"roles": ["video.process"], "valid_for": "3600s"}, headers=root
    )
    assert invited.status_code == 201
    request: dict[str, Any] = {
        "username": "Ada",
        "password": NEW,
        "display_name": "Ada L.",
        "invitation_token": invited.json()["invitation_token"],
    }
    made = await front.http.post("/v1/auth/register", json=request)
    assert made.status_code == 201
    account = made.json()["account"]
    assert (account["username"], account["roles"]) == ("ada", ["video.process"])
    assert await front.refused("POST", "/v1/auth/register", **request) == (403, "INVITATION_INVALID")
    ada = await front.sign_in("ada", NEW)
    assert (await front.do("GET", STATUS, ada))["job_id"] == account["account_id"]
    me = await front.do("GET", "/v1/accounts/me", ada)
    assert {**me["account"], "create_time": ""} == {**account, "create_time": ""}
    changed = await front.do("PATCH", "/v1/accounts/me", ada, email="ada@example.com")
    assert (changed["account"]["email"], changed["account"]["display_name"]) == ("ada@example.com", "Ada L.")
    path = f"/v1/accounts/{account['account_id']}"
    assert await front.refused("GET", path, ada) == (403, "ROLE_MISSING")
    assert (await front.do("GET", path, root))["account"]["email"] == "ada@example.com"
    assert [found["username"] for found in (await front.do("GET", "/v1/accounts", root))["accounts"]] == [
        "ada",
        "admin",
    ]
    roles = await front.do("PUT", f"{path}/roles", root, roles=["content.manage"])
    assert roles["account"]["roles"] == ["content.manage"]
    await front.do("POST", "/v1/accounts/me/password", ada, old_password=NEW, new_password=NEW + "!")
    # Requests without a body are accepted as those with an empty one.
    assert "disable_time" in (await front.do("POST", f"{path}/disable", root))["account"]
    assert await front.refused("GET", "/v1/accounts/me", ada) == (401, "TOKEN_INVALID")
    assert "disable_time" not in (await front.do("POST", f"{path}/enable", root))["account"]
    await front.do("POST", f"{path}/unlock", root)
    reset = await front.do("POST", f"{path}/reset-password", root, disable_totp=True)
    await front.do("POST", "/v1/auth/password", reset_token=reset["reset_token"], new_password=NEW)
    ada = await front.sign_in("ada", NEW)
    await front.do("POST", "/v1/accounts/me/close", ada, password=NEW)


async def test_paths_of_the_own_account_and_of_others_differ(front: Front) -> None:
    root = await front.sign_in()
    others = [await front.sign_in() for _ in range(2)]
    sessions = (await front.do("GET", "/v1/accounts/me/sessions", root))["sessions"]
    assert [session["current"] for session in sessions] == [False, False, True]
    await front.do("DELETE", f"/v1/accounts/me/sessions/{sessions[0]['session_id']}", root)
    assert await front.refused("GET", "/v1/accounts/me", others[1]) == (401, "TOKEN_INVALID")
    assert await front.do("DELETE", "/v1/accounts/me/sessions?keep_current=true", root) == {"ended_count": 1}
    account_id = (await front.do("GET", "/v1/accounts/me", root))["account"]["account_id"]
    assert await front.refused("DELETE", "/v1/accounts/us/sessions", root) == (400, "REQUEST_INVALID")
    ended = await front.do("DELETE", f"/v1/accounts/{account_id}/sessions?revoke_api_keys=true", root)
    assert ended == {"ended_count": 1, "revoked_count": 0}
    assert await front.refused("DELETE", "/v1/accounts/me/sessions", root) == (401, "TOKEN_INVALID")


async def test_failures_have_status_reason_and_retry_delay(front: Front) -> None:
    wrong: dict[str, Any] = {"username": "admin", "password": "wrong"}
    for _ in range(5):
        assert await front.refused("POST", "/v1/auth/sign-in", **wrong) == (401, "CREDENTIALS_WRONG")
    answer = await front.http.post("/v1/auth/sign-in", json={**wrong, "password": front.users.password})
    assert answer.status_code == 429
    reason, retry = answer.json()["details"]
    assert reason["reason"] == "SIGN_IN_LOCKED"
    assert 890 < float(retry["retry_delay"].rstrip("s")) <= 900
    weak: dict[str, Any] = {"username": "ada", "password": "password1234", "invitation_token": "x"}
    assert await front.refused("POST", "/v1/auth/register", **weak) == (403, "INVITATION_INVALID")
    assert await front.refused("POST", "/v1/auth/token", api_key="mpk_x") == (401, "API_KEY_INVALID")
    assert await front.refused("POST", "/v1/auth/refresh", refresh_token="x") == (401, "REFRESH_TOKEN_INVALID")
    assert await front.refused("GET", "/v1/accounts/me") == (401, "TOKEN_INVALID")


async def test_the_address_is_the_connections_whatever_a_client_claims(front: Front) -> None:
    claimed = {"x-forwarded-for": "8.8.8.8", "x-envoy-external-address": "8.8.8.8", "user-agent": "a browser"}
    body = {"username": "admin", "password": front.users.password}
    answer = await front.http.post("/v1/auth/sign-in", json=body, headers=claimed)
    headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
    [session] = (await front.do("GET", "/v1/accounts/me/sessions", headers))["sessions"]
    assert (session["address"], session["user_agent"]) == ("127.0.0.1", "a browser")
    assert front.users.audit_log_lines()[0]["address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("settings", "forwarded", "address"),
    [
        ({"bind": "::1"}, "8.8.8.8", "::1"),
        ({"trusted_proxies": 1}, "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ({"trusted_proxies": 1}, "6.6.6.6, 2001:DB8::9", "2001:db8::9"),
        ({"trusted_proxies": 2}, "6.6.6.6, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        # A client that bypasses the proxies.
        ({"trusted_proxies": 2}, "203.0.113.9", "127.0.0.1"),
        ({"trusted_proxies": 1}, "", "127.0.0.1"),
    ],
)
async def test_behind_proxies_session_job_and_audit_log_have_the_same_address(
    front: Front, tmp_path: Path, settings: dict[str, Any], forwarded: str, address: str
) -> None:
    gateway = front.proxy.gateway.model_copy(update=settings)
    async with proxy.run_proxy(gateway, tmp_path / "other") as envoy:
        await envoy.wait_for_keys()
        other = Front(front.users, envoy)
        headers = {"x-forwarded-for": forwarded, "x-client-address": "6.6.6.6"} if forwarded else {}
        body = {"username": "admin", "password": front.users.password}
        answer = await other.http.post("/v1/auth/sign-in", json=body, headers=headers)
        bearer = {"authorization": f"Bearer {answer.json()['access_token']}"}
        [session] = (await other.do("GET", "/v1/accounts/me/sessions", bearer))["sessions"]
        assert (await other.http.get("/v1/videos/vid_1", headers=bearer | headers)).status_code == 200
        assert (session["address"], front.users.audit_log_lines()[0]["address"]) == (address, address)
        async with asyncio.timeout(20):
            while not (found := (await other.do("GET", "/v1/audit?action=job.read", bearer))["records"]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert found[0]["event"]["address"] == address


async def test_the_client_signs_in_with_codes_and_keys(front: Front) -> None:
    async with Client(front.proxy.address) as person:
        await person.sign_in("ADMIN", front.users.password)
        request = own.CreateApiKeyRequest(display_name="cutter", roles=["video.process"])
        made = await person.account.CreateApiKey(request)
        enrolled = await person.account.EnrollTotp(own.EnrollTotpRequest(password=front.users.password))
        code = pyotp.TOTP(enrolled.secret).now()
        confirmed = await person.account.ConfirmTotp(own.ConfirmTotpRequest(totp_code=code))
        listed = await person.administration.ListAccounts(admin.ListAccountsRequest())
        [account] = listed.accounts
    async with Client(front.proxy.address) as person:
        with pytest.raises(errors.Unauthenticated) as asked:
            await person.sign_in("admin", front.users.password)
        assert asked.value.reason == "MFA_REQUIRED"
        await person.sign_in("admin", front.users.password, recovery_code=confirmed.recovery_codes[0])
    async with Client(front.proxy.address, api_key=made.api_key) as machine:
        answer = await machine.videos.GetVideoStatus(video_pb.GetVideoStatusRequest(job_id="vid_1"))
        assert answer.job_id == account.account_id
        first = machine.token
        await machine.renew()
        assert machine.token == first
        # As if most of the fifteen minutes had passed.
        machine._renew_at = time.monotonic()
        await asyncio.gather(*(machine.renew() for _ in range(4)))
        assert machine.token != first
    for wrong in (made.api_key[:-1] + "x", "mpk"):
        with pytest.raises(errors.Unauthenticated) as refused:
            async with Client(front.proxy.address, api_key=wrong):
                pytest.fail("it is no key")
        assert refused.value.reason == "API_KEY_INVALID"


async def test_no_request_fails_while_keys_are_rotated(
    config: RuntimeConfig, postgres: Databases, tmp_path: Path
) -> None:
    """Two instances issue tokens, which gateway and service verify meanwhile; the keys are rotated twice."""
    settings: dict[str, Any] = {"signing_key_notice": 3, "signing_key_refresh": 0.2}
    async with run_front(config, postgres, tmp_path, **settings) as front, run_second_instance(front.users) as other:
        root = await front.users.bearer()
        made = await front.users.own.CreateApiKey(
            own.CreateApiKeyRequest(display_name="load", roles=["video.process"]), metadata=root
        )
        stopped = asyncio.Event()
        codes: list[int] = []
        seen: list[str] = []
        issued: list[str] = []

        async def load(users: Users) -> None:
            refresh_token = (await users.sign_in()).refresh_token
            while not stopped.is_set():
                request = pb.RefreshTokenRequest(refresh_token=refresh_token)
                refreshed = await users.stub.RefreshToken(request)
                refresh_token = refreshed.refresh_token
                exchanged = await users.stub.ExchangeApiKey(pb.ExchangeApiKeyRequest(api_key=made.api_key))
                # New tokens, and some that were issued earlier.
                tokens = [refreshed.access_token, exchanged.access_token, *issued[:: max(1, len(issued) // 3)]]
                for token in tokens:
                    answer = await front.http.get(STATUS, headers={"authorization": f"Bearer {token}"})
                    codes.append(answer.status_code)
                issued.append(exchanged.access_token)
                seen.append(jwt.get_unverified_header(exchanged.access_token)["kid"])

        async def signs(kid: str) -> None:
            """Wait until both instances sign with a key: the last tokens of each are in one list."""
            async with asyncio.timeout(60):
                while set(seen[-4:]) != {kid}:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            for users in (front.users, other):
                group.create_task(load(users))
            async with asyncio.timeout(60):
                while len(seen) < 4:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            # Every instance returns the same key, however often it is asked.
            for users in (front.users, other):
                first, second = await asyncio.gather(
                    *(users.admin.RotateSigningKey(admin.RotateSigningKeyRequest(), metadata=root) for _ in range(2))
                )
                assert first == second
                await signs(first.kid)
            stopped.set()
        assert len(dict.fromkeys(seen)) == 3
        listed = await other.stub.ListSigningKeys(pb.ListSigningKeysRequest())
        assert set(dict.fromkeys(seen)) == {key.kid for key in listed.keys}
        assert (len(codes) > 100, set(codes)) == (True, {200})
        # Tokens of the first key are still accepted, by the gateway and by the service itself.
        assert (await front.http.get(STATUS, headers=dict(bearer(issued[0])))).status_code == 200

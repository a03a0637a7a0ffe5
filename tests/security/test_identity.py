"""Attacks on identity through the gateway: guessed codes, stolen tokens, persistent API keys."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
from psycopg import AsyncConnection

from moneyprinter import errors
from moneyprinter.client import Client
from moneyprinter.user.v1 import account_service_pb2 as own
from services.runtime import db
from services.runtime.config import RuntimeConfig
from tests.databases import Databases, open_pool
from tests.gateway import proxy
from tests.user.test_gateway import Front, run_front
from tests.user.test_service import NEW, register

KEY = {"display_name": "k", "roles": ["user.admin"]}


@pytest.fixture
async def front(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> AsyncIterator[Front]:
    async with run_front(config, postgres, tmp_path) as front:
        yield front


async def enrol(front: Front, headers: dict[str, str]) -> pyotp.TOTP:
    """Enable the second factor of the first account."""
    enrolled = await front.do("POST", "/v1/accounts/me/totp", headers, password=front.users.password)
    app = pyotp.TOTP(enrolled["secret"])
    await front.do("POST", "/v1/accounts/me/totp/confirm", headers, totp_code=app.now())
    return app


def wrong(app: pyotp.TOTP) -> str:
    near = {app.at(int(time.time()) + 30 * periods) for periods in range(-9, 10)}
    return next(code for code in (f"{number:06}" for number in range(20)) if code not in near)


async def age(front: Front) -> None:
    """Set the last authentication of all sessions to six minutes ago."""
    async with await AsyncConnection.connect(front.users.settings.database) as connection:
        await connection.execute(
            "UPDATE \"user\".sessions SET reauthentication_time = reauthentication_time - interval '6 minutes'"
        )


async def test_password_changes_do_not_reset_the_limit_of_wrong_codes(front: Front) -> None:
    root = await front.sign_in()
    app = await enrol(front, root)
    password, found = front.users.password, []
    for _ in range(7):
        body: dict[str, Any] = {"username": "admin", "password": password, "totp_code": wrong(app)}
        found.append(await front.refused("POST", "/v1/auth/sign-in", **body))
        change: dict[str, Any] = {"old_password": password, "new_password": password}
        assert await front.refused("POST", "/v1/accounts/me/password", root, **change) == (400, "PASSWORD_UNCHANGED")
        change["new_password"] = password = f"{NEW} {len(found)}"
        await front.do("POST", "/v1/accounts/me/password", root, **change)
    assert found == [(401, "MFA_CODE_WRONG")] * 5 + [(429, "SIGN_IN_LOCKED")] * 2


async def test_of_fifty_concurrent_guesses_five_are_checked(front: Front) -> None:
    root = await front.sign_in()
    app = await enrol(front, root)
    bad = wrong(app)

    async def guess(number: int) -> str:
        if number % 2:
            return (await front.refused("POST", "/v1/auth/step-up", root, totp_code=bad))[1]
        body: dict[str, Any] = {"username": "admin", "password": front.users.password, "totp_code": bad}
        return (await front.refused("POST", "/v1/auth/sign-in", **body))[1]

    found = Counter(await asyncio.gather(*(guess(number) for number in range(50))))
    # On a busy machine some calls exceed their deadline in the queue, before they are checked.
    assert found.total() == 50
    assert set(found) <= {"MFA_CODE_WRONG", "SIGN_IN_LOCKED", "DEADLINE_EXCEEDED"}
    assert found["MFA_CODE_WRONG"] <= 5


async def test_a_stolen_token_gains_no_lasting_access(front: Front) -> None:
    """Not even with the password, when the account has a second factor."""
    root = await front.sign_in()
    me = (await front.do("GET", "/v1/accounts/me", root))["account"]["account_id"]
    app = await enrol(front, root)
    await age(front)
    for verb, path, body in (
        ("POST", "/v1/accounts/me/keys", KEY),
        ("PATCH", "/v1/accounts/me", {"email": "thief@example.com"}),
        ("POST", "/v1/auth/invitations", {"roles": ["user.admin"]}),
        ("POST", f"/v1/accounts/{me}/reset-password", {"disable_totp": True}),
        ("PUT", f"/v1/accounts/{me}/roles", {"roles": ["user.admin"]}),
        ("POST", f"/v1/accounts/{me}/unlock", {}),
        ("POST", "/v1/accounts/me/password", {"old_password": front.users.password, "new_password": NEW}),
        ("POST", "/v1/accounts/me/close", {"password": front.users.password}),
    ):
        assert await front.refused(verb, path, root, **body) == (403, "STEP_UP_REQUIRED"), path
    password = front.users.password
    assert await front.refused("POST", "/v1/auth/step-up", root, password=password) == (403, "MFA_REQUIRED")
    assert await front.refused("POST", "/v1/auth/step-up", root) == (400, "REQUEST_INVALID")
    assert await front.refused("POST", "/v1/auth/step-up", password=password) == (401, "TOKEN_INVALID")
    # The owner steps up, and continues.
    ahead = app.at(int(time.time()) + 30)
    await front.do("POST", "/v1/auth/step-up", root, totp_code=ahead)
    made = await front.http.post("/v1/accounts/me/keys", json=KEY, headers=root)
    assert made.status_code == 201
    key = made.json()["key"]
    life = datetime.fromisoformat(key["expire_time"]) - datetime.fromisoformat(key["create_time"])
    assert life == timedelta(days=90)
    events = (await front.do("GET", "/v1/accounts/me/security-events?page_size=3", root))["events"]
    assert [(event["action"], event["result"]) for event in events] == [
        ("api_key.create", "OK"),
        ("step_up", "OK"),
        ("step_up", "REQUEST_INVALID"),
    ]
    assert (events[0]["target"], events[0]["address"]) == (key["key_id"], "127.0.0.1")


async def test_the_client_steps_up(front: Front) -> None:
    async with Client(front.proxy.address) as client:
        await client.sign_in("admin", front.users.password)
        await age(front)
        wish = own.CreateApiKeyRequest(display_name="k", roles=["video.process"])
        with pytest.raises(errors.PermissionDenied, match="/v1/auth/step-up") as refused:
            await client.account.CreateApiKey(wish)
        assert refused.value.reason == "STEP_UP_REQUIRED"
        await client.step_up(password=front.users.password)
        await client.account.CreateApiKey(wish)


async def test_an_administrators_api_key_cannot_take_over_accounts(front: Front) -> None:
    root = await front.sign_in()
    me = (await front.do("GET", "/v1/accounts/me", root))["account"]["account_id"]
    ada = await register(front.users, "ada", "video.process")
    key = (await front.do("POST", "/v1/accounts/me/keys", root, **KEY))["api_key"]
    machine = {"authorization": f"Bearer {(await front.do('POST', '/v1/auth/token', api_key=key))['access_token']}"}
    for verb, path, body in (
        ("POST", f"/v1/accounts/{me}/reset-password", {"disable_totp": True}),
        ("POST", f"/v1/accounts/{ada}/reset-password", {}),
        ("PUT", f"/v1/accounts/{me}/roles", {"roles": ["user.admin"]}),
        ("PUT", f"/v1/accounts/{ada}/roles", {"roles": ["user.admin"]}),
        ("POST", f"/v1/accounts/{me}/unlock", {}),
        ("DELETE", f"/v1/accounts/{me}/sessions", {}),
        ("POST", f"/v1/accounts/{me}/disable", {}),
        ("POST", "/v1/auth/invitations", {"roles": ["user.admin"]}),
        ("POST", "/v1/accounts/me/keys", KEY),
        ("GET", "/v1/accounts/me/sessions", {}),
        ("GET", "/v1/accounts/me/security-events", {}),
        ("POST", "/v1/auth/step-up", {"password": front.users.password}),
    ):
        assert await front.refused(verb, path, machine, **body) == (403, "SESSION_REQUIRED"), path
    await front.do("POST", f"/v1/accounts/{ada}/disable", machine)


async def test_strangers_cannot_lock_out_the_owner_of_a_name(front: Front, tmp_path: Path) -> None:
    gateway = front.proxy.gateway.model_copy(update={"trusted_proxies": 1})
    async with proxy.run_proxy(gateway, tmp_path / "behind") as envoy:

        async def sign_in(address: str, password: str) -> int:
            body = {"username": "admin", "password": password}
            answer = await envoy.http.post("/v1/auth/sign-in", json=body, headers={"x-forwarded-for": address})
            return answer.status_code

        home = "203.0.113.7"
        assert await sign_in(home, front.users.password) == 200
        found = Counter(await asyncio.gather(*(sign_in(f"198.51.100.{n}", "wrong") for n in range(30))))
        assert found == {401: 5, 429: 25}
        assert await sign_in("198.51.100.99", front.users.password) == 429
        assert await sign_in(home, front.users.password) == 200


async def test_a_migration_sets_the_expiry_of_unlimited_keys(postgres: Databases) -> None:
    """A database of an earlier schema, with keys and a session."""
    conninfo = await postgres.fresh("user")
    folder = Path(db.__file__).parents[1] / "user" / "migrations"
    async with await AsyncConnection.connect(conninfo) as connection:
        await connection.execute('CREATE SCHEMA IF NOT EXISTS "user"')
        await connection.execute('SET search_path TO "user"')
        await connection.execute(
            "CREATE TABLE migrations (name text PRIMARY KEY, sha256 text NOT NULL, run_at timestamptz DEFAULT now())"
        )
        for file in sorted(folder.glob("000[123]_*.sql")):
            text = file.read_bytes()
            await connection.execute(text)
            row = (file.name, hashlib.sha256(text).hexdigest())
            await connection.execute("INSERT INTO migrations (name, sha256) VALUES (%s, %s)", row)
        await connection.execute(
            "INSERT INTO accounts (id, username, roles, create_time) VALUES ('user_1', 'ada', '{}', now())"
        )
        await connection.execute(
            "INSERT INTO sessions (id, account_id, create_time, use_time, address, user_agent, expire_time)"
            " VALUES ('ses_1', 'user_1', now() - interval '1 hour', now(), '', '', now() + interval '1 day')"
        )
        await connection.execute(
            "INSERT INTO api_keys (id, account_id, display_name, sha256, roles, create_time, expire_time) VALUES"
            " ('key_1', 'user_1', '', '', '{}', now(), NULL), ('key_2', 'user_1', '', '', '{}', now(), '2030-01-01Z')"
        )
    async with open_pool("user", conninfo) as pool, pool.connection() as connection:
        keys = await (await connection.execute("SELECT id, expire_time - now() AS life FROM api_keys")).fetchall()
        lives = {key["id"]: key["life"] for key in keys}
        assert timedelta(days=89) < lives["key_1"] <= timedelta(days=90)
        assert lives["key_2"] != lives["key_1"]
        [session] = await (await connection.execute("SELECT * FROM sessions")).fetchall()
        assert session["reauthentication_time"] == session["create_time"]

"""Secrets in a real Vault: what operators write there, and the faults of the server, the token and the policies."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from moneyprinter import errors
from services.config import cache, secrets
from services.config.vault.client import VaultAddress, VaultClient
from services.config.vault.sign_in import sign_in_by_app_role
from services.runtime.tasks import cancel
from tests.config.vault.openbao import POLICY, ROLE, OpenBao, run_openbao
from tests.config.vault.opened import open_vault, wait_until, wait_until_usable

NAME = "audio/providers"


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"value": "sk-1"}, b"sk-1"),
        ({"value": "größer"}, "größer".encode()),
        ({"base64": "AAEC"}, b"\x00\x01\x02"),
        ({"openai": "sk-1", "google": {"keys": ["a", "b"]}}, b'{"openai": "sk-1", "google": {"keys": ["a", "b"]}}'),
    ],
)
async def test_an_operator_writes_values_with_the_tools_of_vault(
    openbao: OpenBao, tmp_path: Path, fields: dict[str, object], value: bytes
) -> None:
    async with open_vault(openbao, tmp_path) as vault:
        openbao.root.secrets.kv.v2.create_or_update_secret(NAME, fields, mount_point=vault.mount)
        found = await vault.secrets.find_newest(NAME)
        assert found
        assert found.version == 1
        assert json.loads(found.value) == fields if len(fields) > 1 else found.value == value


async def test_a_field_that_is_not_base64_is_reported(openbao: OpenBao, tmp_path: Path) -> None:
    async with open_vault(openbao, tmp_path) as vault:
        openbao.root.secrets.kv.v2.create_or_update_secret(NAME, {"base64": "!"}, mount_point=vault.mount)
        with pytest.raises(errors.DataLoss, match="not Base64"):
            await vault.secrets.find_newest(NAME)


async def test_a_deleted_version_is_reported_and_comes_back(openbao: OpenBao, tmp_path: Path) -> None:
    async with open_vault(openbao, tmp_path) as vault:
        await vault.secrets.add(NAME, b"first", 0)
        await vault.secrets.add(NAME, b"second", 1)
        kv = openbao.root.secrets.kv.v2
        kv.delete_latest_version_of_secret(NAME, mount_point=vault.mount)
        with pytest.raises(errors.DataLoss, match="version 2 of audio/providers was deleted"):
            await vault.secrets.find_newest(NAME)
        kv.undelete_secret_versions(NAME, [2], mount_point=vault.mount)
        assert await vault.secrets.find_newest(NAME) == secrets.Secret(b"second", 2)


@pytest.mark.parametrize(
    "name", ["", "audio", "../sys/seal", "audio/../user/key", "Audio/x", "audio/x?list=true", "a/b%2f"]
)
async def test_no_name_leads_to_another_path(openbao: OpenBao, tmp_path: Path, name: str) -> None:
    async with open_vault(openbao, tmp_path) as vault:
        requests = len(openbao.audit_entries())
        with pytest.raises(errors.InvalidArgument):
            await vault.secrets.find_newest(name)
        with pytest.raises(errors.InvalidArgument):
            await vault.secrets.add(name, b"x", 0)
        assert len(openbao.audit_entries()) == requests


def count_requests(server: OpenBao, path: str) -> int:
    """Return how many requests of a path succeeded."""
    entries = [entry for entry in server.audit_entries() if entry["type"] == "response" and not entry.get("error")]
    return sum(entry["request"]["path"] == path for entry in entries)


async def test_a_token_is_renewed_before_it_expires(openbao: OpenBao, tmp_path: Path) -> None:
    sign_ins = count_requests(openbao, "auth/approle/login")
    renewals = count_requests(openbao, "auth/token/renew-self")
    async with open_vault(openbao, tmp_path, ttl="2s") as vault:
        await wait_until(lambda: count_requests(openbao, "auth/token/renew-self") >= renewals + 2)
        await vault.secrets.add(NAME, b"value", 0)
        assert count_requests(openbao, "auth/approle/login") == sign_ins + 1


async def test_a_token_that_cannot_be_renewed_any_longer_is_replaced(openbao: OpenBao, tmp_path: Path) -> None:
    sign_ins = count_requests(openbao, "auth/approle/login")
    async with open_vault(openbao, tmp_path, ttl="2s", max_ttl="2s") as vault:
        await wait_until(lambda: count_requests(openbao, "auth/approle/login") >= sign_ins + 2)
        assert await vault.secrets.find_newest(NAME) is None


async def test_a_revoked_token_is_replaced_without_a_failed_read(openbao: OpenBao, tmp_path: Path) -> None:
    async with open_vault(openbao, tmp_path) as vault:
        await vault.secrets.add(NAME, b"value", 0)
        for accessor in openbao.root.auth.token.list_accessors()["data"]["keys"]:
            if openbao.root.auth.token.lookup_accessor(accessor)["data"]["path"] == "auth/approle/login":
                openbao.root.auth.token.revoke_accessor(accessor)
        reads = await asyncio.gather(*(vault.secrets.find_newest(NAME) for _ in range(20)))
        assert reads == [secrets.Secret(b"value", 1)] * 20


async def test_a_wrapped_secret_id_is_used_once(openbao: OpenBao, tmp_path: Path) -> None:
    async with open_vault(openbao, tmp_path, ttl="2s", max_ttl="3s", wrapped=True) as vault:
        sign_ins = count_requests(openbao, "auth/approle/login")
        await wait_until(lambda: count_requests(openbao, "auth/approle/login") > sign_ins)
        assert await vault.secrets.find_newest(NAME) is None
        # Another process cannot use the file again: a second use would show a theft.
        sign_in = sign_in_by_app_role(tmp_path / "role-id", tmp_path / "secret-id", is_wrapped=True, mount="approle")
        thief = VaultClient(VaultAddress(openbao.url, openbao.ca_file, "", 10.0), sign_in)
        keeping = asyncio.create_task(thief.run())
        try:
            await wait_until(lambda: "wrapping token is not valid" in str(problem(thief)))
        finally:
            await cancel(keeping)
            await thief.close()


async def test_missing_rights_are_reported_until_they_are_given_back(openbao: OpenBao, tmp_path: Path) -> None:
    async with open_vault(openbao, tmp_path) as vault:
        await vault.secrets.add(NAME, b"value", 0)
        openbao.root.sys.create_or_update_policy(ROLE, 'path "nothing" { capabilities = ["read"] }')
        with pytest.raises(errors.Unavailable, match="check the policies") as refused:
            await vault.secrets.find_newest(NAME)
        assert refused.value.reason == "SECRETS_UNAVAILABLE"
        assert "check the policies" in str(problem(vault.client))
        openbao.root.sys.create_or_update_policy(ROLE, POLICY)
        assert await vault.secrets.find_newest(NAME) == secrets.Secret(b"value", 1)
        assert problem(vault.client) is None


async def test_a_server_of_another_authority_is_refused(openbao: OpenBao, tmp_path: Path) -> None:
    openbao.set_up()
    role_id, secret_id = openbao.write_role_files(tmp_path)
    sign_in = sign_in_by_app_role(role_id, secret_id, is_wrapped=False, mount="approle")
    client = VaultClient(VaultAddress(openbao.url, None, "", 10.0), sign_in)
    keeping = asyncio.create_task(client.run())
    try:
        await wait_until(lambda: "is not trusted" in str(problem(client)))
    finally:
        await cancel(keeping)
        await client.close()


@pytest.mark.parametrize("fault", ["seal", "kill", "pause"])
async def test_secrets_that_were_read_outlast_an_outage(tmp_path: Path, certificates: Path, fault: str) -> None:
    (tmp_path / "server").mkdir()
    async with (
        run_openbao(tmp_path / "server", certificates) as server,
        open_vault(server, tmp_path, timeout_seconds=1.0) as vault,
    ):
        now = 0.0
        cached = cache.CachedSecrets(vault.secrets, fresh_seconds=10, stale_seconds=100, clock=lambda: now)
        await cached.add(NAME, b"value", 0)
        await getattr(server, fault)()
        # Within its time of freshness a secret needs no server; after it, the first read finds the outage.
        assert await cached.find_newest(NAME) == secrets.Secret(b"value", 1)
        now = 50.0
        assert await cached.find_newest(NAME) == secrets.Secret(b"value", 1)
        began = time.monotonic()
        for _ in range(20):
            assert await cached.find_newest(NAME) == secrets.Secret(b"value", 1)
            with pytest.raises(errors.Unavailable):
                await cached.find_newest("audio/unread")
        assert time.monotonic() - began < 2
        words = {"seal": "is sealed", "kill": "cannot be reached", "pause": "did not respond in time"}
        assert words[fault] in str(problem(vault.client))
        now = 101.0
        with pytest.raises(errors.Unavailable):
            await cached.find_newest(NAME)
        await recover(server, fault)
        await wait_until_usable(vault.client)
        assert await cached.find_newest(NAME) == secrets.Secret(b"value", 1)
        assert await cached.add(NAME, b"next", 1) == 2


async def recover(server: OpenBao, fault: str) -> None:
    if fault == "seal":
        await server.unseal()
    elif fault == "kill":
        await server.start()
    else:
        server.resume()


def problem(client: VaultClient) -> errors.Unavailable | None:
    """Return why a client cannot use Vault; None when it can."""
    check = client.check()
    try:
        check.send(None)
    except StopIteration:
        return None
    except errors.Unavailable as failure:
        return failure
    raise AssertionError("the check waited")


async def test_a_replaced_secret_is_seen_within_the_bound_by_all_instances(openbao: OpenBao, tmp_path: Path) -> None:
    async with open_vault(openbao, tmp_path) as vault:
        now = 0.0
        one, two, three = (cache.CachedSecrets(vault.secrets, 10, 100, lambda: now) for _ in range(3))
        await one.add(NAME, b"old", 0)
        assert await two.find_newest(NAME) == await three.find_newest(NAME) == secrets.Secret(b"old", 1)
        await one.add(NAME, b"new", 1)
        assert await two.find_newest(NAME) == secrets.Secret(b"old", 1)
        now = 10.0
        assert await two.find_newest(NAME) == secrets.Secret(b"new", 2)
        # A write on an old version is refused, and the instance reads again at once.
        await one.add(NAME, b"newest", 2)
        with pytest.raises(errors.Conflict):
            await two.add(NAME, b"late", 1)
        assert await two.find_newest(NAME) == secrets.Secret(b"newest", 3)

"""Provider keys over mTLS, on PostgreSQL: users set and delete them; services that call providers read them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection

from moneyprinter import errors
from moneyprinter.user.v1 import administration_service_pb2 as admin
from moneyprinter.user.v1 import authority_service_pb2 as authority_pb
from moneyprinter.user.v1 import authority_service_pb2_grpc as authority_grpc
from moneyprinter.user.v1 import provider_key_service_pb2 as pb
from moneyprinter.user.v1 import provider_key_service_pb2_grpc as pb_grpc
from moneyprinter.user.v1 import user_service_pb2 as users_pb
from services.runtime.config import RuntimeConfig
from services.user.provider_keys.encryption import AesKeyCipher
from tests.databases import Databases
from tests.user.conftest import claims
from tests.user.instances import Users, bearer, run_user_service

KEY = "sk-of-the-account"
PASSWORD = "four tides a day, all year"


@pytest.fixture
async def users(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> AsyncIterator[Users]:
    async with run_user_service(config, postgres, tmp_path) as users:
        yield users


async def read(users: Users, account_id: str) -> list[tuple[str, str, str]]:
    """The keys of an account, as the audio service reads them."""
    stub = users.mesh.stub(authority_grpc.AuthorityServiceStub, caller="audio")
    response = await stub.GetProviderKeys(authority_pb.GetProviderKeysRequest(account_id=account_id))
    return [(key.provider, key.key, key.region) for key in response.keys]


async def register(users: Users, username: str) -> str:
    """Register a user; return an access token."""
    invited = await users.admin.CreateInvitation(
        admin.CreateInvitationRequest(roles=["video.process"]), metadata=await users.bearer()
    )
    request = users_pb.RegisterRequest(username=username, password=PASSWORD, invitation_token=invited.invitation_token)
    await users.stub.Register(request)
    return str((await users.sign_in(username, PASSWORD)).access_token)


async def test_the_keys_of_an_account(users: Users) -> None:
    token = await register(users, "walker")
    account, mine = claims(token)["sub"], bearer(token)
    keys: Any = users.mesh.stub(pb_grpc.ProviderKeyServiceStub, caller="gateway")
    await keys.SetProviderKey(pb.SetProviderKeyRequest(provider="openai", key="sk-old"), metadata=mine)
    await keys.SetProviderKey(pb.SetProviderKeyRequest(provider="openai", key=KEY), metadata=mine)
    await keys.SetProviderKey(
        pb.SetProviderKeyRequest(provider="azure", key="another", region="westeurope"), metadata=mine
    )
    assert await read(users, account) == [("azure", "another", "westeurope"), ("openai", KEY, "")]
    assert await read(users, "user_other") == []

    async with await AsyncConnection.connect(users.settings.database) as connection:
        rows = await (await connection.execute("SELECT * FROM provider_keys")).fetchall()
        assert len(rows) == 2
        assert KEY.encode() not in b"".join(value for row in rows for value in row if isinstance(value, bytes))
        # A key that is moved to another provider is not readable.
        await connection.execute("UPDATE provider_keys SET provider = 'google' WHERE provider = 'azure'")
    assert await read(users, account) == [("openai", KEY, "")]
    assert KEY not in users.log.getvalue()
    recorded = [(line["action"], line["target"], line["result"]) for line in users.audit_log_lines()]
    assert recorded.count(("provider_key.set", "openai", "OK")) == 2

    for request in (
        pb.SetProviderKeyRequest(provider="azure", key="without-region"),
        pb.SetProviderKeyRequest(provider="openai", key="k", region="westeurope"),
        pb.SetProviderKeyRequest(provider="openai", key="two words"),
        pb.SetProviderKeyRequest(provider="unknown", key="k"),
    ):
        with pytest.raises(errors.InvalidArgument) as wrong:
            await keys.SetProviderKey(request, metadata=mine)
        assert request.key not in wrong.value.message or request.key == "k"
    await keys.DeleteProviderKey(pb.DeleteProviderKeyRequest(provider="openai"), metadata=mine)
    with pytest.raises(errors.NotFound) as missing:
        await keys.DeleteProviderKey(pb.DeleteProviderKeyRequest(provider="openai"), metadata=mine)
    assert missing.value.reason == "PROVIDER_KEY_NOT_FOUND"
    assert await read(users, account) == []

    await keys.SetProviderKey(pb.SetProviderKeyRequest(provider="openai", key=KEY), metadata=mine)
    disable = admin.DisableAccountRequest(account_id=account)
    await users.admin.DisableAccount(disable, metadata=await users.bearer())
    assert await read(users, account) == [], "a disabled account leaves no keys"


async def test_only_services_that_call_providers_read_keys(users: Users) -> None:
    for caller in ("gateway", "orchestrator", "validation"):
        stub = users.mesh.stub(authority_grpc.AuthorityServiceStub, caller=caller)
        with pytest.raises(errors.PermissionDenied):
            await stub.GetProviderKeys(authority_pb.GetProviderKeysRequest(account_id="user_1"))
    stub = users.mesh.stub(authority_grpc.AuthorityServiceStub)
    account = claims((await users.sign_in()).access_token)["sub"]
    for account_id, exists in ((account, True), ("user_1", False)):
        found = await stub.CheckAccount(authority_pb.CheckAccountRequest(account_id=account_id))
        assert found.exists is exists


def test_a_key_is_bound_to_its_account_and_provider() -> None:
    cipher = AesKeyCipher(bytes(32))
    encrypted = cipher.encrypt("user_1", "openai", KEY)
    assert cipher.decrypt("user_1", "openai", encrypted) == KEY
    for account, provider in (("user_2", "openai"), ("user_1", "google")):
        with pytest.raises(errors.DataLoss):
            cipher.decrypt(account, provider, encrypted)

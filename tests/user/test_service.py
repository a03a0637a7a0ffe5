"""The user service over mTLS, on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import pyotp
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc
from psycopg import AsyncConnection

import services.user
from moneyprinter import errors
from moneyprinter.config.v1 import config_service_pb2_grpc
from moneyprinter.user.v1 import account_service_pb2 as own
from moneyprinter.user.v1 import account_service_pb2_grpc as own_grpc
from moneyprinter.user.v1 import administration_service_pb2 as admin
from moneyprinter.user.v1 import administration_service_pb2_grpc as admin_grpc
from moneyprinter.user.v1 import user_service_pb2 as pb
from moneyprinter.user.v1 import user_service_pb2_grpc as pb_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.config.config import Config as SecretsConfig
from services.runtime import identity
from services.runtime.config import ConfigError, RuntimeConfig
from services.runtime.layers import load
from services.runtime.secrets import SecretClient
from services.runtime.server import Runtime
from services.user.audit.audit_log import KEY_NAME as AUDIT_KEY_NAME
from services.user.config import Config
from services.user.messages import read_client
from tests.databases import Databases
from tests.mesh import Mesh
from tests.user.conftest import TABLES, claims
from tests.user.instances import Users, bearer, run_second_instance, run_user_service

NEW = "another long one"


@pytest.fixture
async def users(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> AsyncIterator[Users]:
    async with run_user_service(config, postgres, tmp_path) as users:
        yield users


async def register(users: Users, username: str, *roles: str) -> str:
    """Invite and register a user with the password NEW; return the account's id."""
    invited = await users.admin.CreateInvitation(
        admin.CreateInvitationRequest(roles=roles), metadata=await users.bearer()
    )
    request = pb.RegisterRequest(username=username, password=NEW, invitation_token=invited.invitation_token)
    made: pb.RegisterResponse = await users.stub.Register(request)
    return made.account.account_id


async def test_the_first_account_signs_in_as_the_specification_says(users: Users) -> None:
    answer = await users.sign_in()
    assert (answer.token_type, answer.expires_in) == ("Bearer", 900)
    (key,) = (await users.stub.ListSigningKeys(pb.ListSigningKeysRequest())).keys
    assert (key.kty, key.crv, key.use, key.alg) == ("EC", "P-256", "sig", "ES256")
    header = jwt.get_unverified_header(answer.access_token)
    assert header == {"alg": "ES256", "kid": key.kid, "typ": "JWT"}
    public = jwt.PyJWK({"kty": key.kty, "crv": key.crv, "x": key.x, "y": key.y, "kid": key.kid, "alg": key.alg})
    found = jwt.decode(
        answer.access_token, public, algorithms=["ES256"], audience="moneyprinter", issuer="moneyprinter"
    )
    assert found["sub"].startswith("user_")
    assert found["exp"] - found["iat"] == 900
    assert found["roles"] == ["video.process", "audio.generate", "content.manage", "user.admin"]


class Videos(video_grpc.VideoServiceServicer):
    """A VideoService that returns the user."""

    async def GetVideoStatus(
        self, request: video_pb.GetVideoStatusRequest, context: Any
    ) -> video_pb.GetVideoStatusResponse:
        return video_pb.GetVideoStatusResponse(job_id=identity.user().id)

    async def GetVideo(self, request: video_pb.GetVideoRequest, context: Any) -> video_pb.GetVideoResponse:
        return video_pb.GetVideoResponse(video=video_pb.Video(job_id=request.job_id))


@asynccontextmanager
async def wire_videos(_: None, runtime: Runtime) -> AsyncIterator[None]:
    runtime.add(video_grpc.add_VideoServiceServicer_to_server, Videos())  # type: ignore[abstract]
    yield


async def test_another_service_reads_user_and_roles_from_the_token(users: Users) -> None:
    await users.mesh.start("orchestrator", None, wire_videos)
    stub: Any = users.mesh.stub(video_grpc.VideoServiceStub, caller="gateway")
    ask = video_pb.GetVideoStatusRequest(job_id="vid_1")
    account_id = await register(users, "ada", "video.process")
    token = (await users.sign_in("ada", NEW)).access_token
    assert (await stub.GetVideoStatus(ask, metadata=bearer(token))).job_id == account_id
    await register(users, "eve", "content.manage")
    token = (await users.sign_in("eve", NEW)).access_token
    with pytest.raises(errors.PermissionDenied) as refused:
        await stub.GetVideoStatus(ask, metadata=bearer(token))
    assert refused.value.reason == "ROLE_MISSING"


async def test_the_own_account_requires_a_token_but_no_role(users: Users) -> None:
    await register(users, "ada")
    with pytest.raises(errors.Unauthenticated):
        await users.own.GetProfile(own.GetProfileRequest())
    token = bearer((await users.sign_in("ADA", NEW)).access_token)
    found = await users.own.GetProfile(own.GetProfileRequest(), metadata=token)
    assert (found.account.username, list(found.account.roles)) == ("ada", [])
    with pytest.raises(errors.PermissionDenied) as refused:
        await users.admin.ListAccounts(admin.ListAccountsRequest(), metadata=token)
    assert refused.value.reason == "ROLE_MISSING"


async def test_a_profile_over_the_wire(users: Users) -> None:
    token = await users.bearer()
    await users.own.UpdateProfile(
        own.UpdateProfileRequest(display_name="Root", email="root@example.com", locale="en"), metadata=token
    )
    changed = await users.own.UpdateProfile(own.UpdateProfileRequest(email=""), metadata=token)
    account = changed.account
    assert (account.display_name, account.email, account.locale, account.mfa_enabled) == ("Root", "", "en", False)
    assert abs(account.create_time.ToSeconds() - time.time()) < 60
    assert not account.HasField("disable_time")
    for wrong in ({"email": "nowhere"}, {"locale": "en_GB"}, {"display_name": "x\u202e"}, {"display_name": "x" * 101}):
        with pytest.raises(errors.InvalidArgument):
            await users.own.UpdateProfile(own.UpdateProfileRequest(**wrong), metadata=token)


async def test_refresh_over_the_wire(users: Users) -> None:
    first = await users.sign_in()
    at_once = await asyncio.gather(
        *(users.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=first.refresh_token)) for _ in range(6))
    )
    assert len({answer.refresh_token for answer in at_once}) == 1
    second = await users.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=at_once[0].refresh_token))
    assert second.token_type == "Bearer"
    # The successor of the first token was used, so that this use is a replay.
    for token in (first.refresh_token, second.refresh_token):
        with pytest.raises(errors.Unauthenticated) as refused:
            await users.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=token))
        assert refused.value.reason == "REFRESH_TOKEN_INVALID"
    with pytest.raises(errors.Unauthenticated) as refused:
        await users.own.GetProfile(own.GetProfileRequest(), metadata=bearer(second.access_token))
    assert refused.value.reason == "TOKEN_INVALID"


async def test_wrong_passwords_are_refused_and_then_locked(users: Users) -> None:
    request = pb.SignInRequest(username="admin", password="wrong")
    answers = await asyncio.gather(*(users.stub.SignIn(request) for _ in range(12)), return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, errors.Error)]
    assert sorted(refusal.reason for refusal in refusals) == ["CREDENTIALS_WRONG"] * 5 + ["SIGN_IN_LOCKED"] * 7
    waits = [refusal.retry_after_seconds or 0 for refusal in refusals if refusal.reason == "SIGN_IN_LOCKED"]
    assert all(890 < seconds <= 900 for seconds in waits)


async def test_a_session_shows_its_address_and_user_agent(users: Users) -> None:
    forwarded = (("x-client-address", "198.51.100.9"), ("x-forwarded-for", "10.0.0.1"))
    signed_in = await users.stub.SignIn(pb.SignInRequest(username="admin", password=users.password), metadata=forwarded)
    token = bearer(signed_in.access_token)
    await users.sign_in()
    found = (await users.own.ListSessions(own.ListSessionsRequest(), metadata=token)).sessions
    assert [(session.current, session.address) for session in found] == [(False, ""), (True, "198.51.100.9")]
    assert found[1].user_agent.startswith("grpc-python-asyncio/")
    await users.own.EndSession(own.EndSessionRequest(session_id=found[0].session_id), metadata=token)
    ended = await users.own.EndSessions(own.EndSessionsRequest(keep_current=True), metadata=token)
    assert ended.ended_count == 0
    await users.stub.SignOut(pb.SignOutRequest(refresh_token=signed_in.refresh_token))
    with pytest.raises(errors.Unauthenticated):
        await users.own.ListSessions(own.ListSessionsRequest(), metadata=token)


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("198.51.100.1, 203.0.113.1", ""),
        ("<script>", ""),
        ("", ""),
    ],
)
async def test_session_and_audit_log_have_the_same_address(users: Users, header: str, address: str) -> None:
    """The address that the gateway forwards, whatever other headers the request has."""
    metadata = (("x-client-address", header), ("x-forwarded-for", "6.6.6.6"), ("x-real-ip", "6.6.6.6"))
    request = pb.SignInRequest(username="admin", password=users.password)
    token = bearer((await users.stub.SignIn(request, metadata=metadata)).access_token)
    [session] = (await users.own.ListSessions(own.ListSessionsRequest(), metadata=token)).sessions
    [event] = users.audit_log_lines()
    assert (session.address, event["address"]) == (address, address)


async def test_a_user_agent_is_stored_without_control_characters(users: Users) -> None:
    class Context:
        """A call with metadata."""

        def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
            return (("user-agent", "agent\x1b[31m" + "x" * 300),)

    found = read_client(Context())
    assert found.user_agent.startswith("agent[31mxxx")
    assert len(found.user_agent) < 256


async def test_only_the_gateway_reaches_accounts(users: Users) -> None:
    token = await users.bearer()
    stub: Any = users.mesh.stub(pb_grpc.UserServiceStub, caller="audio")
    with pytest.raises(errors.PermissionDenied):
        await stub.SignIn(pb.SignInRequest(username="admin", password=users.password))
    assert (await stub.ListSigningKeys(pb.ListSigningKeysRequest())).keys
    for make, call, request in (
        (own_grpc.AccountServiceStub, "GetProfile", own.GetProfileRequest()),
        (admin_grpc.AdministrationServiceStub, "ListAccounts", admin.ListAccountsRequest()),
    ):
        other: Any = users.mesh.stub(make, caller="orchestrator")
        with pytest.raises(errors.PermissionDenied) as refused:
            await getattr(other, call)(request, metadata=token)
        assert refused.value.reason == "CALLER_NOT_ALLOWED"


async def test_a_second_factor_over_the_wire(users: Users) -> None:
    token = await users.bearer()
    enrolled = await users.own.EnrollTotp(own.EnrollTotpRequest(password=users.password), metadata=token)
    totp = pyotp.TOTP(enrolled.secret)
    confirmed = await users.own.ConfirmTotp(own.ConfirmTotpRequest(totp_code=totp.now()), metadata=token)
    assert len(confirmed.recovery_codes) == 10
    with pytest.raises(errors.Unauthenticated) as refused:
        await users.sign_in()
    assert refused.value.reason == "MFA_REQUIRED"
    # The clock of the phone is a little fast; the present code has been used for the confirmation.
    ahead = totp.at(time.time() + 30)
    ends = await asyncio.gather(*(users.sign_in(totp_code=ahead) for _ in range(4)), return_exceptions=True)
    reasons = sorted(end.reason if isinstance(end, errors.Error) else "" for end in ends)
    assert reasons == ["", "MFA_CODE_WRONG", "MFA_CODE_WRONG", "MFA_CODE_WRONG"]
    await users.sign_in(recovery_code=confirmed.recovery_codes[0])
    request = own.DisableTotpRequest(password=users.password, recovery_code=confirmed.recovery_codes[1])
    await users.own.DisableTotp(request, metadata=token)
    await users.sign_in()
    for both in ({"totp_code": "123456", "recovery_code": "a" * 16}, {"totp_code": "12345"}):
        with pytest.raises(errors.InvalidArgument):
            await users.sign_in(**both)


async def test_an_api_key_over_the_wire(users: Users) -> None:
    token = await users.bearer()
    hour = Duration(seconds=3600)
    made = await users.own.CreateApiKey(
        own.CreateApiKeyRequest(display_name="cutter", roles=["video.process"], valid_for=hour), metadata=token
    )
    got = await users.stub.ExchangeApiKey(pb.ExchangeApiKeyRequest(api_key=made.api_key))
    assert (got.token_type, got.expires_in) == ("Bearer", 900)
    assert claims(got.access_token)["roles"] == ["video.process"]
    machine = bearer(got.access_token)
    [key] = (await users.own.ListApiKeys(own.ListApiKeysRequest(), metadata=machine)).keys
    assert (key.key_id, key.display_name, list(key.roles)) == (made.key.key_id, "cutter", ["video.process"])
    assert key.expire_time.ToDatetime() - key.create_time.ToDatetime() == timedelta(hours=1)
    assert key.HasField("last_use_time")
    with pytest.raises(errors.PermissionDenied) as refused:
        await users.own.EndSessions(own.EndSessionsRequest(), metadata=machine)
    assert refused.value.reason == "SESSION_REQUIRED"
    await users.own.RevokeApiKey(own.RevokeApiKeyRequest(key_id=key.key_id), metadata=token)
    with pytest.raises(errors.Unauthenticated) as gone:
        await users.stub.ExchangeApiKey(pb.ExchangeApiKeyRequest(api_key=made.api_key))
    assert gone.value.reason == "API_KEY_INVALID"


async def test_administration_over_the_wire(users: Users) -> None:
    token = await users.bearer()
    ada = await register(users, "ada", "video.process")
    listed = await users.admin.ListAccounts(admin.ListAccountsRequest(page_size=1), metadata=token)
    assert [account.username for account in listed.accounts] == ["ada"]
    rest = await users.admin.ListAccounts(admin.ListAccountsRequest(page_token=listed.next_page_token), metadata=token)
    assert [account.username for account in rest.accounts] == ["admin"]
    first = (await users.own.GetProfile(own.GetProfileRequest(), metadata=token)).account
    with pytest.raises(errors.FailedPrecondition) as refused:
        await users.admin.SetRoles(admin.SetRolesRequest(account_id=first.account_id), metadata=token)
    assert refused.value.reason == "LAST_ADMINISTRATOR"
    roles = ["audio.generate", "content.manage"]
    changed = await users.admin.SetRoles(admin.SetRolesRequest(account_id=ada, roles=roles), metadata=token)
    assert list(changed.account.roles) == roles
    signed_in = await users.sign_in("ada", NEW)
    disabled = await users.admin.DisableAccount(admin.DisableAccountRequest(account_id=ada), metadata=token)
    assert disabled.account.HasField("disable_time")
    with pytest.raises(errors.Unauthenticated):
        await users.own.GetProfile(own.GetProfileRequest(), metadata=bearer(signed_in.access_token))
    await users.admin.EnableAccount(admin.EnableAccountRequest(account_id=ada), metadata=token)
    for _ in range(5):
        with pytest.raises(errors.Unauthenticated):
            await users.sign_in("ada", "wrong")
    seen = await users.admin.GetAccount(admin.GetAccountRequest(account_id=ada), metadata=token)
    assert 890 < seen.lock_end_time.ToSeconds() - time.time() <= 901
    await users.admin.UnlockAccount(admin.UnlockAccountRequest(account_id=ada), metadata=token)
    await users.sign_in("ada", NEW)
    ended = await users.admin.EndAccountSessions(
        admin.EndAccountSessionsRequest(account_id=ada, revoke_api_keys=True), metadata=token
    )
    assert (ended.ended_count, ended.revoked_count) == (1, 0)
    reset = await users.admin.ResetPassword(admin.ResetPasswordRequest(account_id=ada), metadata=token)
    await users.stub.SetPassword(pb.SetPasswordRequest(reset_token=reset.reset_token, new_password=NEW + "!"))
    await users.sign_in("ada", NEW + "!")
    for wrong in (
        admin.SetRolesRequest(account_id=ada, roles=["root"]),
        admin.SetRolesRequest(account_id=ada, roles=roles * 2),
        admin.SetRolesRequest(account_id="me", roles=roles),
    ):
        with pytest.raises(errors.InvalidArgument):
            await users.admin.SetRoles(wrong, metadata=token)


async def test_users_change_their_password_and_close_their_account(users: Users) -> None:
    await register(users, "ada")
    token = bearer((await users.sign_in("ada", NEW)).access_token)
    request = own.ChangePasswordRequest(old_password=NEW, new_password=NEW + "!")
    await users.own.ChangePassword(request, metadata=token)
    with pytest.raises(errors.PermissionDenied) as refused:
        await users.own.CloseAccount(own.CloseAccountRequest(password=NEW), metadata=token)
    assert refused.value.reason == "CREDENTIALS_WRONG"
    await users.own.CloseAccount(own.CloseAccountRequest(password=NEW + "!"), metadata=token)
    with pytest.raises(errors.PermissionDenied):
        await users.sign_in("ada", NEW + "!")


async def test_invitations_over_the_wire(users: Users) -> None:
    token = await users.bearer()
    request = admin.CreateInvitationRequest(roles=["user.admin"], note="for Ada", valid_for=Duration(seconds=3600))
    made = (await users.admin.CreateInvitation(request, metadata=token)).invitation
    [listed] = (await users.admin.ListInvitations(admin.ListInvitationsRequest(), metadata=token)).invitations
    assert listed == made
    assert (made.note, list(made.roles)) == ("for Ada", ["user.admin"])
    delete = admin.DeleteInvitationRequest(invitation_id=made.invitation_id)
    await users.admin.DeleteInvitation(delete, metadata=token)
    with pytest.raises(errors.NotFound):
        await users.admin.DeleteInvitation(delete, metadata=token)
    with pytest.raises(errors.InvalidArgument):
        await users.stub.Register(pb.RegisterRequest(username="ada", password="short"))


async def test_a_second_instance_has_the_same_accounts_and_keys(users: Users) -> None:
    before = users.settings.first_account_file.read_text()
    first = await users.sign_in()
    keys = await users.stub.ListSigningKeys(pb.ListSigningKeysRequest())
    enrolled = await users.own.EnrollTotp(
        own.EnrollTotpRequest(password=users.password), metadata=bearer(first.access_token)
    )
    async with run_second_instance(users) as other:
        assert await other.stub.ListSigningKeys(pb.ListSigningKeysRequest()) == keys
        token = bearer((await other.sign_in()).access_token)
        code = pyotp.TOTP(enrolled.secret).now()
        await other.own.ConfirmTotp(own.ConfirmTotpRequest(totp_code=code), metadata=token)
        await other.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=first.refresh_token))
        assert len((await users.own.ListSessions(own.ListSessionsRequest(), metadata=token)).sessions) == 2
    with pytest.raises(errors.Unauthenticated):
        await users.sign_in()
    assert users.settings.first_account_file.read_text() == before


async def test_instances_that_start_concurrently_share_a_secret(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    client = SecretClient(mesh.stub(config_service_pb2_grpc.ConfigServiceStub, caller="user"))
    assert len(set(await asyncio.gather(*(client.fetch_or_create_key(AUDIT_KEY_NAME) for _ in range(8))))) == 1
    assert await client.read("user/nothing") is None


async def test_no_secret_is_logged_or_stored(users: Users) -> None:
    first = await users.sign_in()
    token = bearer(first.access_token)
    with pytest.raises(errors.Unauthenticated):
        await users.sign_in("hunter2 typed as a name", "hunter3")
    second = await users.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=first.refresh_token))
    key = await users.own.CreateApiKey(
        own.CreateApiKeyRequest(display_name="cutter", roles=["video.process"]), metadata=token
    )
    invited = await users.admin.CreateInvitation(admin.CreateInvitationRequest(), metadata=token)
    ada = await register(users, "ada")
    reset = await users.admin.ResetPassword(admin.ResetPasswordRequest(account_id=ada), metadata=token)
    enrolled = await users.own.EnrollTotp(own.EnrollTotpRequest(password=users.password), metadata=token)
    code = pyotp.TOTP(enrolled.secret).now()
    codes = await users.own.ConfirmTotp(own.ConfirmTotpRequest(totp_code=code), metadata=token)
    async with await AsyncConnection.connect(users.settings.database) as connection:
        seen = users.log.getvalue()
        for table in TABLES:
            rows = await (await connection.execute(f'SELECT * FROM "user".{table}')).fetchall()  # noqa: S608
            assert rows or table in ("sign_in_attempts", "account_networks", "provider_keys"), table
            seen += str(rows)
    assert "admin" in seen
    for secret in (
        *(users.password, NEW, "hunter2", "hunter3", first.refresh_token, second.refresh_token, second.access_token),
        *(first.access_token, key.api_key, key.api_key.split("_")[2], invited.invitation_token, reset.reset_token),
        *(enrolled.secret, *codes.recovery_codes, codes.recovery_codes[0].replace("-", "")),
    ):
        assert secret not in seen


async def test_actions_are_audited_with_address_and_trace(users: Users) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    metadata = (("x-client-address", "203.0.113.1"), ("traceparent", f"00-{trace}-b7ad6b7169203331-01"))
    request = pb.SignInRequest(username="admin", password="wrong")
    with pytest.raises(errors.Unauthenticated):
        await users.stub.SignIn(request, metadata=metadata)
    [event] = users.audit_log_lines()
    first = await users.sign_in()
    account_id = claims(first.access_token)["sub"]
    recorded = {name: event.get(name) for name in ("action", "actor", "target", "result", "address", "trace_id")}
    assert recorded == {
        "action": "sign_in",
        "actor": "",
        "target": account_id,
        "result": "CREDENTIALS_WRONG",
        "address": "203.0.113.1",
        "trace_id": trace,
    }


@pytest.mark.parametrize("check", ["database", "signing-keys"])
async def test_the_health_checks_succeed(users: Users, check: str) -> None:
    stub: Any = health_pb2_grpc.HealthStub(users.mesh.channel("user", "grpc.health.v1.Health", caller="monitoring"))
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=check))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_invalid_settings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONEYPRINTER_USER_REGISTERED_ROLES", json.dumps(["video.process"]))
    assert load(Config).registered_roles == ("video.process",)
    for name, value in (
        ("SIGNING_KEY_NOTICE", "119"),
        ("SIGNING_KEY_LIFETIME", "0"),
        ("REGISTRATION", "everybody"),
        ("REGISTERED_ROLES", '["root"]'),
        ("MAX_SIGN_IN_FAILURES", "0"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(f"MONEYPRINTER_USER_{name}", value)
            with pytest.raises(ConfigError):
                load(Config)


async def test_a_database_of_the_first_version_is_migrated(
    config: RuntimeConfig, postgres: Databases, tmp_path: Path
) -> None:
    """Users who were signed in stay signed in."""
    conninfo = await postgres.fresh("user")
    first = Path(services.user.__file__).parent / "migrations" / "0001_accounts.sql"
    async with await AsyncConnection.connect(conninfo) as connection:
        await connection.execute('CREATE SCHEMA IF NOT EXISTS "user"')
        await connection.execute('SET search_path TO "user"')
        await connection.execute(first.read_bytes())
        await connection.execute(
            "CREATE TABLE migrations (name text PRIMARY KEY, sha256 text NOT NULL, run_at timestamptz DEFAULT now())"
        )
        await connection.execute(
            "INSERT INTO migrations (name, sha256) VALUES (%s, %s)",
            (first.name, sha256(first.read_bytes()).hexdigest()),
        )
        await connection.execute("INSERT INTO accounts VALUES ('user_1', 'admin', 'hash', '{user.admin}', now())")
        for token, used in (("used", "now()"), ("unused", "NULL")):
            await connection.execute(
                f"INSERT INTO refresh_tokens VALUES (%s, 'family', 'user_1', now() + interval '1 day', {used})",  # noqa: S608
                (sha256(token.encode()).digest(),),
            )
        await connection.execute("INSERT INTO sign_in_attempts VALUES ('x', '{}', now())")
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    async with Mesh(config, own_keys=False) as mesh:
        await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
        await mesh.start("user", Config(database=conninfo, first_account_file=tmp_path / "first-account"))
        stub: Any = mesh.stub(pb_grpc.UserServiceStub, caller="gateway")
        second = await stub.RefreshToken(pb.RefreshTokenRequest(refresh_token="unused"))
        assert claims(second.access_token)["sub"] == "user_1"
        with pytest.raises(errors.Unauthenticated):
            await stub.RefreshToken(pb.RefreshTokenRequest(refresh_token="used"))
        with pytest.raises(errors.Unauthenticated):
            await stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=second.refresh_token))

"""The user service as the gateway and the mesh meet it: over mTLS, on PostgreSQL."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from psycopg import AsyncConnection

from moneyprinter import errors
from moneyprinter.config.v1 import config_service_pb2_grpc
from moneyprinter.user.v1 import user_service_pb2 as pb
from moneyprinter.user.v1 import user_service_pb2_grpc as pb_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.config.config import Config as SecretsConfig
from services.runtime import access, telemetry
from services.runtime.config import RuntimeConfig
from services.runtime.server import Runtime
from services.user import signing_key
from services.user.config import Config
from tests.databases import Databases
from tests.mesh import Mesh


@dataclass
class Users:
    """A running user service."""

    mesh: Mesh
    stub: Any
    settings: Config
    password: str
    log: io.StringIO

    async def sign_in(self) -> pb.SignInResponse:
        answer: pb.SignInResponse = await self.stub.SignIn(pb.SignInRequest(username="admin", password=self.password))
        return answer


@pytest.fixture
async def users(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> AsyncIterator[Users]:
    log = io.StringIO()
    telemetry.configure(config, log)
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    settings = Config(database=await postgres.fresh("user"), first_account_file=tmp_path / "first-account")
    async with Mesh(config, own_keys=False) as mesh:
        await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
        await mesh.start("user", settings)
        password = json.loads((tmp_path / "first-account").read_text())["password"]
        yield Users(mesh, mesh.stub(pb_grpc.UserServiceStub, caller="gateway"), settings, password, log)


async def test_the_first_account_signs_in_and_gets_what_the_specification_says(users: Users) -> None:
    answer = await users.sign_in()
    assert (answer.token_type, answer.expires_in) == ("Bearer", 900)
    (key,) = (await users.stub.ListSigningKeys(pb.ListSigningKeysRequest())).keys
    assert (key.kty, key.crv, key.use, key.alg) == ("EC", "P-256", "sig", "ES256")
    header = jwt.get_unverified_header(answer.access_token)
    assert header == {"alg": "ES256", "kid": key.kid, "typ": "JWT"}
    public = jwt.PyJWK({"kty": key.kty, "crv": key.crv, "x": key.x, "y": key.y, "kid": key.kid, "alg": key.alg})
    claims = jwt.decode(
        answer.access_token, public, algorithms=["ES256"], audience="moneyprinter", issuer="moneyprinter"
    )
    assert claims["sub"].startswith("user_")
    assert claims["exp"] - claims["iat"] == 900
    assert claims["roles"] == ["video.process", "audio.generate", "content.manage", "user.admin"]


class Videos(video_grpc.VideoServiceServicer):
    """Answers with the user."""

    async def GetVideoStatus(
        self, request: video_pb.GetVideoStatusRequest, context: Any
    ) -> video_pb.GetVideoStatusResponse:
        return video_pb.GetVideoStatusResponse(job_id=access.user().id)


@asynccontextmanager
async def wire_videos(_: None, runtime: Runtime) -> AsyncIterator[None]:
    runtime.add(video_grpc.add_VideoServiceServicer_to_server, Videos())  # type: ignore[abstract]
    yield


async def test_another_service_knows_the_user_by_the_token(users: Users) -> None:
    await users.mesh.start("orchestrator", None, wire_videos)
    stub: Any = users.mesh.stub(video_grpc.VideoServiceStub, caller="gateway")
    token = (await users.sign_in()).access_token
    metadata = (("authorization", f"Bearer {token}"),)
    answer = await stub.GetVideoStatus(video_pb.GetVideoStatusRequest(job_id="vid_1"), metadata=metadata)
    assert answer.job_id == jwt.decode(token, options={"verify_signature": False})["sub"]


async def test_refresh_over_the_wire(users: Users) -> None:
    first = await users.sign_in()
    second = await users.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=first.refresh_token))
    assert second.token_type == "Bearer"
    assert second.refresh_token != first.refresh_token
    for token in (first.refresh_token, second.refresh_token):
        with pytest.raises(errors.Unauthenticated) as refused:
            await users.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=token))
        assert refused.value.reason == "REFRESH_TOKEN_INVALID"


async def test_wrong_passwords_are_refused_and_at_last_told_to_wait(users: Users) -> None:
    request = pb.SignInRequest(username="admin", password="wrong")
    answers = await asyncio.gather(*(users.stub.SignIn(request) for _ in range(12)), return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, errors.Error)]
    assert sorted(refusal.reason for refusal in refusals) == ["BUSY"] * 2 + ["CREDENTIALS_WRONG"] * 10
    waits = [refusal.retry_after_seconds or 0 for refusal in refusals if refusal.reason == "BUSY"]
    assert all(290 < seconds <= 300 for seconds in waits)


async def test_only_the_gateway_signs_people_in(users: Users) -> None:
    stub: Any = users.mesh.stub(pb_grpc.UserServiceStub, caller="audio")
    with pytest.raises(errors.PermissionDenied):
        await stub.SignIn(pb.SignInRequest(username="admin", password=users.password))
    assert (await stub.ListSigningKeys(pb.ListSigningKeysRequest())).keys


async def test_a_second_replica_has_the_same_account_and_key(users: Users) -> None:
    before = users.settings.first_account_file.read_text()
    first = await users.sign_in()
    keys = await users.stub.ListSigningKeys(pb.ListSigningKeysRequest())
    async with Mesh(users.mesh.config, own_keys=False) as other:
        other.config = other.config.model_copy(update={"ports": {**other.config.ports, "user": 0}})
        await other.start("user", users.settings)
        stub: Any = other.stub(pb_grpc.UserServiceStub, caller="gateway")
        assert await stub.ListSigningKeys(pb.ListSigningKeysRequest()) == keys
        await stub.SignIn(pb.SignInRequest(username="admin", password=users.password))
        await stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=first.refresh_token))
    assert users.settings.first_account_file.read_text() == before


async def test_replicas_agree_on_the_signing_key(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    stub: Any = mesh.stub(config_service_pb2_grpc.ConfigServiceStub, caller="user")
    assert len(set(await asyncio.gather(*(signing_key.fetch(stub) for _ in range(8))))) == 1


async def test_no_password_or_token_is_logged_or_stored(users: Users) -> None:
    first = await users.sign_in()
    with pytest.raises(errors.Unauthenticated):
        await users.stub.SignIn(pb.SignInRequest(username="hunter2 typed as a name", password="hunter3"))
    second = await users.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=first.refresh_token))
    async with await AsyncConnection.connect(users.settings.database) as connection:
        seen = users.log.getvalue()
        for table in ("accounts", "refresh_tokens", "sign_in_attempts"):
            seen += str(await (await connection.execute(f'SELECT * FROM "user".{table}')).fetchall())  # noqa: S608
    assert "admin" in seen
    for secret in (users.password, "hunter2", "hunter3", first.refresh_token, second.access_token, first.access_token):
        assert secret not in seen


async def test_the_health_check_asks_the_database(users: Users) -> None:
    stub: Any = health_pb2_grpc.HealthStub(users.mesh.channel("user", "grpc.health.v1.Health", caller="monitoring"))
    answer = await stub.Check(health_pb2.HealthCheckRequest(service="database"))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING

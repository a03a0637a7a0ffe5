"""Who gets in: every peer that the contract does not let in is refused, and every call without a good token."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google.api import httpbody_pb2
from google.protobuf import json_format, struct_pb2

from moneyprinter import errors
from moneyprinter.content.v1 import content_service_pb2 as content_pb
from moneyprinter.content.v1 import content_service_pb2_grpc as content_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.embedded import authority
from services.runtime import identity
from services.runtime.authorizer import TokenKeys
from services.runtime.request_checks import check_message
from services.runtime.server import Runtime
from tests.mesh import Mesh

WRITE = content_pb.WriteScriptRequest(title="A walk")


class Scripts(content_grpc.ContentServiceServicer):
    """Answers with the title."""

    async def WriteScript(self, request: content_pb.WriteScriptRequest, context: Any) -> content_pb.WriteScriptResponse:
        return content_pb.WriteScriptResponse(sentences=[request.title], writer="caller")


class Videos(video_grpc.VideoServiceServicer):
    """Answers with the user."""

    async def GetVideoStatus(
        self, request: video_pb.GetVideoStatusRequest, context: Any
    ) -> video_pb.GetVideoStatusResponse:
        return video_pb.GetVideoStatusResponse(job_id=identity.user().id)


@asynccontextmanager
async def wire_scripts(_: None, runtime: Runtime) -> AsyncIterator[None]:
    runtime.add(content_grpc.add_ContentServiceServicer_to_server, Scripts())  # type: ignore[abstract]
    yield


@asynccontextmanager
async def wire_videos(_: None, runtime: Runtime) -> AsyncIterator[None]:
    runtime.add(video_grpc.add_VideoServiceServicer_to_server, Videos())  # type: ignore[abstract]
    yield


async def test_an_allowed_workload_gets_a_response(mesh: Mesh) -> None:
    await mesh.start("content", None, wire_scripts)
    answer = await mesh.stub(content_grpc.ContentServiceStub).WriteScript(WRITE)
    assert list(answer.sentences) == ["A walk"]


async def test_a_workload_outside_the_access_rule_is_refused(mesh: Mesh) -> None:
    await mesh.start("content", None, wire_scripts)
    with pytest.raises(errors.PermissionDenied, match="rendering may not call") as refused:
        await mesh.stub(content_grpc.ContentServiceStub, caller="rendering").WriteScript(WRITE)
    assert refused.value.reason == "CALLER_NOT_ALLOWED"


async def call_with(mesh: Mesh, credentials: grpc.ChannelCredentials) -> content_pb.WriteScriptResponse:
    options = (("grpc.ssl_target_name_override", "content.moneyprinter.svc"),)
    address = mesh.config.address("content")
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        stub = content_grpc.ContentServiceStub(channel)
        return await stub.WriteScript(WRITE, timeout=5)


async def test_a_peer_without_certificate_is_refused(mesh: Mesh, certificates: Path) -> None:
    await mesh.start("content", None, wire_scripts)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call_with(mesh, grpc.ssl_channel_credentials((certificates / "ca.pem").read_bytes()))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_another_authority_is_refused(mesh: Mesh, certificates: Path, tmp_path: Path) -> None:
    await mesh.start("content", None, wire_scripts)
    authority.issue_certificates(
        tmp_path / "foreign", ["orchestrator"], trust_domain="cluster.local", namespace="moneyprinter"
    )
    leaf = tmp_path / "foreign" / "orchestrator"
    ours = (certificates / "ca.pem").read_bytes()
    foreign = grpc.ssl_channel_credentials(ours, (leaf / "key.pem").read_bytes(), (leaf / "cert.pem").read_bytes())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call_with(mesh, foreign)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_tls_1_2_is_refused_at_the_handshake(mesh: Mesh, certificates: Path) -> None:
    runtime = await mesh.start("content", None, wire_scripts)
    leaf = certificates / "orchestrator"
    for version, answered in ((ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, False)):
        context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        context.load_cert_chain(leaf / "cert.pem", leaf / "key.pem")
        context.set_alpn_protocols(["h2"])
        context.minimum_version = context.maximum_version = version
        connect = asyncio.open_connection(
            "127.0.0.1", runtime.port, ssl=context, server_hostname="content.moneyprinter.svc"
        )
        if answered:
            _, writer = await connect
            assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
            writer.close()
        else:
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                await connect


async def test_a_user_is_identified_by_the_token(mesh: Mesh) -> None:
    await mesh.start("orchestrator", None, wire_videos)
    stub = mesh.stub(video_grpc.VideoServiceStub, caller="gateway")
    request = video_pb.GetVideoStatusRequest(job_id="vid_1")
    answer = await stub.GetVideoStatus(request, metadata=mesh.bearer("user_7"))
    assert answer.job_id == "user_7"


@pytest.mark.parametrize(
    ("authorization", "error", "reason"),
    [
        (None, errors.Unauthenticated, "TOKEN_INVALID"),
        ("Bearer x.y.z", errors.Unauthenticated, "TOKEN_INVALID"),
        ("Basic dXNlcjpwYXNz", errors.Unauthenticated, "TOKEN_INVALID"),
        ({"exp": 1}, errors.Unauthenticated, "TOKEN_INVALID"),
        ({"iss": "somebody else"}, errors.Unauthenticated, "TOKEN_INVALID"),
        ({"aud": "something else"}, errors.Unauthenticated, "TOKEN_INVALID"),
        ({"roles": ["content.manage"]}, errors.PermissionDenied, "ROLE_MISSING"),
        ({"roles": "video.process"}, errors.PermissionDenied, "ROLE_MISSING"),
    ],
)
async def test_a_call_without_a_valid_token_is_refused(
    mesh: Mesh, authorization: Any, error: type[errors.Error], reason: str
) -> None:
    await mesh.start("orchestrator", None, wire_videos)
    if isinstance(authorization, dict):
        authorization = f"Bearer {mesh.token(**authorization)}"
    metadata = (("authorization", authorization),) if authorization else ()
    stub = mesh.stub(video_grpc.VideoServiceStub, caller="gateway")
    with pytest.raises(error) as refused:
        await stub.GetVideoStatus(video_pb.GetVideoStatusRequest(job_id="vid_1"), metadata=metadata)
    assert refused.value.reason == reason


async def test_a_request_that_breaks_its_contract_names_its_fields(mesh: Mesh) -> None:
    await mesh.start("content", None, wire_scripts)
    with pytest.raises(errors.InvalidArgument) as refused:
        await mesh.stub(content_grpc.ContentServiceStub).WriteScript(content_pb.WriteScriptRequest(title=""))
    assert refused.value.reason == "REQUEST_INVALID"
    assert [v.field for v in refused.value.violations] == ["title"]


def written(fields: dict[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict(fields, struct_pb2.Struct())


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (content_pb.WriteScriptRequest(title="a\0b"), "title"),
        (video_pb.CreateVideoRequest(title="x", clips=[video_pb.Clip(url="x\0")]), "clips[0].url"),
        (video_pb.CreateVideoRequest(title="x", settings=video_pb.Settings(renditions=["480p\0"])), "renditions[0]"),
        (video_pb.ReviseVideoRequest(job_id="vid_1", changes=written({"x": {"a\0": "b"}})), "fields"),
        (video_pb.ReviseVideoRequest(job_id="vid_1", changes=written({"x": ["b\0"]})), "string_value"),
    ],
)
def test_no_text_holds_a_nul(request_: Any, field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        check_message(request_)
    assert [violation.field for violation in refused.value.violations if field in violation.field]


def test_bytes_may_hold_a_nul() -> None:
    check_message(video_pb.UploadAssetRequest(filename="a", data=httpbody_pb2.HttpBody(data=b"\0")))


async def test_a_cached_key_is_valid_while_the_user_service_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    away = False
    public = {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "one"}
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key()
    public |= jwt.algorithms.ECAlgorithm.to_jwk(numbers, as_dict=True)

    async def fetch() -> dict[str, Any]:
        if away:
            raise errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
        return {"keys": [public]}

    keys = TokenKeys(fetch)
    assert await keys.find("one") is not None
    away = True
    later = time.monotonic() + 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert await keys.find("one") is not None
    with pytest.raises(errors.Unavailable):
        await keys.find("two")

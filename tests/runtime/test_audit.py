"""Audit events of calls: actor, action, target, address and result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from moneyprinter import contract, errors
from moneyprinter.access.v1 import access_pb2
from moneyprinter.config.v1 import config_service_pb2 as config_pb
from moneyprinter.config.v1 import config_service_pb2_grpc as config_grpc
from moneyprinter.content.v1 import content_service_pb2 as content_pb
from moneyprinter.content.v1 import content_service_pb2_grpc as content_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.config.config import Config as SecretsConfig
from services.embedded import authority
from services.storage.config import Config as StorageConfig
from tests.mesh import Mesh
from tests.runtime.auditing import Trail, Videos, content, event_fields, wiring

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACED = ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")
SPIFFE = "spiffe://cluster.local/ns/moneyprinter/sa/"


async def test_the_event_of_a_users_call_has_actor_target_and_address(mesh: Mesh, trail: Trail, videos: Any) -> None:
    token = mesh.token("user_7", sid="ses_1")
    metadata = (
        ("authorization", f"Bearer {token}"),
        ("x-client-address", "203.0.113.9"),
        ("x-forwarded-for", "6.6.6.6"),
        TRACED,
    )
    request = video_pb.CreateVideoRequest(title="A secret title", clips=[video_pb.Clip(asset_id="ast_1")])
    await videos.CreateVideo(request, metadata=metadata)
    [event] = await trail.wait_events("job.create")
    known = {"actor": "user_7", "credential": "ses_1", "peer": "gateway", "address": "203.0.113.9", "trace_id": TRACE}
    assert event_fields(event) == {**known, "target": "vid_1", "result": "OK"}
    assert event.method == "/moneyprinter.video.v1.VideoService/CreateVideo"
    assert trail.senders == {"orchestrator"}
    assert b"A secret title" not in event.SerializeToString()
    assert token.encode() not in event.SerializeToString()


async def test_only_the_gateway_can_set_the_client_address(mesh: Mesh, trail: Trail) -> None:
    stub = await content(mesh)
    liar: Any = mesh.stub(content_grpc.ContentServiceStub, caller="rendering")
    with pytest.raises(errors.PermissionDenied):
        await liar.WriteScript(
            content_pb.WriteScriptRequest(title="A walk"), metadata=(("x-client-address", "203.0.113.9"), TRACED)
        )
    # What is allowed, and has no name in the trail, is not told.
    await stub.WriteScript(content_pb.WriteScriptRequest(title="A walk"))
    [event] = await trail.wait_events("call")
    assert event_fields(event) == {
        "actor": f"{SPIFFE}rendering",
        "peer": "rendering",
        "result": "CALLER_NOT_ALLOWED",
        "address": "127.0.0.1",
        "trace_id": TRACE,
    }
    assert event.method == "/moneyprinter.content.v1.ContentService/WriteScript"


async def test_a_certificate_without_a_workload_is_refused_and_recorded(
    mesh: Mesh, trail: Trail, certificates: Path, tmp_path: Path
) -> None:
    await content(mesh)
    # The mesh's own authority, and another namespace's identity.
    folder = tmp_path / "other"
    folder.mkdir()
    for name in ("ca.pem", "ca.key"):
        (folder / name).write_bytes((certificates / name).read_bytes())
    authority.issue_certificates(folder, ["audio"], trust_domain="cluster.local", namespace="elsewhere")
    leaf = folder / "audio"
    credentials = grpc.ssl_channel_credentials(
        (certificates / "ca.pem").read_bytes(), (leaf / "key.pem").read_bytes(), (leaf / "cert.pem").read_bytes()
    )
    options = (("grpc.ssl_target_name_override", "content.moneyprinter.svc"),)
    async with grpc.aio.secure_channel(mesh.config.address("content"), credentials, options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await content_grpc.ContentServiceStub(channel).WriteScript(content_pb.WriteScriptRequest(title="x"))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    [event] = await trail.wait_events("call")
    assert (event.actor, event.peer, event.result, event.address) == (
        "spiffe://cluster.local/ns/elsewhere/sa/audio", "", "PEER_UNIDENTIFIED", "127.0.0.1"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bearer", "known"),
    [
        (None, {"result": "TOKEN_INVALID"}),
        ({"exp": 1}, {"result": "TOKEN_INVALID"}),
        ({"roles": ["content.manage"], "user": "user_7"}, {"result": "ROLE_MISSING", "actor": "user_7"}),
        ({"roles": [], "user": "user_7", "sid": "key_1"}, {
            "result": "ROLE_MISSING", "actor": "user_7", "credential": "key_1",
        }),
    ],
)  # fmt: skip
async def test_a_refused_user_is_recorded(
    mesh: Mesh, trail: Trail, videos: Any, bearer: dict[str, Any] | None, known: dict[str, str]
) -> None:
    metadata = (TRACED,) if bearer is None else (("authorization", f"Bearer {mesh.token(**bearer)}"), TRACED)
    with pytest.raises(errors.Error):
        await videos.GetVideo(video_pb.GetVideoRequest(job_id="vid_1"), metadata=metadata)
    [event] = await trail.wait_events("job.read")
    assert event_fields(event) == {"peer": "gateway", "trace_id": TRACE, **known}


@pytest.mark.parametrize(
    ("job", "result", "target"),
    [
        ("vid_1", "OK", "vid_1"),
        ("vid_2", "VIDEO_NOT_FOUND", "vid_2"),
        # A name that no job has may be anything, for example a password in the wrong field.
        ("hunter2!", "VIDEO_NOT_FOUND", ""),
        ("", "REQUEST_INVALID", ""),
        ("x" * 65, "REQUEST_INVALID", ""),
    ],
)
async def test_a_target_is_an_id_or_empty(
    mesh: Mesh, trail: Trail, videos: Any, job: str, result: str, target: str
) -> None:
    try:
        await videos.GetVideo(video_pb.GetVideoRequest(job_id=job), metadata=mesh.bearer())
    except errors.Error as failure:
        assert failure.reason == result
    [event] = await trail.wait_events("job.read")
    assert (event.result, event.target) == (result, target)


async def test_a_stream_is_recorded_once(mesh: Mesh, trail: Trail, videos: Any) -> None:
    async for _ in videos.WatchVideo(video_pb.WatchVideoRequest(job_id="vid_1"), metadata=mesh.bearer()):
        pass

    async def parts() -> AsyncIterator[video_pb.UploadAssetRequest]:
        for _ in range(5):
            yield video_pb.UploadAssetRequest()

    await videos.UploadAsset(parts(), metadata=mesh.bearer())
    [uploaded] = await trail.wait_events("asset.upload")
    [watched] = await trail.wait_events("job.watch")
    assert (watched.target, watched.result, uploaded.target) == ("vid_1", "OK", "ast_1")


async def test_a_call_that_its_caller_cancels_is_recorded(mesh: Mesh, trail: Trail) -> None:
    entered = asyncio.Event()

    class Slow(Videos):
        """Never answers."""

        async def GetVideo(self, request: video_pb.GetVideoRequest, context: Any) -> video_pb.GetVideoResponse:
            entered.set()
            await asyncio.Event().wait()
            raise AssertionError

    await mesh.start("orchestrator", None, wiring(video_grpc.add_VideoServiceServicer_to_server, Slow()))  # type: ignore[abstract]
    stub: Any = mesh.stub(video_grpc.VideoServiceStub, caller="gateway")
    call = asyncio.ensure_future(stub.GetVideo(video_pb.GetVideoRequest(job_id="vid_1"), metadata=mesh.bearer()))
    await entered.wait()
    call.cancel()
    [event] = await trail.wait_events("job.read")
    assert (event.result, event.target) == ("CANCELLED", "vid_1")


async def test_events_of_objects_and_secrets_have_their_names_as_target(
    mesh: Mesh, trail: Trail, tmp_path: Path
) -> None:
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", StorageConfig(root=tmp_path / "objects"))
    objects = mesh.objects("processing")
    await objects.put_bytes("segments/1", b"x" * 3_000_000)
    assert len(await objects.get_bytes("segments/1")) == 3_000_000
    with pytest.raises(errors.NotFound):
        await objects.get_bytes("segments/2")
    [written] = await trail.wait_events("object.write")
    assert event_fields(written) | {"trace_id": ""} == {
        "actor": f"{SPIFFE}processing",
        "peer": "processing",
        "target": "segments/1",
        "result": "OK",
        "address": "127.0.0.1",
        "trace_id": "",
    }
    read = await trail.wait_events("object.read", 2)
    assert [(event.target, event.result) for event in read] == [
        ("segments/1", "OK"), ("segments/2", "OBJECT_NOT_FOUND")
    ]  # fmt: skip

    # The storage service has read, and made, its own.
    stub: Any = mesh.stub(config_grpc.ConfigServiceStub, caller="audio")
    with pytest.raises(errors.PermissionDenied):
        await stub.GetSecret(config_pb.GetSecretRequest(name="storage/master-key"))
    secrets = [(event.actor, event.target, event.result) for event in await trail.wait_events("secret.read", 4)]
    assert secrets[0] == (f"{SPIFFE}storage", "storage/objects-keys", "SECRET_NOT_FOUND")
    assert secrets[-1] == (f"{SPIFFE}audio", "storage/master-key", "CALLER_NOT_ALLOWED")
    [put] = await trail.wait_events("secret.write")
    assert (put.target, put.result) == ("storage/objects-keys", "OK")


def rules() -> list[tuple[str, access_pb2.Rule]]:
    from gateway.contracts import load_methods

    found = [(method.path, contract.rule(method.path)) for method in load_methods()]
    return [(path, rule) for path, rule in found if rule is not None]


def test_every_method_with_a_user_has_an_audit_rule() -> None:
    silent = [path for path, rule in rules() if rule.role and not rule.HasField("audit")]
    # A client asks for it every second or so.
    assert silent == ["/moneyprinter.video.v1.VideoService/GetVideoStatus"]


def test_the_target_path_of_an_audit_rule_is_a_text_field() -> None:
    for path, rule in rules():
        if not rule.audit.target:
            continue
        side, *names = rule.audit.target.split(".")
        described = contract.method(path)
        assert described is not None
        message: Any = {"request": described.input_type, "response": described.output_type}[side]
        for name in names[:-1]:
            message = message.fields_by_name[name].message_type
        assert message.fields_by_name[names[-1]].type == message.fields_by_name[names[-1]].TYPE_STRING, path


def test_actions_recorded_by_a_service_are_in_its_code() -> None:
    for path, rule in rules():
        if rule.audit.by_service:
            service = path.split(".")[1]
            code = "".join(
                file.read_text() for file in (Path(__file__).parents[2] / "services" / service).rglob("*.py")
            )
            # By name, or as the action of the method that records it.
            assert f'"{rule.audit.action}"' in code or "contract.audit_action(" in code, path

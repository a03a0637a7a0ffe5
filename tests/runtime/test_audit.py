"""What the audit trail is told of calls: who, what, to what, from where, and how it ended; and that nobody waits."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
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
from moneyprinter.user.v1 import audit_service_pb2 as pb
from moneyprinter.user.v1 import audit_service_pb2_grpc as pb_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.config.config import Config as SecretsConfig
from services.embedded import authority
from services.runtime import access, channels, server
from services.runtime.config import RuntimeConfig
from services.runtime.server import Runtime
from services.storage.config import Config as StorageConfig
from tests.mesh import Mesh

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACED = ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")
SPIFFE = "spiffe://cluster.local/ns/moneyprinter/sa/"


@dataclass
class Trail(pb_grpc.AuditServiceServicer):
    """Keeps what it is told, unless it is away."""

    events: list[pb.AuditEvent] = field(default_factory=list)
    senders: set[str] = field(default_factory=set)
    away: bool = False
    tries: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def AppendEvents(self, request: pb.AppendEventsRequest, context: Any) -> pb.AppendEventsResponse:
        async with self.changed:
            self.tries += 1
            self.changed.notify_all()
            if self.away:
                raise errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
            self.senders.add(access.caller())
            self.events += request.events
        return pb.AppendEventsResponse()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of it."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(holds)

    async def told(self, action: str, number: int = 1) -> list[pb.AuditEvent]:
        """Wait for so many events of an action."""

        def found() -> list[pb.AuditEvent]:
            return [event for event in self.events if event.action == action]

        await self.until(lambda: len(found()) >= number)
        return found()


class Videos(video_grpc.VideoServiceServicer):
    """Has one video."""

    async def CreateVideo(self, request: video_pb.CreateVideoRequest, context: Any) -> video_pb.CreateVideoResponse:
        return video_pb.CreateVideoResponse(job_id="vid_1")

    async def GetVideo(self, request: video_pb.GetVideoRequest, context: Any) -> video_pb.GetVideoResponse:
        if request.job_id != "vid_1":
            raise errors.NotFound("there is no such video", reason="VIDEO_NOT_FOUND")
        return video_pb.GetVideoResponse()

    async def WatchVideo(
        self, request: video_pb.WatchVideoRequest, context: Any
    ) -> AsyncIterator[video_pb.WatchVideoResponse]:
        for _ in range(3):
            yield video_pb.WatchVideoResponse()

    async def UploadAsset(
        self, requests: AsyncIterator[video_pb.UploadAssetRequest], context: Any
    ) -> video_pb.UploadAssetResponse:
        async for _ in requests:
            pass
        return video_pb.UploadAssetResponse(asset_id="ast_1")


class Scripts(content_grpc.ContentServiceServicer):
    """Answers, which nobody need know of."""

    async def WriteScript(self, request: content_pb.WriteScriptRequest, context: Any) -> content_pb.WriteScriptResponse:
        return content_pb.WriteScriptResponse(writer="caller")


def wiring(add: Any, servicer: Any) -> Any:
    @asynccontextmanager
    async def wire(_: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.add(add, servicer)
        yield

    return wire


@pytest.fixture
async def trail(mesh: Mesh) -> Trail:
    """A user service that keeps nothing but the trail."""
    kept = Trail()  # type: ignore[abstract]
    await mesh.start("user", None, wiring(pb_grpc.add_AuditServiceServicer_to_server, kept))
    return kept


@pytest.fixture
async def videos(mesh: Mesh, trail: Trail) -> Any:
    """The gateway's stub of videos."""
    await mesh.start("orchestrator", None, wiring(video_grpc.add_VideoServiceServicer_to_server, Videos()))  # type: ignore[abstract]
    return mesh.stub(video_grpc.VideoServiceStub, caller="gateway")


async def content(mesh: Mesh) -> Any:
    await mesh.start("content", None, wiring(content_grpc.add_ContentServiceServicer_to_server, Scripts()))  # type: ignore[abstract]
    return mesh.stub(content_grpc.ContentServiceStub)


def plainly(event: pb.AuditEvent) -> dict[str, Any]:
    """An event without what is another each time."""
    names = ("actor", "credential", "peer", "target", "result", "address", "trace_id")
    return {name: value for name in names if (value := getattr(event, name))}


async def test_a_users_call_says_who_what_and_from_where(mesh: Mesh, trail: Trail, videos: Any) -> None:
    token = mesh.token("user_7", sid="ses_1")
    said = (
        ("authorization", f"Bearer {token}"),
        ("x-client-address", "203.0.113.9"),
        ("x-forwarded-for", "6.6.6.6"),
        TRACED,
    )
    request = video_pb.CreateVideoRequest(title="A secret title", clips=[video_pb.Clip(asset_id="ast_1")])
    await videos.CreateVideo(request, metadata=said)
    [event] = await trail.told("job.create")
    known = {"actor": "user_7", "credential": "ses_1", "peer": "gateway", "address": "203.0.113.9", "trace_id": TRACE}
    assert plainly(event) == {**known, "target": "vid_1", "result": "OK"}
    assert event.method == "/moneyprinter.video.v1.VideoService/CreateVideo"
    assert trail.senders == {"orchestrator"}
    assert b"A secret title" not in event.SerializeToString()
    assert token.encode() not in event.SerializeToString()


async def test_only_the_gateway_is_believed_where_a_call_comes_from(mesh: Mesh, trail: Trail) -> None:
    stub = await content(mesh)
    liar: Any = mesh.stub(content_grpc.ContentServiceStub, caller="rendering")
    with pytest.raises(errors.PermissionDenied):
        await liar.WriteScript(
            content_pb.WriteScriptRequest(title="A walk"), metadata=(("x-client-address", "203.0.113.9"), TRACED)
        )
    # What is allowed, and has no name in the trail, is not told.
    await stub.WriteScript(content_pb.WriteScriptRequest(title="A walk"))
    [event] = await trail.told("call")
    assert plainly(event) == {
        "actor": f"{SPIFFE}rendering",
        "peer": "rendering",
        "result": "CALLER_NOT_ALLOWED",
        "address": "127.0.0.1",
        "trace_id": TRACE,
    }
    assert event.method == "/moneyprinter.content.v1.ContentService/WriteScript"


async def test_a_certificate_of_ours_that_names_no_workload_is_refused_and_told(
    mesh: Mesh, trail: Trail, certificates: Path, tmp_path: Path
) -> None:
    await content(mesh)
    # The mesh's own authority, and another namespace's identity.
    folder = tmp_path / "other"
    folder.mkdir()
    for name in ("ca.pem", "ca.key"):
        (folder / name).write_bytes((certificates / name).read_bytes())
    authority.issue(folder, ["audio"], trust_domain="cluster.local", namespace="elsewhere")
    leaf = folder / "audio"
    credentials = grpc.ssl_channel_credentials(
        (certificates / "ca.pem").read_bytes(), (leaf / "key.pem").read_bytes(), (leaf / "cert.pem").read_bytes()
    )
    options = (("grpc.ssl_target_name_override", "content.moneyprinter.svc"),)
    async with grpc.aio.secure_channel(mesh.config.address("content"), credentials, options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await content_grpc.ContentServiceStub(channel).WriteScript(content_pb.WriteScriptRequest(title="x"))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    [event] = await trail.told("call")
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
async def test_a_user_who_is_refused_is_told_of(
    mesh: Mesh, trail: Trail, videos: Any, bearer: dict[str, Any] | None, known: dict[str, str]
) -> None:
    said = (TRACED,) if bearer is None else (("authorization", f"Bearer {mesh.token(**bearer)}"), TRACED)
    with pytest.raises(errors.Error):
        await videos.GetVideo(video_pb.GetVideoRequest(job_id="vid_1"), metadata=said)
    [event] = await trail.told("job.read")
    assert plainly(event) == {"peer": "gateway", "trace_id": TRACE, **known}


@pytest.mark.parametrize(
    ("job", "result", "target"),
    [
        ("vid_1", "OK", "vid_1"),
        ("vid_2", "VIDEO_NOT_FOUND", "vid_2"),
        # Where nobody has such a name, it may be anything that somebody typed.
        ("hunter2!", "VIDEO_NOT_FOUND", ""),
        ("", "REQUEST_INVALID", ""),
        ("x" * 65, "REQUEST_INVALID", ""),
    ],
)
async def test_a_target_is_an_id_or_nothing(
    mesh: Mesh, trail: Trail, videos: Any, job: str, result: str, target: str
) -> None:
    try:
        await videos.GetVideo(video_pb.GetVideoRequest(job_id=job), metadata=mesh.bearer())
    except errors.Error as failure:
        assert failure.reason == result
    [event] = await trail.told("job.read")
    assert (event.result, event.target) == (result, target)


def no_certificate(context: ssl.SSLContext, foreign: Path) -> None:
    """Nobody."""


def foreign_certificate(context: ssl.SSLContext, foreign: Path) -> None:
    context.load_cert_chain(foreign / "orchestrator" / "cert.pem", foreign / "orchestrator" / "key.pem")


def old_tls(context: ssl.SSLContext, foreign: Path) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


async def refused(port: int, context: ssl.SSLContext | None) -> None:
    """Connect, and wait until the server ends the connection."""
    async with asyncio.timeout(5):
        with suppress(ssl.SSLError, ConnectionError):
            name = "content.moneyprinter.svc" if context else None
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ssl.SSLError, ConnectionError):
                while await reader.read(4096):
                    pass
            writer.close()


@pytest.mark.parametrize("peer", [no_certificate, foreign_certificate, old_tls, None])
async def test_a_peer_that_does_not_get_through_the_handshake_is_told_of(
    mesh: Mesh, trail: Trail, certificates: Path, tmp_path: Path, peer: Any
) -> None:
    stub = await content(mesh)
    await stub.WriteScript(content_pb.WriteScriptRequest(title="A walk"))
    context = None
    if peer:
        authority.issue(tmp_path / "foreign", ["orchestrator"], trust_domain="cluster.local", namespace="moneyprinter")
        context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        context.set_alpn_protocols(["h2"])
        peer(context, tmp_path / "foreign")
    await refused(int(mesh.config.address("content").rpartition(":")[2]), context)
    told = await trail.told("connect")
    assert [plainly(event) for event in told] == [
        {
            "target": "spiffe://cluster.local/ns/moneyprinter/sa/content",
            "result": "PEER_UNIDENTIFIED",
            "address": "127.0.0.1",
        }
    ]


async def test_who_is_known_may_leave(mesh: Mesh, trail: Trail) -> None:
    await content(mesh)
    for caller, allowed in (("orchestrator", True), ("rendering", False)):
        channel = channels.connect(mesh.config, caller, "content", "moneyprinter.content.v1.ContentService")
        with nullcontext() if allowed else pytest.raises(errors.PermissionDenied):
            await content_grpc.ContentServiceStub(channel).WriteScript(content_pb.WriteScriptRequest(title="A walk"))
        await channel.close()
    # Told after the others would have been.
    await refused(int(mesh.config.address("content").rpartition(":")[2]), None)
    await trail.told("connect")
    assert [(event.action, event.result) for event in trail.events] == [
        ("call", "CALLER_NOT_ALLOWED"),
        ("connect", "PEER_UNIDENTIFIED"),
    ]


async def test_a_stream_is_told_once(mesh: Mesh, trail: Trail, videos: Any) -> None:
    async for _ in videos.WatchVideo(video_pb.WatchVideoRequest(job_id="vid_1"), metadata=mesh.bearer()):
        pass

    async def parts() -> AsyncIterator[video_pb.UploadAssetRequest]:
        for _ in range(5):
            yield video_pb.UploadAssetRequest()

    await videos.UploadAsset(parts(), metadata=mesh.bearer())
    [uploaded] = await trail.told("asset.upload")
    [watched] = await trail.told("job.watch")
    assert (watched.target, watched.result, uploaded.target) == ("vid_1", "OK", "ast_1")


async def test_a_call_that_its_caller_leaves_is_told_of(mesh: Mesh, trail: Trail) -> None:
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
    [event] = await trail.told("job.read")
    assert (event.result, event.target) == ("CANCELLED", "vid_1")


async def test_objects_and_secrets_are_told_by_their_names(mesh: Mesh, trail: Trail, tmp_path: Path) -> None:
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", StorageConfig(root=tmp_path / "objects"))
    objects = mesh.objects("processing")
    await objects.put_bytes("segments/1", b"x" * 3_000_000)
    assert len(await objects.get_bytes("segments/1")) == 3_000_000
    with pytest.raises(errors.NotFound):
        await objects.get_bytes("segments/2")
    [written] = await trail.told("object.write")
    assert plainly(written) | {"trace_id": ""} == {
        "actor": f"{SPIFFE}processing",
        "peer": "processing",
        "target": "segments/1",
        "result": "OK",
        "address": "127.0.0.1",
        "trace_id": "",
    }
    read = await trail.told("object.read", 2)
    assert [(event.target, event.result) for event in read] == [
        ("segments/1", "OK"), ("segments/2", "OBJECT_NOT_FOUND")
    ]  # fmt: skip

    # The storage service has read, and made, its own.
    stub: Any = mesh.stub(config_grpc.ConfigServiceStub, caller="audio")
    with pytest.raises(errors.PermissionDenied):
        await stub.GetSecret(config_pb.GetSecretRequest(name="storage/master-key"))
    secrets = [(event.actor, event.target, event.result) for event in await trail.told("secret.read", 2)]
    assert secrets[0] == (f"{SPIFFE}storage", "storage/master-key", "SECRET_NOT_FOUND")
    assert secrets[-1] == (f"{SPIFFE}audio", "storage/master-key", "CALLER_NOT_ALLOWED")
    [put] = await trail.told("secret.write")
    assert (put.target, put.result) == ("storage/master-key", "OK")


async def test_nobody_waits_for_a_trail_that_is_away_and_nothing_is_lost(mesh: Mesh, trail: Trail, videos: Any) -> None:
    trail.away = True
    for _ in range(30):
        await videos.GetVideo(video_pb.GetVideoRequest(job_id="vid_1"), metadata=mesh.bearer())
    await trail.until(lambda: trail.tries >= 2)
    assert not trail.events
    trail.away = False
    assert len({event.event_id for event in await trail.told("job.read", 30)}) == 30


async def test_what_waits_is_told_before_a_service_ends(config: RuntimeConfig) -> None:
    kept = Trail()  # type: ignore[abstract]
    async with Mesh(config) as mesh:
        await mesh.start("user", None, wiring(pb_grpc.add_AuditServiceServicer_to_server, kept))
        async with Mesh(mesh.config) as inner:
            await inner.start("orchestrator", None, wiring(video_grpc.add_VideoServiceServicer_to_server, Videos()))  # type: ignore[abstract]
            stub: Any = inner.stub(video_grpc.VideoServiceStub, caller="gateway")
            for _ in range(7):
                await stub.GetVideo(video_pb.GetVideoRequest(job_id="vid_1"), metadata=inner.bearer())
        assert [event.target for event in kept.events] == ["vid_1"] * 7


@dataclass
class Sent:
    """Takes events that an outbox sends, or fails."""

    failure: Exception | None = None
    events: list[pb.AuditEvent] = field(default_factory=list)

    async def __call__(self, events: Sequence[pb.AuditEvent]) -> None:
        assert len(events) <= access.BATCH
        if self.failure:
            raise self.failure
        self.events += events


async def test_that_events_are_lost_is_told_too(config: RuntimeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MAX_WAITING", 700)
    sent = Sent(errors.Unavailable("away", reason="SERVICE_UNAVAILABLE"))
    outbox = access.Outbox(config, "storage", sent)
    for number in range(1000):
        outbox.tell(outbox.event("object.read", target=f"music/{number}", result="OK"))
    await outbox.drain()
    assert not sent.events
    sent.failure = None
    await outbox.drain()
    # The newest are lost: nobody hides a deed by doing much after it.
    told = [event.target for event in sent.events if event.action == "object.read"]
    assert told == [f"music/{number}" for number in range(700)]
    [lost] = [event for event in sent.events if event.action == "audit.lost"]
    assert (dict(lost.details), lost.actor, lost.result) == ({"events": "300"}, f"{SPIFFE}storage", "LOST")


async def test_whoever_waits_for_an_event_waits_until_it_is_kept_and_never_long(
    config: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "FLUSH_SECONDS", 1000.0)
    monkeypatch.setattr(access, "LONGEST_PAUSE_SECONDS", 1000.0)
    sent = Sent()
    outbox = access.Outbox(config, "user", sent)
    running = asyncio.ensure_future(outbox.run())
    await outbox.keep(outbox.event("sign_in", result="OK"))
    assert len(sent.events) == 1
    # Its caller goes away, or the trail is: the event stays.
    leaving = asyncio.ensure_future(outbox.keep(outbox.event("sign_in", result="OK")))
    await asyncio.sleep(0)
    leaving.cancel()
    sent.failure = errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
    monkeypatch.setattr(access, "KEEP_SECONDS", 0.05)
    async with asyncio.timeout(10):
        await outbox.keep(outbox.event("sign_in", result="OK"))
        await outbox.keep(outbox.event("sign_in", result="OK"))
    sent.failure = None
    await server.cancel(running)
    await outbox.drain()
    assert len({event.event_id for event in sent.events}) == 4


async def test_what_is_never_taken_does_not_keep_the_rest_waiting(config: RuntimeConfig) -> None:
    sent = Sent(errors.InvalidArgument("no", reason="REQUEST_INVALID"))
    outbox = access.Outbox(config, "storage", sent)
    outbox.tell(outbox.event("object.read", result="OK"))
    await outbox.drain()
    sent.failure = None
    outbox.tell(outbox.event("object.write", result="OK"))
    await outbox.drain()
    assert [(event.action, dict(event.details)) for event in sent.events] == [
        ("object.write", {}), ("audit.lost", {"events": "1"})
    ]  # fmt: skip


async def test_whatever_is_in_an_event_keeps_the_rules_of_its_contract(config: RuntimeConfig) -> None:
    sent = Sent()
    outbox = access.Outbox(config, "storage", sent)
    event = outbox.event(
        "object.read",
        target="x\0\n\u202e" + "y" * 300,
        result="not a reason",
        address="fe80::1%eth0",
        method="/\ud800",
        details={"note": "\0"},
    )
    assert (event.target[:5], len(event.target)) == ("x???y", access.MAX_TEXT)
    assert (event.result, event.address, event.details["note"]) == ("UNKNOWN", "fe80::1", "?")


def rules() -> list[tuple[str, access_pb2.Rule]]:
    from gateway.contracts import methods

    found = [(method.path, contract.rule(method.path)) for method in methods()]
    return [(path, rule) for path, rule in found if rule is not None]


def test_every_method_that_is_called_for_a_user_says_what_it_is_in_the_trail() -> None:
    silent = [path for path, rule in rules() if rule.role and not rule.HasField("audit")]
    assert not silent


def test_a_target_is_a_field_of_text_that_is_there() -> None:
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


def test_what_a_service_tells_itself_is_told_in_its_code() -> None:
    for path, rule in rules():
        if rule.audit.by_service:
            service = path.split(".")[1]
            code = "".join(file.read_text() for file in (Path(__file__).parents[2] / "services" / service).glob("*.py"))
            assert f'"{rule.audit.action}"' in code, path

"""Streams: long-lasting calls end with their token, session, API key, account or role; those of others continue."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.api import httpbody_pb2

from gateway.contracts import load_methods
from moneyprinter import contract, errors
from moneyprinter.client import Client
from moneyprinter.user.v1 import account_service_pb2 as own
from moneyprinter.user.v1 import administration_service_pb2 as admin
from moneyprinter.user.v1 import authority_service_pb2 as authority_pb
from moneyprinter.user.v1 import authority_service_pb2_grpc as authority_grpc
from moneyprinter.user.v1 import user_service_pb2 as pb
from moneyprinter.video.v1 import event_service_pb2 as event_pb
from moneyprinter.video.v1 import event_service_pb2_grpc as event_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.runtime import revocation
from services.runtime.config import RuntimeConfig
from services.runtime.server import Runtime
from tests.databases import Databases
from tests.user.conftest import claims
from tests.user.instances import Metadata, Users, bearer, run_user_service
from tests.user.test_gateway import run_front
from tests.user.test_service import NEW, register

# A call ends within 5 seconds; the rest allows for a busy machine.
ENDS_SECONDS = 5.0 + 15.0


AUTHORITY_ENDED = "AUTHORITY_ENDED"
FILE = bytes(range(250)) * 4


def is_end(failure: Any) -> bool:
    """Return whether a call ended with its authority.

    A client of grpc.aio that sends while the server ends the call sometimes gets the end without the reason.
    """
    if isinstance(failure, errors.Internal):
        return "Internal error from Core" in failure.message
    return isinstance(failure, errors.Unauthenticated) and failure.reason == AUTHORITY_ENDED


class Endless(video_grpc.VideoServiceServicer, event_grpc.EventServiceServicer):
    """A service whose calls do not end by themselves."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        """The offsets at which downloads of a file began that takes 5 seconds."""
        self.left = asyncio.Event()
        """Set when the server has ended the call of a client that does not read."""

    @asynccontextmanager
    async def wire(self, _: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.add(video_grpc.add_VideoServiceServicer_to_server, self)
        runtime.add(event_grpc.add_EventServiceServicer_to_server, self)
        yield

    async def WatchVideo(
        self, request: video_pb.WatchVideoRequest, context: Any
    ) -> AsyncIterator[video_pb.WatchVideoResponse]:
        while True:
            yield video_pb.WatchVideoResponse()
            await asyncio.sleep(0.05)

    async def WatchEvents(
        self, request: event_pb.WatchEventsRequest, context: Any
    ) -> AsyncIterator[event_pb.WatchEventsResponse]:
        await context.send_initial_metadata(())
        after = request.after or dict(context.invocation_metadata()).get("last-event-id", "")
        yield event_pb.WatchEventsResponse(event_type="one", position=f"{after}1")
        await asyncio.Event().wait()

    async def DownloadVideo(
        self, request: video_pb.DownloadVideoRequest, context: Any
    ) -> AsyncIterator[video_pb.DownloadVideoResponse]:
        if request.job_id == "vid_file":
            metadata = dict(context.invocation_metadata())
            offset = int(metadata.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            self.offsets.append(offset)
            digest = hashlib.sha256(FILE).hexdigest()
            await context.send_initial_metadata((("x-content-length", str(len(FILE))), ("x-content-sha256", digest)))
            for start in range(offset, len(FILE), 100):
                yield video_pb.DownloadVideoResponse(data=httpbody_pb2.HttpBody(data=FILE[start : start + 100]))
                await asyncio.sleep(0.5)
            return
        try:
            while True:
                yield video_pb.DownloadVideoResponse(data=httpbody_pb2.HttpBody(data=bytes(100_000)))
        finally:
            self.left.set()

    async def UploadAsset(
        self, requests: AsyncIterator[video_pb.UploadAssetRequest], context: Any
    ) -> video_pb.UploadAssetResponse:
        async for _ in requests:
            pass
        return video_pb.UploadAssetResponse()


@dataclass
class Scene:
    """A user service, and a service with long-lasting calls."""

    users: Users
    endless: Endless

    def __post_init__(self) -> None:
        self.videos: Any = self.users.mesh.stub(video_grpc.VideoServiceStub, caller="gateway")
        self.events: Any = self.users.mesh.stub(event_grpc.EventServiceStub, caller="gateway")


@asynccontextmanager
async def run_scene(config: RuntimeConfig, postgres: Databases, folder: Path, **settings: Any) -> AsyncIterator[Scene]:
    endless = Endless()  # type: ignore[abstract]
    async with run_user_service(config, postgres, folder, **settings) as users:
        await users.mesh.start("orchestrator", None, endless.wire)
        yield Scene(users, endless)


@pytest.fixture
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check credentials more often than every second, which the other tests wait for."""
    monkeypatch.setattr(revocation, "CHECK_SECONDS", 0.1)


@pytest.fixture
async def scene(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> AsyncIterator[Scene]:
    async with run_scene(config, postgres, tmp_path) as scene:
        yield scene


class OpenCalls:
    """Running calls of one user, one of each kind."""

    def __init__(self, scene: Scene, metadata: Metadata, *, downloads: bool = True) -> None:
        self._scene = scene
        self._downloads = downloads
        self._metadata = metadata
        self._calls: list[asyncio.Task[Any]] = []

    async def begin(self) -> OpenCalls:
        videos, events, metadata = self._scene.videos, self._scene.events, self._metadata
        started: list[asyncio.Event] = []

        async def read(call: Any, started: asyncio.Event, stop: asyncio.Event | None = None) -> None:
            async for _ in call:
                started.set()
                if stop is not None:
                    await stop.wait()

        async def requests(started: asyncio.Event, pause: float) -> AsyncIterator[video_pb.UploadAssetRequest]:
            while True:
                yield video_pb.UploadAssetRequest(data=httpbody_pb2.HttpBody(data=b"x"))
                started.set()
                await asyncio.sleep(pause)

        def task(make: Callable[[asyncio.Event], Awaitable[Any]]) -> None:
            started.append(asyncio.Event())
            self._calls.append(asyncio.ensure_future(make(started[-1])))

        task(lambda on: read(videos.WatchVideo(video_pb.WatchVideoRequest(job_id="vid_1"), metadata=metadata), on))
        task(lambda on: read(events.WatchEvents(event_pb.WatchEventsRequest(), metadata=metadata), on))
        # A client that stops reading, so that the server's write blocks. The end arrives behind the data sent before.
        download = video_pb.DownloadVideoRequest(job_id="vid_1")
        left = self._scene.endless.left
        if self._downloads:
            task(lambda on: read(videos.DownloadVideo(download, metadata=metadata), on, left))
        task(lambda on: videos.UploadAsset(requests(on, 0.05), metadata=metadata))
        task(lambda on: videos.UploadAsset(requests(on, 3600), metadata=metadata))
        async with asyncio.timeout(30):
            for each in started:
                await each.wait()
        return self

    async def wait_ended(self) -> list[str]:
        """Wait until all calls have ended, and return their reasons."""
        async with asyncio.timeout(ENDS_SECONDS):
            found = await asyncio.gather(*self._calls, return_exceptions=True)
        return [AUTHORITY_ENDED if is_end(one) else repr(one) for one in found]

    def are_running(self) -> bool:
        return not any(call.done() for call in self._calls)

    async def cancel(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)


@dataclass
class Target:
    """A user whose authority ends, with the tokens of a session and of an API key."""

    account_id: str
    session: pb.SignInResponse
    key: own.CreateApiKeyResponse

    @property
    def person(self) -> Metadata:
        return bearer(self.session.access_token)

    @property
    def session_id(self) -> str:
        return str(claims(self.session.access_token)["sid"])


async def sign_out(users: Users, target: Target) -> None:
    await users.stub.SignOut(pb.SignOutRequest(refresh_token=target.session.refresh_token))


async def end_session(users: Users, target: Target) -> None:
    other = await users.sign_in("ada", NEW)
    request = own.EndSessionRequest(session_id=target.session_id)
    await users.own.EndSession(request, metadata=bearer(other.access_token))


async def end_sessions(users: Users, target: Target) -> None:
    await users.own.EndSessions(own.EndSessionsRequest(), metadata=target.person)


async def replay(users: Users, target: Target) -> None:
    request = pb.RefreshTokenRequest(refresh_token=target.session.refresh_token)
    second = await users.stub.RefreshToken(request)
    await users.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=second.refresh_token))
    with pytest.raises(errors.Unauthenticated):
        await users.stub.RefreshToken(request)


async def change_password(users: Users, target: Target) -> None:
    other = await users.sign_in("ada", NEW)
    request = own.ChangePasswordRequest(old_password=NEW, new_password=NEW + "!")
    await users.own.ChangePassword(request, metadata=bearer(other.access_token))


async def reset_password(users: Users, target: Target) -> None:
    request = admin.ResetPasswordRequest(account_id=target.account_id)
    await users.admin.ResetPassword(request, metadata=await users.bearer())


async def end_by_administrator(users: Users, target: Target) -> None:
    request = admin.EndAccountSessionsRequest(account_id=target.account_id, revoke_api_keys=True)
    await users.admin.EndAccountSessions(request, metadata=await users.bearer())


async def disable(users: Users, target: Target) -> None:
    request = admin.DisableAccountRequest(account_id=target.account_id)
    await users.admin.DisableAccount(request, metadata=await users.bearer())


async def close(users: Users, target: Target) -> None:
    await users.own.CloseAccount(own.CloseAccountRequest(password=NEW), metadata=target.person)


async def take_role(users: Users, target: Target) -> None:
    request = admin.SetRolesRequest(account_id=target.account_id, roles=["content.manage"])
    await users.admin.SetRoles(request, metadata=await users.bearer())


async def revoke(users: Users, target: Target) -> None:
    await users.own.RevokeApiKey(own.RevokeApiKeyRequest(key_id=target.key.key.key_id), metadata=target.person)


SESSION_ENDS = [
    *(sign_out, end_session, end_sessions, replay, change_password, reset_password),
    *(end_by_administrator, disable, close, take_role),
]
KEY_ENDS = [revoke, end_by_administrator, disable, close, take_role]


async def ada(users: Users, name: str = "ada") -> Target:
    account_id = await register(users, name, "video.process")
    session = await users.sign_in(name, NEW)
    request = own.CreateApiKeyRequest(display_name="k", roles=["video.process"])
    key = await users.own.CreateApiKey(request, metadata=bearer(session.access_token))
    return Target(account_id, session, key)


@pytest.mark.parametrize(
    ("by_key", "end"),
    [*((False, end) for end in SESSION_ENDS), *((True, end) for end in KEY_ENDS)],
    ids=[*(end.__name__ for end in SESSION_ENDS), *(f"key_{end.__name__}" for end in KEY_ENDS)],
)
@pytest.mark.usefixtures("frequent_checks")
async def test_calls_end_with_their_authority_and_those_of_others_continue(
    scene: Scene, by_key: bool, end: Callable[[Users, Target], Awaitable[None]]
) -> None:
    users = scene.users
    target = await ada(users)
    token = target.session.access_token
    if by_key:
        exchange = pb.ExchangeApiKeyRequest(api_key=target.key.api_key)
        token = (await users.stub.ExchangeApiKey(exchange)).access_token
    others = await OpenCalls(scene, await users.bearer(), downloads=False).begin()
    theirs = await OpenCalls(scene, bearer(token)).begin()
    await end(users, target)
    assert await theirs.wait_ended() == [AUTHORITY_ENDED] * 5
    assert others.are_running()
    # A new call with an earlier token is refused, or ends as well.
    late = scene.events.WatchEvents(event_pb.WatchEventsRequest(), metadata=bearer(token))
    async with asyncio.timeout(ENDS_SECONDS):
        with pytest.raises((errors.Unauthenticated, errors.PermissionDenied)):
            async for _ in late:
                pass
    await others.cancel()


async def test_calls_end_with_their_token(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> None:
    async with run_scene(config, postgres, tmp_path, token_lifetime=6) as scene:
        theirs = await OpenCalls(scene, await scene.users.bearer()).begin()
        assert await theirs.wait_ended() == [AUTHORITY_ENDED] * 5


async def test_losing_a_role_that_a_call_does_not_need_does_not_end_it(scene: Scene) -> None:
    users = scene.users
    account_id = await register(users, "ada", "video.process", "content.manage")
    token = (await users.sign_in("ada", NEW)).access_token
    theirs = await OpenCalls(scene, bearer(token), downloads=False).begin()
    request = admin.SetRolesRequest(account_id=account_id, roles=["video.process"])
    await users.admin.SetRoles(request, metadata=await users.bearer())
    # When another call without authority has ended, several checks of this one have passed.
    target = await users.sign_in("admin")
    gone = await OpenCalls(scene, bearer(target.access_token)).begin()
    await users.stub.SignOut(pb.SignOutRequest(refresh_token=target.refresh_token))
    await gone.wait_ended()
    assert theirs.are_running()
    await theirs.cancel()


async def test_only_services_with_streaming_calls_may_check_credentials(scene: Scene) -> None:
    path = "/moneyprinter.user.v1.AuthorityService/CheckCredentials"
    assert contract.serves("user", path)
    rule = contract.rule(path)
    assert rule is not None
    lasting = {
        each.service for each in load_methods() if each.role and (each.client_streaming or each.server_streaming)
    }
    assert set(rule.callers) == lasting
    users = scene.users
    target = await ada(users)
    stub: Any = users.mesh.stub(authority_grpc.AuthorityServiceStub, caller="orchestrator")
    valid = [(target.account_id, target.session_id), (target.account_id, target.key.key.key_id)]
    wrong = [("user_x", target.session_id), (target.account_id, "ses_x"), (target.account_id, ""), ("", "key_x")]
    found = await stub.CheckCredentials(
        authority_pb.CheckCredentialsRequest(
            credentials=[authority_pb.Credential(account_id=a, credential_id=c) for a, c in (*valid, *wrong)]
        )
    )
    assert [(state.valid, list(state.roles)) for state in found.states] == [
        *[(True, ["video.process"])] * 2,
        *[(False, [])] * 4,
    ]


async def test_server_sent_events_end_with_the_session_and_resume_with_another_token(
    config: RuntimeConfig, postgres: Databases, tmp_path: Path
) -> None:
    endless = Endless()  # type: ignore[abstract]
    async with run_front(config, postgres, tmp_path, wire=endless.wire) as front:
        signed_in = await front.users.sign_in()
        headers = {"authorization": f"Bearer {signed_in.access_token}"}
        async with asyncio.timeout(ENDS_SECONDS), front.http.stream("GET", "/v1/events", headers=headers) as events:
            lines = events.aiter_lines()
            assert "id: 1" in [await anext(lines) for _ in range(2)]
            await front.do("POST", "/v1/auth/sign-out", refresh_token=signed_in.refresh_token)
            assert [line for line in [line async for line in lines] if line.startswith("id:")] == []
        again = {**await front.sign_in(), "last-event-id": "1"}
        async with asyncio.timeout(ENDS_SECONDS), front.http.stream("GET", "/v1/events", headers=again) as events:
            lines = events.aiter_lines()
            assert "id: 11" in [await anext(lines) for _ in range(2)]


async def test_the_client_continues_with_a_new_token_when_one_expires(
    config: RuntimeConfig, postgres: Databases, tmp_path: Path
) -> None:
    """Each stream sends one event, and lasts as long as its token."""
    endless = Endless()  # type: ignore[abstract]
    async with (
        run_front(config, postgres, tmp_path, wire=endless.wire, token_lifetime=3) as front,
        Client(front.proxy.address) as client,
    ):
        await client.sign_in("admin", front.users.password)
        seen: list[str] = []
        async with asyncio.timeout(60):
            async for event in client.events():
                seen.append(event.position)
                if len(seen) == 3:
                    break
        assert seen == ["1", "11", "111"]
        downloaded = tmp_path / "video.mp4"
        assert await client.download("vid_file", downloaded) == len(FILE)
        assert downloaded.read_bytes() == FILE
        # One download from the beginning, and at least one that resumes.
        assert endless.offsets[0] == 0
        assert len(endless.offsets) >= 2
        assert endless.offsets[-1] > 0

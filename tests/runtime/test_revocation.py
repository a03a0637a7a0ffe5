"""Streams end when their credential is revoked; one check of the user service covers all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.user.v1 import authority_service_pb2 as pb
from moneyprinter.user.v1 import authority_service_pb2_grpc as pb_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.runtime import revocation
from tests.mesh import Mesh
from tests.runtime.auditing import wiring

WATCH = video_pb.WatchVideoRequest(job_id="vid_1")


@dataclass
class FakeUserService(pb_grpc.AuthorityServiceServicer):
    """A user service with configured answers."""

    roles: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    away: bool = False
    asked: list[list[tuple[str, str]]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def CheckCredentials(self, request: pb.CheckCredentialsRequest, context: Any) -> pb.CheckCredentialsResponse:
        credentials = [(each.account_id, each.credential_id) for each in request.credentials]
        async with self.changed:
            self.asked.append(credentials)
            self.changed.notify_all()
        if self.away:
            raise errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
        found = [self.roles.get(each) for each in credentials]
        states = [pb.CredentialState(valid=roles is not None, roles=roles or ()) for roles in found]
        return pb.CheckCredentialsResponse(states=states)

    async def checks(self, number: int) -> None:
        """Wait for so many further checks."""
        until = len(self.asked) + number
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: len(self.asked) >= until)


class Silent(video_grpc.VideoServiceServicer):
    """Sends one message and then nothing."""

    async def WatchVideo(
        self, request: video_pb.WatchVideoRequest, context: Any
    ) -> AsyncIterator[video_pb.WatchVideoResponse]:
        yield video_pb.WatchVideoResponse()
        await asyncio.Event().wait()


@pytest.fixture
async def user_service(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> FakeUserService:
    monkeypatch.setattr(revocation, "CHECK_SECONDS", 0.1)
    kept = FakeUserService()  # type: ignore[abstract]
    await mesh.start("user", None, wiring(pb_grpc.add_AuthorityServiceServicer_to_server, kept))
    await mesh.start("orchestrator", None, wiring(video_grpc.add_VideoServiceServicer_to_server, Silent()))  # type: ignore[abstract]
    return kept


async def watch(mesh: Mesh, user: str, **claims: Any) -> asyncio.Task[str]:
    """Watch as a user; when it has begun, returns the reason why it ends."""
    stub: Any = mesh.stub(video_grpc.VideoServiceStub, caller="gateway")
    token = mesh.token(user, sid=f"ses_{user}", **claims)
    call = stub.WatchVideo(WATCH, metadata=(("authorization", f"Bearer {token}"),))
    await anext(aiter(call))

    async def end() -> str:
        with pytest.raises(errors.Unauthenticated) as ended:
            await anext(aiter(call))
        return ended.value.reason

    return asyncio.ensure_future(end())


async def ended(call: asyncio.Task[str]) -> str:
    async with asyncio.timeout(30):
        return await call


async def leave(*calls: asyncio.Task[str]) -> None:
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_one_check_covers_the_streams_of_all_users(mesh: Mesh, user_service: FakeUserService) -> None:
    for user in "abc":
        user_service.roles[user, f"ses_{user}"] = ["video.process"]
    calls = [await watch(mesh, user) for user in "abc" * 5]
    await user_service.checks(3)
    assert user_service.asked[-1] == [(user, f"ses_{user}") for user in "abc"]
    del user_service.roles["b", "ses_b"]
    user_service.roles["c", "ses_c"] = ["audio.generate"]
    for number, call in enumerate(calls):
        if number % 3:
            assert await ended(call) == "AUTHORITY_ENDED"
    await user_service.checks(2)
    assert user_service.asked[-1] == [("a", "ses_a")]
    assert not any(call.done() for call in calls[::3])
    await leave(*calls)


async def test_streams_continue_until_their_tokens_expire_while_the_user_service_is_unreachable(
    mesh: Mesh, user_service: FakeUserService
) -> None:
    user_service.away = True
    lasting = await watch(mesh, "a")
    short = await watch(mesh, "b", exp=int(time.time()) + 3)
    await user_service.checks(3)
    assert await ended(short) == "AUTHORITY_ENDED"
    assert not lasting.done()
    # Back, and with nothing to say for it.
    user_service.away = False
    assert await ended(lasting) == "AUTHORITY_ENDED"


async def test_no_check_runs_without_streams(mesh: Mesh, user_service: FakeUserService) -> None:
    user_service.roles["a", "ses_a"] = ["video.process"]
    call = await watch(mesh, "a")
    await user_service.checks(2)
    del user_service.roles["a", "ses_a"]
    await ended(call)
    before = len(user_service.asked)
    user_service.roles["b", "ses_b"] = ["video.process"]
    call = await watch(mesh, "b")
    await user_service.checks(2)
    assert all(asked == [("b", "ses_b")] for asked in user_service.asked[before:])
    await leave(call)

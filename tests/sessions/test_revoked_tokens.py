"""Access tokens stop working within a second of a sign-out or a revocation: with Redis, without, and while it dies."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.user.v1 import administration_service_pb2 as admin
from moneyprinter.user.v1 import user_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.runtime import credentials, revocation_feed
from services.runtime.config import RuntimeConfig
from services.runtime.credentials import CredentialGuard
from services.runtime.identity import User
from services.runtime.revocation import Credential
from services.runtime.server import Runtime
from tests.databases import Databases
from tests.sessions.servers import RedisServer
from tests.user.instances import Metadata, Users, bearer, run_user_service
from tests.user.test_service import NEW
from tests.user.test_streams import Target, ada, disable, revoke, sign_out, take_role

# Less than a second by design; the rest allows for a busy machine.
ENDS_SECONDS = 10.0


class Videos(video_grpc.VideoServiceServicer):
    """A service with a short call."""

    async def ListVideos(self, request: video_pb.ListVideosRequest, context: Any) -> video_pb.ListVideosResponse:
        return video_pb.ListVideosResponse()

    @asynccontextmanager
    async def wire(self, _: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.add(video_grpc.add_VideoServiceServicer_to_server, self)
        yield


class Scene:
    """A user service, and a service with short calls."""

    def __init__(self, users: Users) -> None:
        self.users = users
        self.videos: Any = users.mesh.stub(video_grpc.VideoServiceStub, caller="gateway")

    async def call(self, metadata: Metadata) -> str:
        """Call the service. Returns the reason of the error; empty when there is none."""
        try:
            await self.videos.ListVideos(video_pb.ListVideosRequest(), metadata=metadata)
        except errors.Error as failure:
            return failure.reason
        return ""

    async def wait_until_refused(self, metadata: Metadata) -> tuple[str, float]:
        """Call until it is refused. Returns the reason, and the seconds that it took."""
        began = time.monotonic()
        async with asyncio.timeout(ENDS_SECONDS):
            while not (reason := await self.call(metadata)):  # noqa: ASYNC110  time has to pass
                await asyncio.sleep(0.01)
        return reason, time.monotonic() - began


@asynccontextmanager
async def run_scene(config: RuntimeConfig, postgres: Databases, folder: Path) -> AsyncIterator[Scene]:
    async with run_user_service(config, postgres, folder) as users:
        await users.mesh.start("orchestrator", None, Videos().wire)  # type: ignore[abstract]
        yield Scene(users)


End = Callable[[Users, Target], Awaitable[None]]


async def end_each(scene: Scene, endings: dict[End, str], *, by_key: End | None = None) -> None:
    """End the authority of one user in each way, and check that calls are refused, and those of others are not."""
    others = await scene.users.bearer()
    for number, (end, reason) in enumerate(endings.items()):
        target = await ada(scene.users, f"ada{number}")
        token = target.session.access_token
        if end is by_key:
            exchange = pb.ExchangeApiKeyRequest(api_key=target.key.api_key)
            token = (await scene.users.stub.ExchangeApiKey(exchange)).access_token
        assert await scene.call(bearer(token)) == ""
        await end(scene.users, target)
        found, seconds = await scene.wait_until_refused(bearer(token))
        assert found == reason, end.__name__
        assert seconds < ENDS_SECONDS
        assert await scene.call(bearer(token)) == reason
        assert await scene.call(others) == ""


def test_the_delays_sum_up_to_less_than_a_second() -> None:
    feed = (revocation_feed.PUBLISH_SECONDS, revocation_feed.CURRENT_SECONDS, revocation_feed.REFRESH_SECONDS)
    assert sum(feed) < 1.0
    assert credentials.CACHE_SECONDS + credentials.CHECK_SECONDS <= 1.0


async def test_tokens_end_without_redis(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> None:
    async with run_scene(config, postgres, tmp_path) as scene:
        await end_each(scene, {sign_out: "TOKEN_INVALID", take_role: "ROLE_MISSING"})


async def test_tokens_end_with_redis(
    config: RuntimeConfig, postgres: Databases, tmp_path: Path, redis_servers: dict[str, RedisServer]
) -> None:
    async with run_scene(redis_servers["embedded"].configure(config), postgres, tmp_path) as scene:
        endings: dict[End, str] = {disable: "TOKEN_INVALID", revoke: "TOKEN_INVALID", take_role: "ROLE_MISSING"}
        await end_each(scene, endings, by_key=revoke)

        # An account that is enabled again has a new session, and its former token stays refused.
        target = await ada(scene.users, "bob")
        await disable(scene.users, target)
        await scene.wait_until_refused(target.person)
        enable = admin.EnableAccountRequest(account_id=target.account_id)
        await scene.users.admin.EnableAccount(enable, metadata=await scene.users.bearer())
        again = bearer((await scene.users.sign_in("bob", NEW)).access_token)
        assert (await scene.call(again), await scene.call(target.person)) == ("", "TOKEN_INVALID")


async def test_sessions_begin_and_end_while_redis_hangs_dies_and_returns(
    config: RuntimeConfig, postgres: Databases, tmp_path: Path, redis_servers: dict[str, RedisServer]
) -> None:
    redis_server = redis_servers["external"]
    async with run_scene(redis_server.configure(config), postgres, tmp_path) as scene:
        lasting = await scene.users.bearer()

        async def begin_and_end() -> Metadata:
            session = await scene.users.sign_in()
            token = bearer(session.access_token)
            assert await scene.call(token) == ""
            await scene.users.stub.SignOut(pb.SignOutRequest(refresh_token=session.refresh_token))
            assert (await scene.wait_until_refused(token))[0] == "TOKEN_INVALID"
            return token

        ended = [await begin_and_end()]
        redis_server.send(signal.SIGSTOP)
        try:
            ended.append(await begin_and_end())
        finally:
            redis_server.send(signal.SIGCONT)
        redis_server.kill()
        try:
            ended.append(await begin_and_end())
        finally:
            await redis_server.start()
        ended.append(await begin_and_end())
        assert [await scene.call(token) for token in ended] == ["TOKEN_INVALID"] * 4
        assert await scene.call(lasting) == ""


class UserService:
    """The checks of a user service that can be away."""

    def __init__(self) -> None:
        self.roles: list[str] | None = ["video.process"]
        self.is_away = False
        self.checks = 0

    async def check(self, asked: Sequence[Credential]) -> dict[Credential, Sequence[str]]:
        self.checks += 1
        if self.is_away:
            raise errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
        return dict.fromkeys(asked, self.roles) if self.roles is not None else {}


async def test_calls_go_on_while_the_user_service_is_away_and_share_checks() -> None:
    """Tokens expire within minutes, so an outage of the user service does not stop the others."""
    service = UserService()
    guard, user = CredentialGuard(service.check), User("user_1", ("video.process",), "ses_1")
    await asyncio.gather(*(guard.require_valid(user, "video.process") for _ in range(50)))
    assert service.checks == 1
    service.is_away = True
    stranger = User("user_2", ("video.process",), "ses_2")
    for _ in range(50):
        await guard.require_valid(stranger, "video.process")
    assert service.checks == 2
    # Checks go on in the background, so that calls are checked again soon after its return.
    service.is_away, service.roles = False, None
    with pytest.raises(errors.Unauthenticated):
        async with asyncio.timeout(10):
            while True:
                await guard.require_valid(stranger, "video.process")
                await asyncio.sleep(0.02)


async def test_calls_do_not_wait_for_a_user_service_that_hangs() -> None:
    async def hang(_: Sequence[Credential]) -> dict[Credential, Sequence[str]]:
        await asyncio.Event().wait()
        return {}

    guard, user = CredentialGuard(hang), User("user_1", ("video.process",), "ses_1")
    await guard.require_valid(user, "video.process")
    began = time.monotonic()
    for _ in range(100):
        await guard.require_valid(user, "video.process")
        await asyncio.sleep(0)
    assert time.monotonic() - began < 100 * credentials.CHECK_SECONDS / 2

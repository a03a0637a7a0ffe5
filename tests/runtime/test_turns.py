"""Turns: the requests of one client wait for each other, and those of others do not wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.runtime import turns
from services.runtime.server import Runtime
from services.runtime.turns import HEAVY, LIGHT, Turns, request_weight
from tests.mesh import Mesh

CREATE = "/moneyprinter.video.v1.VideoService/CreateVideo"
LONG = "word " * 3900


class Scene:
    """Requests that have their turn until a test ends them."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.working: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def begin(self, name: str, weight: int = HEAVY) -> None:
        """Begin a request; the first letter of its name is its client."""
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._work(name, weight))
        await self.settle()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.settle()

    async def cancel(self, *names: str) -> None:
        for name in names:
            self.tasks[name].cancel()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def _work(self, name: str, weight: int) -> None:
        async with self.turns.turn(name[0], weight):
            self.working.append(name)
            try:
                await self.ends[name].wait()
            finally:
                self.working.remove(name)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    for task in scene.tasks.values():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_the_weight_of_a_request_is_that_of_its_size() -> None:
    weights = [request_weight(size) for size in (0, 4096, 4097, 8193, 1_000_000)]
    assert weights == [LIGHT, LIGHT, 2 * LIGHT, 3 * LIGHT, HEAVY]
    assert request_weight(10, HEAVY) == HEAVY


async def test_heavy_requests_of_a_client_are_worked_on_one_after_another(scene: Scene) -> None:
    for name in ("a1", "a2", "a3", "b1"):
        await scene.begin(name)
    assert scene.working == ["a1", "b1"]
    await scene.end("a1")
    assert scene.working == ["b1", "a2"]


async def test_light_requests_are_worked_on_a_few_at_a_time(scene: Scene) -> None:
    for number in range(6):
        await scene.begin(f"a{number}", LIGHT)
    await scene.begin("a6", HEAVY)
    await scene.begin("a7", LIGHT)
    assert scene.working == ["a0", "a1", "a2", "a3"]
    for number in range(5):
        await scene.end(f"a{number}")
    # In their order: the heavy one waits until it is alone, and no later one overtakes it.
    assert scene.working == ["a5"]
    await scene.end("a5")
    assert scene.working == ["a6"]


async def test_clients_take_turns_when_there_are_many(scene: Scene) -> None:
    for name in ("a1", "b1", "c1", "d1", "a2", "a3", "e1", "f1"):
        await scene.begin(name)
    assert scene.working == ["a1", "b1", "c1", "d1"]
    for name in ("a1", "b1", "c1"):
        await scene.end(name)
    # The second request of a client waits its turn among the first ones of others, and its third comes after theirs.
    assert scene.working == ["d1", "a2", "e1", "f1"]
    await scene.end("d1")
    assert scene.working == ["a2", "e1", "f1"]
    await scene.end("a2")
    assert scene.working == ["e1", "f1", "a3"]


async def test_a_heavy_request_is_not_overtaken_by_light_ones_of_others(scene: Scene) -> None:
    for client in "abc":
        await scene.begin(f"{client}1")
    await scene.begin("d1", LIGHT)
    await scene.begin("e1", HEAVY)
    await scene.begin("f1", LIGHT)
    assert scene.working == ["a1", "b1", "c1", "d1"]
    await scene.end("a1")
    assert scene.working == ["b1", "c1", "d1", "e1", "f1"]


async def test_a_cancelled_request_leaves_nothing_behind(scene: Scene) -> None:
    for name in ("a1", "a2", "a3"):
        await scene.begin(name)
    await scene.cancel("a2", "a1")
    assert scene.working == ["a3"]
    await scene.end("a3")
    async with scene.turns.turn("a", HEAVY):
        await scene.begin("a4")
        await scene.begin("a5")
    # The turn is granted to a request whose call ends at the same moment.
    await scene.cancel("a4")
    assert scene.working == ["a5"]


async def test_a_request_whose_turn_does_not_come_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.05)
    await scene.begin("a1")
    with pytest.raises(errors.ResourceExhausted, match="a few at a time") as refused:
        async with scene.turns.turn("a", LIGHT):
            pass
    assert (refused.value.reason, refused.value.retry_after_seconds) == ("BUSY", 1.0)
    await scene.end("a1")
    await scene.begin("a2")
    assert scene.working == ["a2"]


class Videos(pb_grpc.VideoServiceServicer):
    """Creates videos when a test lets it."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.changed = asyncio.Event()
        self.may_end = asyncio.Event()

    async def CreateVideo(self, request: pb.CreateVideoRequest, context: Any) -> pb.CreateVideoResponse:
        self.titles.append(request.title)
        self.changed.set()
        await self.may_end.wait()
        return pb.CreateVideoResponse()

    @asynccontextmanager
    async def wire(self, _: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.take_turns(CREATE)
        runtime.add(pb_grpc.add_VideoServiceServicer_to_server, self)
        yield


async def test_a_large_request_is_not_parsed_before_its_turn(mesh: Mesh) -> None:
    videos = Videos()  # type: ignore[abstract]
    await mesh.start("orchestrator", None, videos.wire)
    service = mesh.stub(pb_grpc.VideoServiceStub, caller="gateway")

    def create(user: str, title: str) -> asyncio.Future[Any]:
        request = pb.CreateVideoRequest(title=title, audio=pb.Audio(script=LONG))
        return asyncio.ensure_future(service.CreateVideo(request, metadata=mesh.bearer(user)))

    async def until(count: int) -> None:
        async with asyncio.timeout(20):
            while len(videos.titles) < count:
                await videos.changed.wait()
                videos.changed.clear()

    first = create("ann", "first")
    await until(1)
    # Invalid, which shows only when it is parsed.
    second = create("ann", "")
    await until(1)
    others = create("bob", "another")
    await until(2)
    assert videos.titles == ["first", "another"]
    assert not second.done()
    videos.may_end.set()
    await first
    await others
    with pytest.raises(errors.InvalidArgument):
        await second

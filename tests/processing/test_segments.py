"""A studio fetches each source once, for all segments and however often it is shown; scheduler share out the work."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from moneyprinter.errors import ResourceExhausted, Unavailable
from services.media.encoding import Quality
from services.processing.render import Tool
from services.processing.scheduler import RenderScheduler
from services.processing.segments import RenderRequest, SegmentRenderer
from services.processing.source_cache import SourceCache
from services.processing.spec import Canvas, Overlay, Point, Shot, Size, Spec, Still, Transition
from services.processing.streaming import Encoder
from tests import media
from tests.media.drawing import still
from tests.sources import probe_source


@dataclass(frozen=True)
class Kept:
    """An object in a folder."""

    path: Path

    @property
    def sha256(self) -> str:
        return self.path.name

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size


@dataclass
class Folder:
    """A folder of objects, which counts how often each is fetched, and may be slow or broken."""

    path: Path
    fetched: list[str] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    broken: bool = False

    async def head(self, key: str) -> Kept | None:
        file = self.path / Path(key).name
        return Kept(file) if file.exists() else None

    async def get_bytes(self, key: str, offset: int = 0, length: int = 0) -> bytes:
        return (self.path / Path(key).name).read_bytes()[offset : offset + length]

    async def get_file(self, source: Kept, path: Path) -> None:
        self.fetched.append(source.sha256)
        self.asked.set()
        await self.open.wait()
        if self.broken:
            raise Unavailable("storage is away", reason="UNAVAILABLE")
        shutil.copy(source.path, path)

    async def put_file(self, key: str, path: Path) -> Kept:
        return Kept(Path(shutil.copy(path, self.path / Path(key).name)))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Objects that come at once."""
    objects = Folder(tmp_path)
    objects.open.set()
    return objects


def sources(folder: Folder, max_bytes: int = 1 << 20) -> SourceCache[Kept]:
    """A cache of sources in a folder."""
    cache = folder.path / "cache"
    cache.mkdir(exist_ok=True)
    return SourceCache(folder, cache, max_bytes, 30.0)


def kept(folder: Folder, name: str, size: int = 10) -> Kept:
    """An object of so many bytes."""
    (folder.path / name).write_bytes(name.encode()[:1] * size)
    return Kept(folder.path / name)


def studio(folder: Folder, tool: Tool, encoder: Encoder | None = None) -> SegmentRenderer[Kept]:
    """A studio with one slot."""

    @asynccontextmanager
    async def scratch() -> AsyncIterator[Path]:
        work = folder.path / "work"
        work.mkdir()
        yield work
        shutil.rmtree(work)

    return SegmentRenderer(folder, sources(folder), scratch, tool, RenderScheduler(1, 1, 1 << 30), encoder)


async def test_a_source_is_fetched_once_however_often_it_is_shown(tool: Tool, tmp_path: Path, folder: Folder) -> None:
    image = Kept(still(tmp_path / "image.png", media.CORNERS, size=(64, 36)))
    logo = Overlay(0, Point(0.5, 0.5), 0.5, 1.0, 0, 5)
    shots = (Shot(Still(0)), Shot(Still(0)))
    spec = Spec(
        shots, 5, Canvas(64, 36, 30), Quality.DRAFT, Transition.CROSSFADE, (logo, logo), renditions=(Size(32, 18),)
    )
    one = studio(folder, tool)
    order = RenderRequest(((image, await probe_source(image.path)),), spec, b"all")
    made = await one.render(order)
    assert not made.reused
    shown = [media.probe(video.path) for video in made.videos]
    assert [(video.width, video.height, video.frames) for video in shown] == [(64, 36, 5), (32, 18, 5)]
    assert made.fragment.frame_count == 5
    again = await one.render(order)
    assert again.reused
    assert (again.videos, again.fragment) == (made.videos, made.fragment)
    made.videos[1].path.unlink()
    anew = await one.render(order)
    assert not anew.reused, "one of its files was lost"
    assert folder.fetched == ["image.png"]


async def test_who_asks_while_a_source_comes_waits_for_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    source, cache = kept(folder, "a"), sources(folder)
    asking = [asyncio.create_task(cache.link(source, tmp_path / f"link{number}")) for number in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    folder.open.set()
    await asyncio.gather(*asking[1:])
    assert folder.fetched == ["a"]
    assert not (tmp_path / "link0").exists() and (tmp_path / "link2").read_bytes() == b"a" * 10


async def test_a_source_that_nobody_waits_for_any_more_is_not_fetched(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    cache = sources(folder)
    asking = asyncio.create_task(cache.link(kept(folder, "a"), tmp_path / "link"))
    await folder.asked.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert list((tmp_path / "cache").iterdir()) == []
    folder.open.set()
    await cache.link(kept(folder, "a"), tmp_path / "link")
    assert folder.fetched == ["a", "a"]


async def test_a_source_that_could_not_be_fetched_is_tried_again(tmp_path: Path, folder: Folder) -> None:
    cache, source = sources(folder), kept(folder, "a")
    folder.broken = True
    with pytest.raises(Unavailable):
        await cache.link(source, tmp_path / "link")
    folder.broken = False
    await cache.link(source, tmp_path / "link")
    assert (tmp_path / "link").exists()


async def test_what_was_not_used_for_longest_is_forgotten_and_what_is_in_use_stays(
    tmp_path: Path, folder: Folder
) -> None:
    cache = sources(folder, max_bytes=25)
    for number, name in enumerate("abacb"):
        await cache.link(kept(folder, name), tmp_path / f"link{number}")
    assert folder.fetched == ["a", "b", "c", "b"], "b was forgotten when c came, a when b came again"
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {"b", "c"}
    assert (tmp_path / "link0").read_bytes() == b"a" * 10
    await cache.link(kept(folder, "d", size=100), tmp_path / "link5")
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {"d"}, "one that is too large is kept alone"


class Crew:
    """Some who stand in line for scheduler, and work until they are told to leave."""

    def __init__(self, scheduler: RenderScheduler) -> None:
        self._scheduler = scheduler
        self._begun: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self._working: dict[str, asyncio.Task[None]] = {}

    def comes(self, name: str, need_bytes: int = 10, *, is_first: bool = False) -> None:
        self._leave[name] = asyncio.Event()
        self._working[name] = asyncio.create_task(self._work(name, need_bytes, is_first))

    async def _work(self, name: str, need_bytes: int, is_first: bool) -> None:
        with self._scheduler.queued(is_first=is_first) as turn:
            async with self._scheduler.slot(need_bytes, turn, is_first=is_first):
                self._begun.append(name)
                await self._leave[name].wait()

    async def begun(self) -> list[str]:
        """Who has begun, once nobody has anything left to do but wait."""
        for _ in range(5):
            await asyncio.sleep(0)
        return self._begun

    async def leaves(self, *names: str) -> None:
        for name in names:
            self._leave[name].set()
        await asyncio.gather(*(self._working[name] for name in names))

    async def is_cancelled(self, name: str) -> None:
        self._working[name].cancel()
        await asyncio.gather(self._working[name], return_exceptions=True)


async def test_work_waits_for_its_turn_and_for_memory() -> None:
    scheduler = RenderScheduler(slots=2, threads=1, memory_bytes=100)
    crew = Crew(scheduler)
    for name, need_bytes in (("a", 60), ("b", 60), ("c", 10)):
        crew.comes(name, need_bytes)
    assert await crew.begun() == ["a"], "b waits for memory, and nothing overtakes it"
    await crew.is_cancelled("a")
    assert await crew.begun() == ["a", "b", "c"]
    await crew.leaves("b", "c")
    with scheduler.queued() as turn:
        async with scheduler.slot(1000, turn):
            assert True, "what needs more than there is runs alone"


async def test_a_videos_first_is_not_overtaken_by_those_that_have_their_sources_sooner() -> None:
    scheduler, done, fetched = RenderScheduler(slots=1, threads=1, memory_bytes=100), [], asyncio.Event()

    async def work(name: str, *, is_first: bool = False) -> None:
        with scheduler.queued(is_first=is_first) as turn:
            if is_first:
                await fetched.wait()
            async with scheduler.slot(10, turn):
                done.append(name)

    running = [asyncio.create_task(work("a", is_first=True)), asyncio.create_task(work("b"))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == []
    fetched.set()
    await asyncio.gather(*running)
    assert done == ["a", "b"]
    leaving, other = asyncio.create_task(work("c", is_first=True)), asyncio.create_task(work("d"))
    fetched.clear()
    await asyncio.sleep(0)
    leaving.cancel()
    await other
    assert done == ["a", "b", "d"], "one that is found stored, or given up, is not waited for"


async def test_nothing_begins_beside_a_videos_first_that_would_take_its_scheduler() -> None:
    crew = Crew(RenderScheduler(slots=2, threads=1, memory_bytes=100))
    crew.comes("a")
    assert await crew.begun() == ["a"]
    crew.comes("b", is_first=True)
    crew.comes("c")
    assert await crew.begun() == ["a", "b"], (
        "it begins where one fits, and has the other scheduler as soon as they are free"
    )
    await crew.leaves("a")
    assert await crew.begun() == ["a", "b"]
    crew.comes("d")
    await crew.leaves("b")
    assert await crew.begun() == ["a", "b", "c", "d"]
    await crew.leaves("c", "d")


async def test_a_videos_first_takes_the_cores_of_a_few() -> None:
    crew = Crew(RenderScheduler(slots=6, threads=1, memory_bytes=100))
    crew.comes("a", is_first=True)
    for name in "bcd":
        crew.comes(name)
    assert await crew.begun() == ["a", "b", "c"]
    await crew.leaves("a", "b", "c", "d")


def test_where_few_fit_each_has_more_threads() -> None:
    scheduler = RenderScheduler(slots=4, threads=2, memory_bytes=1000)
    assert [scheduler.threads(need) for need in (100, 250, 300, 600, 5000)] == [2, 2, 2, 8, 8]
    assert scheduler.threads(100, is_first=True) == 16, "somebody waits for a video's first"
    assert scheduler.threads(600, is_first=True) == 8, "each thread holds frames, and there is no room for many"
    assert RenderScheduler(slots=16, threads=1, memory_bytes=1000).threads(10, is_first=True) == 8


async def test_those_of_a_higher_priority_go_first() -> None:
    scheduler, begun = RenderScheduler(slots=1, threads=1, memory_bytes=100), []

    async def work(name: str, priority: int, *, is_first: bool = False) -> None:
        with scheduler.queued(priority=priority, is_first=is_first) as turn:
            async with scheduler.slot(10, turn):
                begun.append(name)
                for _ in range(9):
                    await asyncio.sleep(0)

    coming = [("at work", 0), ("low", -1), ("a", 0), ("b", 0), ("high", 1), ("c", 0), ("high too", 1)]
    tasks = []
    for name, priority in coming:
        tasks.append(asyncio.create_task(work(name, priority)))
        await asyncio.sleep(0)
    tasks.append(asyncio.create_task(work("first", 0, is_first=True)))
    await asyncio.gather(*tasks)
    assert begun == ["at work", "high", "high too", "first", "a", "b", "c", "low"]


def test_others_do_not_keep_out_those_of_a_high_priority() -> None:
    scheduler = RenderScheduler(slots=1, threads=1, memory_bytes=100)
    with scheduler.admission(), scheduler.admission():
        for priority in (0, -1):
            with pytest.raises(ResourceExhausted), scheduler.admission(priority):
                pass
        with scheduler.admission(1), pytest.raises(ResourceExhausted), scheduler.admission(1):
            pass


def test_as_many_as_are_at_work_may_wait() -> None:
    scheduler = RenderScheduler(slots=1, threads=1, memory_bytes=100)
    with (
        scheduler.admission(),
        scheduler.admission(),
        pytest.raises(ResourceExhausted, match="as many wait"),
        scheduler.admission(),
    ):
        pass
    with scheduler.admission():
        pass

"""The renderer fetches each source once, for all segments that show it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from moneyprinter.errors import Unavailable
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
class StoredFile:
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
    """A folder of objects that records fetches, and may block or fail."""

    path: Path
    fetched: list[str] = field(default_factory=list)
    requested: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    broken: bool = False

    async def head(self, key: str) -> StoredFile | None:
        file = self.path / Path(key).name
        return StoredFile(file) if file.exists() else None

    async def get_bytes(self, key: str, offset: int = 0, length: int = 0) -> bytes:
        return (self.path / Path(key).name).read_bytes()[offset : offset + length]

    async def get_file(self, source: StoredFile, path: Path) -> None:
        self.fetched.append(source.sha256)
        self.requested.set()
        await self.open.wait()
        if self.broken:
            raise Unavailable("storage is unreachable", reason="UNAVAILABLE")
        shutil.copy(source.path, path)

    async def put_file(self, key: str, path: Path) -> StoredFile:
        return StoredFile(Path(shutil.copy(path, self.path / Path(key).name)))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Objects whose fetches do not block."""
    objects = Folder(tmp_path)
    objects.open.set()
    return objects


def source_cache(folder: Folder, max_bytes: int = 1 << 20) -> SourceCache[StoredFile]:
    """A cache of sources in a folder."""
    cache = folder.path / "cache"
    cache.mkdir(exist_ok=True)
    return SourceCache(folder, cache, max_bytes, 30.0)


def store_file(folder: Folder, name: str, size: int = 10) -> StoredFile:
    """Write an object of `size` bytes."""
    (folder.path / name).write_bytes(name.encode()[:1] * size)
    return StoredFile(folder.path / name)


def segment_renderer(folder: Folder, tool: Tool, encoder: Encoder | None = None) -> SegmentRenderer[StoredFile]:
    """Returns a renderer with one slot."""

    @asynccontextmanager
    async def scratch() -> AsyncIterator[Path]:
        work = folder.path / "work"
        work.mkdir()
        yield work
        shutil.rmtree(work)

    return SegmentRenderer(folder, source_cache(folder), scratch, tool, RenderScheduler(1, 1, 1 << 30), encoder)


async def test_a_source_is_fetched_once_however_often_it_is_shown(tool: Tool, tmp_path: Path, folder: Folder) -> None:
    image = StoredFile(still(tmp_path / "image.png", media.CORNERS, size=(64, 36)))
    logo = Overlay(0, Point(0.5, 0.5), 0.5, 1.0, 0, 5)
    shots = (Shot(Still(0)), Shot(Still(0)))
    spec = Spec(
        shots, 5, Canvas(64, 36, 30), Quality.DRAFT, Transition.CROSSFADE, (logo, logo), renditions=(Size(32, 18),)
    )
    renderer = segment_renderer(folder, tool)
    request = RenderRequest(((image, await probe_source(image.path)),), spec, b"all")
    made = await renderer.render(request)
    assert not made.reused
    shown = [media.probe(video.path) for video in made.videos]
    assert [(video.width, video.height, video.frames) for video in shown] == [(64, 36, 5), (32, 18, 5)]
    assert made.fragment.frame_count == 5
    again = await renderer.render(request)
    assert again.reused
    assert (again.videos, again.fragment) == (made.videos, made.fragment)
    made.videos[1].path.unlink()
    anew = await renderer.render(request)
    assert not anew.reused, "one of its files was lost"
    assert folder.fetched == ["image.png"]


async def test_requests_for_a_source_share_its_fetch(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    source, cache = store_file(folder, "a"), source_cache(folder)
    linking = [asyncio.create_task(cache.link(source, tmp_path / f"link{number}")) for number in range(3)]
    await asyncio.sleep(0)
    linking[0].cancel()
    folder.open.set()
    await asyncio.gather(*linking[1:])
    assert folder.fetched == ["a"]
    assert not (tmp_path / "link0").exists() and (tmp_path / "link2").read_bytes() == b"a" * 10


async def test_a_fetch_without_waiters_is_cancelled(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    cache = source_cache(folder)
    linking = asyncio.create_task(cache.link(store_file(folder, "a"), tmp_path / "link"))
    await folder.requested.wait()
    linking.cancel()
    await asyncio.gather(linking, return_exceptions=True)
    assert list((tmp_path / "cache").iterdir()) == []
    folder.open.set()
    await cache.link(store_file(folder, "a"), tmp_path / "link")
    assert folder.fetched == ["a", "a"]


async def test_a_failed_fetch_is_retried_by_the_next_request(tmp_path: Path, folder: Folder) -> None:
    cache, source = source_cache(folder), store_file(folder, "a")
    folder.broken = True
    with pytest.raises(Unavailable):
        await cache.link(source, tmp_path / "link")
    folder.broken = False
    await cache.link(source, tmp_path / "link")
    assert (tmp_path / "link").exists()


async def test_the_least_recently_used_source_is_evicted_and_links_stay(tmp_path: Path, folder: Folder) -> None:
    cache = source_cache(folder, max_bytes=25)
    for number, name in enumerate("abacb"):
        await cache.link(store_file(folder, name), tmp_path / f"link{number}")
    assert folder.fetched == ["a", "b", "c", "b"], "c evicted b, and b evicted a"
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {"b", "c"}
    assert (tmp_path / "link0").read_bytes() == b"a" * 10
    await cache.link(store_file(folder, "d", size=100), tmp_path / "link5")
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {"d"}, "a source above the limit stays alone"

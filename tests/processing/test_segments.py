"""A studio fetches what a segment needs, each source once, however often it is shown."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.processing.render import Tool
from services.processing.segments import Order, Segment, Studio
from services.processing.spec import Canvas, Overlay, Point, Quality, Shot, Spec, Still, Transition
from tests import media
from tests.processing.conftest import still


@dataclass(frozen=True)
class Kept:
    """An object in a folder."""

    path: Path

    @property
    def sha256(self) -> str:
        return self.path.name


class Folder:
    """A folder of objects, which counts how often each is fetched."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fetched: list[str] = []

    async def head(self, key: str) -> Kept | None:
        return None

    async def get_file(self, source: Kept, path: Path) -> None:
        self.fetched.append(source.sha256)
        shutil.copy(source.path, path)

    async def put_file(self, key: str, path: Path) -> Kept:
        return Kept(Path(shutil.copy(path, self.path / Path(key).name)))


async def test_a_source_is_fetched_once_however_often_it_is_shown(tool: Tool, tmp_path: Path) -> None:
    @asynccontextmanager
    async def scratch() -> AsyncIterator[Path]:
        work = tmp_path / "work"
        work.mkdir()
        yield work

    image = Kept(still(tmp_path / "image.png", media.CORNERS, size=(64, 36)))
    logo = Overlay(0, Point(0.5, 0.5), 0.5, 1.0, 0, 5)
    shots = (Shot(Still(0)), Shot(Still(0)))
    spec = Spec(shots, 5, Canvas(64, 36, 30), Quality("ultrafast", 28), Transition.CROSSFADE, (logo, logo))
    folder = Folder(tmp_path)
    *_, made = [step async for step in Studio(folder, scratch, tool, 1).render(Order((image,), spec, b"all"))]
    assert isinstance(made, Segment) and made.frame_count == media.probe(made.video.path).frames == 5
    assert folder.fetched == ["image.png"]

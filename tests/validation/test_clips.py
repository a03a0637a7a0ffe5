"""How a clip is taken in: kept once under the hash of its bytes, and nothing left when it is not."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from moneyprinter import errors
from services.validation.clips import Clip, Desk, Download, Stored
from services.validation.probe import Bounds, Part
from tests.progress import after_first_report
from tests.validation.footage import Footage

BOUNDS = Bounds(
    max_pixels=4096 * 2304, max_still_pixels=8192 * 6144, max_duration_seconds=60.0, memory_bytes=512 << 20, seconds=10
)
ADDRESS = "https://example.com/clip.mp4"
WHOLE = Part()


@dataclass
class MemoryObjects:
    """The storage service's memory twin."""

    kept: dict[str, bytes] = field(default_factory=dict)
    puts: int = 0

    async def head(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def get_file(self, source: Stored, path: Path) -> None:
        if source.key not in self.kept:
            raise errors.NotFound(f"no object {source.key}", reason="OBJECT_NOT_FOUND")
        path.write_bytes(self.kept[source.key])
        if hashlib.sha256(self.kept[source.key]).hexdigest() != source.sha256:
            raise errors.DataLoss("it was replaced meanwhile", reason="CHECKSUM_MISMATCH")

    async def put_file(self, key: str, path: Path) -> None:
        self.puts += 1
        self.kept[key] = path.read_bytes()


@dataclass
class OneFile:
    """A web with one file on it."""

    body: bytes
    size_bytes: int | None = None
    stalls: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the body was read to where it stalls."""

    @asynccontextmanager
    async def open(self, address: str) -> AsyncIterator[Download]:
        assert address == ADDRESS
        yield Download(self.size_bytes, self._chunks())

    async def _chunks(self) -> AsyncIterator[bytes]:
        yield self.body
        if self.stalls:
            self.reached.set()
            await asyncio.Event().wait()


@dataclass
class Scratch:
    """Folders for work in progress, and how many of them are left."""

    root: Path

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Path]:
        folder = self.root / "work"
        folder.mkdir()
        try:
            yield folder
        finally:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(
        web=OneFile(b""),
        objects=MemoryObjects(),
        scratch=Scratch(tmp_path),
        bounds=BOUNDS,
        max_bytes=1_000_000,
        reading=nullcontext,
    )


async def validate(desk: Desk, source: str | Stored, part: Part = WHOLE) -> tuple[list[float], Clip]:
    fractions: list[float] = []
    clip = await desk.validate(source, part, fractions.append)
    return fractions, clip


async def test_what_is_fetched_is_kept_once(desk: Desk, footage: Footage) -> None:
    body = footage["good.mp4"].read_bytes()
    objects = MemoryObjects()
    desk = replace(desk, web=OneFile(body, len(body)), objects=objects)
    fractions, clip = await validate(desk, ADDRESS)
    digest = hashlib.sha256(body).hexdigest()
    assert clip.stored == Stored(f"cache/validation/{digest}.bin", digest, len(body))
    assert objects.kept == {clip.stored.key: body}
    assert fractions
    assert fractions == sorted(fractions)
    assert all(0 < fraction <= 1 for fraction in fractions)
    assert (await validate(desk, ADDRESS))[1] == clip
    assert objects.puts == 1


async def test_an_upload_is_used_where_it_is(desk: Desk, footage: Footage) -> None:
    body = footage["good.mp4"].read_bytes()
    objects = MemoryObjects({"uploads/a.mp4": body})
    upload = Stored("uploads/a.mp4", hashlib.sha256(body).hexdigest(), len(body))
    _, clip = await validate(replace(desk, objects=objects), upload)
    assert clip.stored == upload
    assert clip.facts.duration_seconds == pytest.approx(2.0)
    assert objects.puts == 0


async def test_an_upload_that_was_replaced_is_refused(desk: Desk, footage: Footage, tmp_path: Path) -> None:
    body = footage["good.mp4"].read_bytes()
    objects = MemoryObjects({"uploads/a.mp4": body})
    with pytest.raises(errors.DataLoss, match="replaced meanwhile"):
        await validate(replace(desk, objects=objects), Stored("uploads/a.mp4", "0" * 64, len(body)))
    assert list(tmp_path.iterdir()) == []


async def test_an_upload_that_is_not_there_is_told(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound):
        await validate(desk, Stored("uploads/a.mp4", "0" * 64, 10))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size_bytes", [None, 1, 1_000_001])
async def test_a_clip_of_too_many_bytes_is_refused(desk: Desk, tmp_path: Path, size_bytes: int | None) -> None:
    desk = replace(desk, web=OneFile(bytes(1_000_001), size_bytes))
    with pytest.raises(errors.InvalidArgument, match="larger than 1 MB") as refused:
        await validate(desk, ADDRESS)
    assert refused.value.reason == "CLIP_TOO_LARGE"
    assert list(tmp_path.iterdir()) == []


async def test_a_bad_clip_is_not_kept(desk: Desk, tmp_path: Path) -> None:
    objects = MemoryObjects()
    desk = replace(desk, web=OneFile(b"Dear diary"), objects=objects)
    with pytest.raises(errors.InvalidArgument, match="a text file"):
        await validate(desk, ADDRESS)
    assert objects.kept == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [Part(2.0, 1.0), Part(1.0, 1.0)])
async def test_a_part_that_ends_before_it_starts_is_refused_before_anything_is_fetched(desk: Desk, part: Part) -> None:
    web = OneFile(b"", stalls=True)
    with pytest.raises(errors.InvalidArgument, match="before it starts") as refused:
        await validate(replace(desk, web=web), ADDRESS, part)
    assert refused.value.reason == "CLIP_RANGE_INVALID"
    assert not web.reached.is_set()


async def test_giving_up_leaves_nothing(desk: Desk, tmp_path: Path) -> None:
    web = OneFile(bytes(100), stalls=True)
    task = asyncio.create_task(validate(replace(desk, web=web), ADDRESS))
    await web.reached.wait()
    assert list(tmp_path.iterdir()) != []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


async def test_leaving_in_the_middle_leaves_nothing(desk: Desk, tmp_path: Path, footage: Footage) -> None:
    body = footage["good.mp4"].read_bytes()
    fetching = replace(desk, web=OneFile(body, len(body)))
    async with after_first_report(lambda on_progress: fetching.validate(ADDRESS, Part(), on_progress)):
        assert list(tmp_path.iterdir()) != []
    assert list(tmp_path.iterdir()) == []

"""ClipValidator: a usable clip is stored once under the hash of its bytes, and a failure leaves no files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from moneyprinter import errors
from services.validation.clips import ClipValidator, Download, StoredObject, ValidatedClip
from services.validation.probe import ProbeLimits, TimeRange
from tests.progress import after_first_report
from tests.validation.footage import Footage

LIMITS = ProbeLimits(
    max_pixels=4096 * 2304, max_still_pixels=8192 * 6144, max_duration_seconds=60.0, memory_bytes=512 << 20, seconds=10
)
ADDRESS = "https://example.com/clip.mp4"
WHOLE = TimeRange()


@dataclass
class MemoryObjects:
    """An object store in memory."""

    stored: dict[str, bytes] = field(default_factory=dict)
    puts: int = 0

    async def head(self, key: str) -> bytes | None:
        return self.stored.get(key)

    async def get_file(self, source: StoredObject, path: Path) -> None:
        if source.key not in self.stored:
            raise errors.NotFound(f"no object {source.key}", reason="OBJECT_NOT_FOUND")
        path.write_bytes(self.stored[source.key])
        if hashlib.sha256(self.stored[source.key]).hexdigest() != source.sha256:
            raise errors.DataLoss("it was replaced meanwhile", reason="CHECKSUM_MISMATCH")

    async def put_file(self, key: str, path: Path) -> None:
        self.puts += 1
        self.stored[key] = path.read_bytes()


@dataclass
class OneFile:
    """A fetcher of one file."""

    body: bytes
    size_bytes: int | None = None
    stalls: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the body has been read up to the point where it stalls."""

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
    """Scratch folders that must be empty of subfolders when they are removed."""

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
def validator(tmp_path: Path) -> ClipValidator:
    return ClipValidator(
        fetcher=OneFile(b""),
        objects=MemoryObjects(),
        scratch=Scratch(tmp_path),
        limits=LIMITS,
        max_bytes=1_000_000,
        probe_turn=nullcontext,
    )


async def validate(
    validator: ClipValidator, source: str | StoredObject, part: TimeRange = WHOLE
) -> tuple[list[float], ValidatedClip]:
    fractions: list[float] = []
    clip = await validator.validate(source, part, fractions.append)
    return fractions, clip


async def test_a_fetched_clip_is_stored_once(validator: ClipValidator, footage: Footage) -> None:
    body = footage["good.mp4"].read_bytes()
    objects = MemoryObjects()
    validator = replace(validator, fetcher=OneFile(body, len(body)), objects=objects)
    fractions, clip = await validate(validator, ADDRESS)
    digest = hashlib.sha256(body).hexdigest()
    assert clip.stored == StoredObject(f"cache/validation/{digest}.bin", digest, len(body))
    assert objects.stored == {clip.stored.key: body}
    assert fractions
    assert fractions == sorted(fractions)
    assert all(0 < fraction <= 1 for fraction in fractions)
    assert (await validate(validator, ADDRESS))[1] == clip
    assert objects.puts == 1


async def test_an_upload_is_not_stored_again(validator: ClipValidator, footage: Footage) -> None:
    body = footage["good.mp4"].read_bytes()
    objects = MemoryObjects({"uploads/a.mp4": body})
    upload = StoredObject("uploads/a.mp4", hashlib.sha256(body).hexdigest(), len(body))
    _, clip = await validate(replace(validator, objects=objects), upload)
    assert clip.stored == upload
    assert clip.facts.duration_seconds == pytest.approx(2.0)
    assert objects.puts == 0


async def test_a_replaced_upload_is_refused(validator: ClipValidator, footage: Footage, tmp_path: Path) -> None:
    body = footage["good.mp4"].read_bytes()
    objects = MemoryObjects({"uploads/a.mp4": body})
    with pytest.raises(errors.DataLoss, match="replaced meanwhile"):
        await validate(replace(validator, objects=objects), StoredObject("uploads/a.mp4", "0" * 64, len(body)))
    assert list(tmp_path.iterdir()) == []


async def test_a_missing_upload_is_reported(validator: ClipValidator, tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound):
        await validate(validator, StoredObject("uploads/a.mp4", "0" * 64, 10))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size_bytes", [None, 1, 1_000_001])
async def test_a_clip_with_too_many_bytes_is_refused(
    validator: ClipValidator, tmp_path: Path, size_bytes: int | None
) -> None:
    validator = replace(validator, fetcher=OneFile(bytes(1_000_001), size_bytes))
    with pytest.raises(errors.InvalidArgument, match="larger than 1 MB") as refused:
        await validate(validator, ADDRESS)
    assert refused.value.reason == "CLIP_TOO_LARGE"
    assert list(tmp_path.iterdir()) == []


async def test_a_bad_clip_is_not_stored(validator: ClipValidator, tmp_path: Path) -> None:
    objects = MemoryObjects()
    validator = replace(validator, fetcher=OneFile(b"Dear diary"), objects=objects)
    with pytest.raises(errors.InvalidArgument, match="a text file"):
        await validate(validator, ADDRESS)
    assert objects.stored == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [TimeRange(2.0, 1.0), TimeRange(1.0, 1.0)])
async def test_a_reversed_range_is_refused_before_the_fetch(validator: ClipValidator, part: TimeRange) -> None:
    fetcher = OneFile(b"", stalls=True)
    with pytest.raises(errors.InvalidArgument, match="before it starts") as refused:
        await validate(replace(validator, fetcher=fetcher), ADDRESS, part)
    assert refused.value.reason == "CLIP_RANGE_INVALID"
    assert not fetcher.reached.is_set()


async def test_a_cancelled_validation_leaves_no_files(validator: ClipValidator, tmp_path: Path) -> None:
    fetcher = OneFile(bytes(100), stalls=True)
    task = asyncio.create_task(validate(replace(validator, fetcher=fetcher), ADDRESS))
    await fetcher.reached.wait()
    assert list(tmp_path.iterdir()) != []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


async def test_a_validation_cancelled_after_a_report_leaves_no_files(
    validator: ClipValidator, tmp_path: Path, footage: Footage
) -> None:
    body = footage["good.mp4"].read_bytes()
    fetching = replace(validator, fetcher=OneFile(body, len(body)))
    async with after_first_report(lambda on_progress: fetching.validate(ADDRESS, TimeRange(), on_progress)):
        assert list(tmp_path.iterdir()) != []
    assert list(tmp_path.iterdir()) == []

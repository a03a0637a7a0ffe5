"""One suite for every store: what goes in comes out, whole and checked, or nothing does."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from moneyprinter import errors
from services.storage import objects
from services.storage.blobs import StoreBlobs, expire, sweep
from services.storage.objects import CHUNK_BYTES, Header, Object, Trailer
from services.storage.sealing import MasterKey, SealedBoxes
from tests.stored import limit_file_size

BOXES = SealedBoxes(MasterKey(bytes(range(32)), 1))
KEY = "jobs/vid_1/video.mp4"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the local store."""
    folder = tmp_path / "objects"
    folder.mkdir()
    return folder


@pytest.fixture(params=["memory", "local"])
def blobs(request: pytest.FixtureRequest, root: Path) -> StoreBlobs:
    return StoreBlobs(MemoryStore() if request.param == "memory" else LocalStore(root))


@pytest.fixture
def local(root: Path) -> StoreBlobs:
    return StoreBlobs(LocalStore(root))


def content(size_bytes: int, seed: int = 1) -> bytes:
    """Bytes in which no two chunks are alike."""
    return hashlib.shake_128(b"%d" % seed).digest(size_bytes)


async def parts(data: bytes, key: str = KEY, step: int = 300_000) -> AsyncIterator[Header | bytes | Trailer]:
    yield Header(key)
    for start in range(0, len(data), step):
        yield data[start : start + step]
    yield Trailer(hashlib.sha256(data).hexdigest())


async def put(blobs: objects.Blobs, data: bytes, key: str = KEY, step: int = 300_000) -> Object:
    return await objects.put(blobs, BOXES, parts(data, key, step))


async def read(blobs: objects.Blobs, key: str = KEY) -> bytes:
    """The bytes of an object; header and trailer are checked."""
    seen = [part async for part in objects.get(blobs, BOXES, key)]
    first, *chunks, last = seen
    data = b"".join(chunk for chunk in chunks if isinstance(chunk, bytes))
    sha256 = hashlib.sha256(data).hexdigest()
    assert (first, last) == (Object(key, sha256, len(data)), Trailer(sha256, len(data)))
    assert all(len(chunk) <= CHUNK_BYTES for chunk in chunks if isinstance(chunk, bytes))
    return data


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("step", [999, 300_000, 1 << 20])
@pytest.mark.parametrize(
    "size",
    [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 4 * CHUNK_BYTES, 4 * CHUNK_BYTES + 1, 8 * CHUNK_BYTES],
)
async def test_what_was_put_is_got(blobs: StoreBlobs, size: int, step: int) -> None:
    data = content(size)
    stored = await put(blobs, data, step=step)
    assert stored == Object(KEY, hashlib.sha256(data).hexdigest(), size)
    assert await objects.head(blobs, BOXES, KEY) == stored
    assert await read(blobs) == data


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, 1),
        (5, 0),
        (CHUNK_BYTES - 1, 2),
        (CHUNK_BYTES, CHUNK_BYTES),
        (3 * CHUNK_BYTES + 7, 4 * CHUNK_BYTES),
        (9 * CHUNK_BYTES, 500),
        (9 * CHUNK_BYTES + 99, 1),
        (9 * CHUNK_BYTES + 100, 1),
        (1 << 40, 0),
    ],
)
async def test_a_part_of_an_object(blobs: StoreBlobs, offset: int, length: int) -> None:
    data = content(9 * CHUNK_BYTES + 100)
    stored = await put(blobs, data)
    first, *chunks, last = [part async for part in objects.get(blobs, BOXES, KEY, objects.Span(offset, length))]
    wanted = data[offset : offset + length] if length else data[offset:]
    assert b"".join(chunk for chunk in chunks if isinstance(chunk, bytes)) == wanted
    assert (first, last) == (stored, Trailer(hashlib.sha256(wanted).hexdigest(), len(wanted)))


async def test_an_altered_byte_is_found_by_who_reads_the_part_that_it_is_in(local: StoreBlobs, root: Path) -> None:
    await put(local, content(3 * CHUNK_BYTES))
    [file] = [path for path in root.rglob("*") if path.is_file()]
    sealed = bytearray(file.read_bytes())
    sealed[CHUNK_BYTES + BOXES.overhead_bytes + 10] ^= 1
    file.write_bytes(sealed)
    for offset, damaged in ((0, False), (CHUNK_BYTES, True), (2 * CHUNK_BYTES, False)):
        reading = objects.get(local, BOXES, KEY, objects.Span(offset, 10))
        if damaged:
            with pytest.raises(errors.DataLoss):
                _ = [part async for part in reading]
        else:
            assert len([part async for part in reading]) == 3


async def test_empty_chunks_are_no_matter(blobs: StoreBlobs) -> None:
    async def some() -> AsyncIterator[Header | bytes | Trailer]:
        for part in (Header(KEY), b"", b"a", b"", b"b", b"", Trailer(hashlib.sha256(b"ab").hexdigest())):
            yield part

    await objects.put(blobs, BOXES, some())
    assert await read(blobs) == b"ab"


async def test_an_object_replaces_the_one_before(blobs: StoreBlobs) -> None:
    await put(blobs, content(3 * CHUNK_BYTES))
    await put(blobs, b"new")
    assert await read(blobs) == b"new"


@pytest.mark.parametrize("call", [objects.head, lambda *given: anext(objects.get(*given))])
async def test_an_object_that_is_not_there(blobs: StoreBlobs, call: Callable[..., Awaitable[object]]) -> None:
    with pytest.raises(errors.NotFound, match=r"no object none/such") as refused:
        await call(blobs, BOXES, "none/such")
    assert refused.value.reason == "OBJECT_NOT_FOUND"


async def test_a_deleted_object_is_gone_and_deleting_again_is_no_error(blobs: StoreBlobs) -> None:
    await put(blobs, b"x")
    await objects.delete(blobs, KEY)
    await objects.delete(blobs, KEY)
    with pytest.raises(errors.NotFound):
        await objects.head(blobs, BOXES, KEY)


async def test_keys_are_apart(blobs: StoreBlobs) -> None:
    keys = ["a", "a/b", "a/b/c", "a.b", "a_b", "x" * 256, "x" * 200, "x" * 201, "x" * 200 + "/y", "a/" + "b" * 254]
    for key in keys:
        await put(blobs, key.encode(), key)
    for key in keys:
        assert await read(blobs, key) == key.encode()


async def test_other_bytes_than_the_trailer_says_are_refused(blobs: StoreBlobs) -> None:
    async def altered() -> AsyncIterator[Header | bytes | Trailer]:
        async for part in parts(content(3_000_000)):
            yield b"?" + part[1:] if isinstance(part, bytes) else part

    await put(blobs, b"before")
    with pytest.raises(errors.InvalidArgument) as refused:
        await objects.put(blobs, BOXES, altered())
    assert refused.value.reason == "CHECKSUM_MISMATCH"
    assert await read(blobs) == b"before"


WRONG: dict[str, list[Header | bytes | Trailer]] = {
    "nothing": [],
    "no header": [b"x"],
    "no trailer": [Header(KEY), content(3_000_000)],
    "two headers": [Header(KEY), b"x", Header(KEY)],
    "more after the trailer": [Header(KEY), Trailer(hashlib.sha256(b"").hexdigest()), b"x"],
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_put_in_another_order_stores_nothing(blobs: StoreBlobs, root: Path, wrong: str) -> None:
    async def some() -> AsyncIterator[Header | bytes | Trailer]:
        for part in WRONG[wrong]:
            yield part

    with pytest.raises(errors.InvalidArgument) as refused:
        await objects.put(blobs, BOXES, some())
    assert refused.value.reason == "REQUEST_INVALID"
    with pytest.raises(errors.NotFound):
        await objects.head(blobs, BOXES, KEY)
    assert files(root) == []


async def test_nothing_is_seen_of_a_put_that_goes_on_and_nothing_is_left_of_one_that_is_cut(
    local: StoreBlobs, root: Path
) -> None:
    written, never = asyncio.Event(), asyncio.Event()

    async def stuck() -> AsyncIterator[Header | bytes | Trailer]:
        yield Header(KEY)
        for number in range(12):
            yield content(1 << 20, number)
        written.set()
        await never.wait()

    await put(local, b"before")
    cut = asyncio.ensure_future(objects.put(local, BOXES, stuck()))
    await written.wait()
    assert await read(local) == b"before"
    assert any("#" in name for name in files(root))
    cut.cancel()
    await asyncio.wait([cut])
    assert await read(local) == b"before"
    await until(lambda: files(root) == ["jobs/vid_1/video.mp4!"])


async def until(true: Callable[[], bool]) -> None:
    """Wait for what obstore does in a thread of its own."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.parametrize("size", [2 << 20, 30 << 20])
async def test_a_full_disk_is_said_and_leaves_nothing(local: StoreBlobs, root: Path, size: int) -> None:
    await put(local, b"before")
    with limit_file_size(1 << 20), pytest.raises(errors.ResourceExhausted) as refused:
        await put(local, content(size))
    assert refused.value.reason == "STORAGE_FULL"
    assert await read(local) == b"before"
    await until(lambda: files(root) == ["jobs/vid_1/video.mp4!"])


async def test_nothing_readable_is_on_the_disk(local: StoreBlobs, root: Path) -> None:
    await put(local, b"a secret sentence " * 100_000)
    assert b"secret sentence" not in (root / f"{KEY}!").read_bytes()


async def found_corrupt(blobs: StoreBlobs, key: str = KEY) -> bytes:
    """The plaintext that a damaged object gives before the damage is found."""
    seen = b""
    with pytest.raises(errors.DataLoss) as found:
        async for part in objects.get(blobs, BOXES, key):
            seen += part if isinstance(part, bytes) else b""
    assert found.value.reason == "DATA_CORRUPT"
    return seen


async def test_an_altered_byte_anywhere_is_found(local: StoreBlobs, root: Path) -> None:
    data = content(2 * CHUNK_BYTES + 5)
    await put(local, data)
    path = root / f"{KEY}!"
    whole = path.read_bytes()
    footer = len(whole) - BOXES.footer_bytes
    places = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 15, CHUNK_BYTES + 16, footer - 1]
    for place in (*places, *range(footer, len(whole))):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        assert data.startswith(await found_corrupt(local))
        if place >= footer:
            with pytest.raises(errors.DataLoss):
                await objects.head(local, BOXES, KEY)


async def test_what_was_cut_extended_or_rearranged_is_found(local: StoreBlobs, root: Path) -> None:
    data = content(3 * CHUNK_BYTES)
    await put(local, data)
    path = root / f"{KEY}!"
    whole = path.read_bytes()
    pitch = CHUNK_BYTES + BOXES.overhead_bytes
    first, second, third, footer = whole[:pitch], whole[pitch : 2 * pitch], whole[2 * pitch : 3 * pitch], whole[-108:]
    assert len(footer) == BOXES.footer_bytes
    for altered in (
        b"",
        whole[:50],
        footer,
        first + second + footer,
        first + third + footer,
        second + first + third + footer,
        first + second + third,
        first + second + third + third + footer,
        whole + b"\0",
        whole[:-1],
        whole + footer,
    ):
        path.write_bytes(altered)
        assert data.startswith(await found_corrupt(local))


async def test_an_object_in_the_place_of_another_is_found(local: StoreBlobs, root: Path) -> None:
    await put(local, b"mine", "a")
    await put(local, b"hers", "b")
    (root / "a!").write_bytes((root / "b!").read_bytes())
    assert await found_corrupt(local, "a") == b""


async def test_another_master_key_is_found(blobs: StoreBlobs) -> None:
    await put(blobs, b"x")
    for master in (MasterKey(bytes(32), 1), MasterKey(bytes(range(32)), 2)):
        with pytest.raises(errors.DataLoss):
            await objects.head(blobs, SealedBoxes(master), KEY)


async def test_an_object_replaced_by_its_like_while_it_is_read_is_read_on(blobs: StoreBlobs) -> None:
    data = content(20 * CHUNK_BYTES)
    await put(blobs, data)
    seen = b""
    async for part in objects.get(blobs, BOXES, KEY):
        if isinstance(part, bytes):
            seen += part
        else:
            await put(blobs, data)
    assert seen == data


@pytest.mark.parametrize("size", [5, 20 * CHUNK_BYTES, 21 * CHUNK_BYTES])
async def test_an_object_replaced_by_another_while_it_is_read_is_no_mixture(blobs: StoreBlobs, size: int) -> None:
    data = content(20 * CHUNK_BYTES)
    await put(blobs, data)
    seen = b""
    with pytest.raises(errors.Unavailable):
        async for part in objects.get(blobs, BOXES, KEY):
            if isinstance(part, bytes):
                seen += part
            else:
                await put(blobs, content(size, seed=2))
    assert data.startswith(seen)


async def test_the_probe_leaves_nothing(local: StoreBlobs, root: Path) -> None:
    await objects.probe(local, BOXES, "one")
    assert files(root) == []


async def test_what_a_dead_process_left_is_swept(local: StoreBlobs, root: Path) -> None:
    await put(local, b"x")
    old, young = root / "jobs" / "vid_1" / "a!#1", root / "b!#1"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (1000.0, 1000.0))
    await sweep(root, before=2000.0)
    assert files(root) == ["b!#1", "jobs/vid_1/video.mp4!"]


async def test_what_can_be_made_again_is_kept_for_as_long_as_it_is_asked_for(root: Path) -> None:
    blobs = StoreBlobs(LocalStore(root))
    keys = ("cache/audio/asked", "cache/audio/forgotten", "jobs/vid_1/video.mp4")
    for key in keys:
        await put(blobs, b"sound", key)
        os.utime(root / f"{key}!", (1000.0, 1000.0))
    await objects.head(blobs, BOXES, "cache/audio/asked")
    await expire(root, before=2000.0)
    assert files(root) == ["cache/audio/asked!", "jobs/vid_1/video.mp4!"]
    with pytest.raises(errors.NotFound):
        await objects.head(blobs, BOXES, "cache/audio/forgotten")

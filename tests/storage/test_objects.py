"""Objects in every store: a read returns exactly the bytes that were put, or an error."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from moneyprinter import errors
from services.storage import objects
from services.storage.blobs import ObstoreBlobs, delete_abandoned
from services.storage.encryption import AesObjectCiphers, MasterKey
from services.storage.lifecycle import expire_cache
from services.storage.objects import CHUNK_BYTES, Header, Object, Trailer
from tests.stored import limit_file_size

CIPHERS = AesObjectCiphers(MasterKey(bytes(range(32)), 1))
KEY = "jobs/vid_1/video.mp4"


def content(size_bytes: int, seed: int = 1) -> bytes:
    """Return bytes in which no two chunks are equal."""
    return hashlib.shake_128(b"%d" % seed).digest(size_bytes)


async def parts(data: bytes, key: str = KEY, step: int = 300_000) -> AsyncIterator[Header | bytes | Trailer]:
    yield Header(key)
    for start in range(0, len(data), step):
        yield data[start : start + step]
    yield Trailer(hashlib.sha256(data).hexdigest())


async def put(blobs: objects.Blobs, data: bytes, key: str = KEY, step: int = 300_000) -> Object:
    return await objects.put(blobs, CIPHERS, parts(data, key, step))


async def read(blobs: objects.Blobs, key: str = KEY) -> bytes:
    """Return the bytes of an object, after checks of description and trailer."""
    seen = [part async for part in objects.get(blobs, CIPHERS, key)]
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
async def test_a_get_returns_what_was_put(blobs: ObstoreBlobs, size: int, step: int) -> None:
    data = content(size)
    stored = await put(blobs, data, step=step)
    assert stored == Object(KEY, hashlib.sha256(data).hexdigest(), size)
    assert await objects.head(blobs, CIPHERS, KEY) == stored
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
async def test_a_range_of_an_object_is_read(blobs: ObstoreBlobs, offset: int, length: int) -> None:
    data = content(9 * CHUNK_BYTES + 100)
    stored = await put(blobs, data)
    first, *chunks, last = [part async for part in objects.get(blobs, CIPHERS, KEY, objects.ByteRange(offset, length))]
    expected = data[offset : offset + length] if length else data[offset:]
    assert b"".join(chunk for chunk in chunks if isinstance(chunk, bytes)) == expected
    assert (first, last) == (stored, Trailer(hashlib.sha256(expected).hexdigest(), len(expected)))


async def test_reading_a_range_detects_an_altered_byte_in_it(local: ObstoreBlobs, root: Path) -> None:
    await put(local, content(3 * CHUNK_BYTES))
    [file] = [path for path in root.rglob("*") if path.is_file()]
    encrypted = bytearray(file.read_bytes())
    encrypted[CHUNK_BYTES + CIPHERS.overhead_bytes + 10] ^= 1
    file.write_bytes(encrypted)
    for offset, damaged in ((0, False), (CHUNK_BYTES, True), (2 * CHUNK_BYTES, False)):
        reading = objects.get(local, CIPHERS, KEY, objects.ByteRange(offset, 10))
        if damaged:
            with pytest.raises(errors.DataLoss):
                _ = [part async for part in reading]
        else:
            assert len([part async for part in reading]) == 3


async def test_empty_chunks_are_ignored(blobs: ObstoreBlobs) -> None:
    async def some() -> AsyncIterator[Header | bytes | Trailer]:
        for part in (Header(KEY), b"", b"a", b"", b"b", b"", Trailer(hashlib.sha256(b"ab").hexdigest())):
            yield part

    await objects.put(blobs, CIPHERS, some())
    assert await read(blobs) == b"ab"


async def test_an_object_replaces_the_former_one(blobs: ObstoreBlobs) -> None:
    await put(blobs, content(3 * CHUNK_BYTES))
    await put(blobs, b"new")
    assert await read(blobs) == b"new"


@pytest.mark.parametrize("call", [objects.head, lambda *given: anext(objects.get(*given))])
async def test_an_unknown_key_is_not_found(blobs: ObstoreBlobs, call: Callable[..., Awaitable[object]]) -> None:
    with pytest.raises(errors.NotFound, match=r"no object none/such") as refused:
        await call(blobs, CIPHERS, "none/such")
    assert refused.value.reason == "OBJECT_NOT_FOUND"


async def test_an_object_is_deleted_and_deleting_it_twice_is_no_error(blobs: ObstoreBlobs) -> None:
    await put(blobs, b"x")
    await objects.delete(blobs, KEY)
    await objects.delete(blobs, KEY)
    with pytest.raises(errors.NotFound):
        await objects.head(blobs, CIPHERS, KEY)


async def test_similar_keys_name_different_objects(blobs: ObstoreBlobs) -> None:
    keys = ["a", "a/b", "a/b/c", "a.b", "a_b", "x" * 256, "x" * 200, "x" * 201, "x" * 200 + "/y", "a/" + "b" * 254]
    for key in keys:
        await put(blobs, key.encode(), key)
    for key in keys:
        assert await read(blobs, key) == key.encode()


async def test_a_put_with_a_wrong_checksum_is_refused(blobs: ObstoreBlobs) -> None:
    async def altered() -> AsyncIterator[Header | bytes | Trailer]:
        async for part in parts(content(3_000_000)):
            yield b"?" + part[1:] if isinstance(part, bytes) else part

    await put(blobs, b"before")
    with pytest.raises(errors.InvalidArgument) as refused:
        await objects.put(blobs, CIPHERS, altered())
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
async def test_a_put_with_parts_in_a_wrong_order_stores_nothing(blobs: ObstoreBlobs, root: Path, wrong: str) -> None:
    async def some() -> AsyncIterator[Header | bytes | Trailer]:
        for part in WRONG[wrong]:
            yield part

    with pytest.raises(errors.InvalidArgument) as refused:
        await objects.put(blobs, CIPHERS, some())
    assert refused.value.reason == "REQUEST_INVALID"
    with pytest.raises(errors.NotFound):
        await objects.head(blobs, CIPHERS, KEY)
    assert files(root) == []


async def test_a_running_put_is_invisible_and_a_cancelled_put_leaves_nothing(local: ObstoreBlobs, root: Path) -> None:
    written, never = asyncio.Event(), asyncio.Event()

    async def stuck() -> AsyncIterator[Header | bytes | Trailer]:
        yield Header(KEY)
        for number in range(12):
            yield content(1 << 20, number)
        written.set()
        await never.wait()

    await put(local, b"before")
    cut = asyncio.ensure_future(objects.put(local, CIPHERS, stuck()))
    await written.wait()
    assert await read(local) == b"before"
    assert any("#" in name for name in files(root))
    cut.cancel()
    await asyncio.wait([cut])
    assert await read(local) == b"before"
    await wait_until(lambda: files(root) == ["jobs/vid_1/video.mp4!"])


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what obstore does in a thread of its own."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.parametrize("size", [2 << 20, 30 << 20])
async def test_a_full_disk_is_reported_and_leaves_nothing(local: ObstoreBlobs, root: Path, size: int) -> None:
    await put(local, b"before")
    with limit_file_size(1 << 20), pytest.raises(errors.ResourceExhausted) as refused:
        await put(local, content(size))
    assert refused.value.reason == "STORAGE_FULL"
    assert await read(local) == b"before"
    await wait_until(lambda: files(root) == ["jobs/vid_1/video.mp4!"])


async def test_no_plaintext_is_on_the_disk(local: ObstoreBlobs, root: Path) -> None:
    await put(local, b"a secret sentence " * 100_000)
    assert b"secret sentence" not in (root / f"{KEY}!").read_bytes()


async def read_corrupt(blobs: ObstoreBlobs, key: str = KEY) -> bytes:
    """Return the plaintext that reading a damaged object yields before the damage is detected."""
    seen = b""
    with pytest.raises(errors.DataLoss) as found:
        async for part in objects.get(blobs, CIPHERS, key):
            seen += part if isinstance(part, bytes) else b""
    assert found.value.reason == "DATA_CORRUPT"
    return seen


async def test_every_altered_byte_is_detected(local: ObstoreBlobs, root: Path) -> None:
    data = content(2 * CHUNK_BYTES + 5)
    await put(local, data)
    path = root / f"{KEY}!"
    whole = path.read_bytes()
    footer = len(whole) - CIPHERS.footer_bytes
    places = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 15, CHUNK_BYTES + 16, footer - 1]
    for place in (*places, *range(footer, len(whole))):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        assert data.startswith(await read_corrupt(local))
        if place >= footer:
            with pytest.raises(errors.DataLoss):
                await objects.head(local, CIPHERS, KEY)


async def test_truncation_extension_and_reordering_are_detected(local: ObstoreBlobs, root: Path) -> None:
    data = content(3 * CHUNK_BYTES)
    await put(local, data)
    path = root / f"{KEY}!"
    whole = path.read_bytes()
    stride = CHUNK_BYTES + CIPHERS.overhead_bytes
    first, second, third, footer = (
        whole[:stride],
        whole[stride : 2 * stride],
        whole[2 * stride : 3 * stride],
        whole[-108:],
    )
    assert len(footer) == CIPHERS.footer_bytes
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
        assert data.startswith(await read_corrupt(local))


async def test_an_object_in_the_place_of_another_is_detected(local: ObstoreBlobs, root: Path) -> None:
    await put(local, b"mine", "a")
    await put(local, b"hers", "b")
    (root / "a!").write_bytes((root / "b!").read_bytes())
    assert await read_corrupt(local, "a") == b""


async def test_another_master_key_is_detected(blobs: ObstoreBlobs) -> None:
    await put(blobs, b"x")
    for master in (MasterKey(bytes(32), 1), MasterKey(bytes(range(32)), 2)):
        with pytest.raises(errors.DataLoss):
            await objects.head(blobs, AesObjectCiphers(master), KEY)


class TwoMasterKeys:
    """A master key that was rotated once."""

    current = MasterKey(bytes(32), 2)

    def find(self, version: int) -> MasterKey | None:
        return {1: MasterKey(bytes(range(32)), 1), 2: self.current}.get(version)


async def test_objects_of_an_earlier_master_key_stay_readable(blobs: ObstoreBlobs) -> None:
    await put(blobs, b"old")
    rotated = AesObjectCiphers(TwoMasterKeys())
    assert (await objects.head(blobs, rotated, KEY)).size_bytes == 3
    assert rotated.create(KEY).footer(bytes(32), 0)[4:8] == (2).to_bytes(4)


async def test_a_read_continues_when_the_object_is_replaced_by_the_same_bytes(blobs: ObstoreBlobs) -> None:
    data = content(20 * CHUNK_BYTES)
    await put(blobs, data)
    seen = b""
    async for part in objects.get(blobs, CIPHERS, KEY):
        if isinstance(part, bytes):
            seen += part
        else:
            await put(blobs, data)
    assert seen == data


@pytest.mark.parametrize("size", [5, 20 * CHUNK_BYTES, 21 * CHUNK_BYTES])
async def test_a_read_fails_when_the_object_is_replaced_by_other_bytes(blobs: ObstoreBlobs, size: int) -> None:
    data = content(20 * CHUNK_BYTES)
    await put(blobs, data)
    seen = b""
    with pytest.raises(errors.Unavailable):
        async for part in objects.get(blobs, CIPHERS, KEY):
            if isinstance(part, bytes):
                seen += part
            else:
                await put(blobs, content(size, seed=2))
    assert data.startswith(seen)


async def test_the_probe_leaves_nothing(local: ObstoreBlobs, root: Path) -> None:
    await objects.probe(local, CIPHERS, "one")
    assert files(root) == []


async def test_temporary_files_of_a_dead_process_are_deleted(local: ObstoreBlobs, root: Path) -> None:
    await put(local, b"x")
    old, young = root / "jobs" / "vid_1" / "a!#1", root / "b!#1"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (1000.0, 1000.0))
    await delete_abandoned(root, before=2000.0)
    assert files(root) == ["b!#1", "jobs/vid_1/video.mp4!"]


async def test_objects_of_the_cache_expire_after_their_last_use(local: ObstoreBlobs, root: Path) -> None:
    keys = ("cache/audio/used", "cache/audio/unused", "jobs/vid_1/video.mp4")
    for key in keys:
        await put(local, b"sound", key)
        os.utime(root / f"{key}!", (1000.0, 1000.0))
    await objects.head(local, CIPHERS, "cache/audio/used")
    await expire_cache(local, before=2000.0)
    assert files(root) == ["cache/audio/used!", "jobs/vid_1/video.mp4!"]
    with pytest.raises(errors.NotFound):
        await objects.head(local, CIPHERS, "cache/audio/unused")

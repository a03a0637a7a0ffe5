"""Objects: put, get, describe and delete bytes by key; nothing is seen of an object until all of it is right.

An object is stored as its chunks of plaintext, each sealed, followed by a footer, sealed too, that holds
the object's own key, checksum and size. So a description costs one small read, and is authentic.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from moneyprinter.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from services.storage import fences

# How much plaintext is sealed as one, and travels as one message of a get.
CHUNK_BYTES = 256 * 1024
# How many chunks one step of a thread works on, so that handing over costs little.
BATCH_CHUNKS = 4
BATCH_BYTES = BATCH_CHUNKS * CHUNK_BYTES


@dataclass(frozen=True)
class Object:
    """What is known of an object without reading it."""

    key: str
    sha256: str
    """64 lower-case hexadecimal digits."""
    size_bytes: int


@dataclass(frozen=True)
class Header:
    """Opens a put."""

    key: str


@dataclass(frozen=True)
class Trailer:
    """Ends a put or a get."""

    sha256: str
    """Of all chunks that were sent, or read."""
    size_bytes: int = 0
    """How many bytes were read."""


class Blobs(fences.Blobs, Protocol):
    """Where sealed objects are kept: a folder, memory, or a bucket."""

    async def write(self, name: str, parts: AsyncIterator[bytes]) -> None:
        """Keep all of `parts` under `name`, in place of what was there; nothing of them when `parts` raises."""

    async def tail(self, name: str, length: int) -> tuple[bytes, int]:
        """The last `length` bytes (all, when there are fewer) and the size of all. Raises NotFound."""

    async def read(self, name: str, start: int, length: int) -> bytes | memoryview:
        """The bytes from `start`; fewer than `length` when the blob ends before. Raises NotFound."""

    async def delete(self, name: str) -> None:
        """Forget a blob; no error when there is none."""


class Box(Protocol):
    """Seals and opens the chunks of one object with a key of the object's own."""

    def seal(self, index: int, chunks: Sequence[memoryview], *, last: bool) -> bytes:
        """Seal consecutive chunks, the first being number `index`; `last` when the last one ends the object."""

    def open(self, index: int, sealed: bytes | memoryview, *, last: bool) -> list[bytes]:
        """The chunks that `seal` was given. Raises DataLoss when a byte differs."""

    def footer(self, sha256: bytes, size_bytes: int) -> bytes:
        """Seal the description, and the box's own key."""


class Boxes(Protocol):
    """Makes boxes, bound to the key of their object."""

    overhead_bytes: int
    """How much longer a sealed chunk is."""
    footer_bytes: int
    """How long a footer is."""

    def new(self, key: str) -> Box:
        """A box for a new object."""

    def reopen(self, key: str, footer: bytes) -> tuple[Box, bytes, int]:
        """The box, SHA-256 and size of a stored object. Raises DataLoss when a byte differs."""


async def put(blobs: Blobs, boxes: Boxes, parts: AsyncIterator[Header | bytes | Trailer]) -> Object:
    """Store what `parts` bring: a header, chunks of any size, a trailer. Raises InvalidArgument for anything else.

    Raises FailedPrecondition (WRITER_FENCED) when the work of the writer has ended.
    """
    header = await anext(parts, None)
    if not isinstance(header, Header):
        raise InvalidArgument("a put begins with its header", reason="REQUEST_INVALID")
    await fences.check_writer(blobs, header.key)
    box, digest, size = boxes.new(header.key), hashlib.sha256(), 0

    def seal(index: int, data: bytes, *, last: bool) -> bytes:
        digest.update(data)
        view = memoryview(data)
        chunks = [view[start : start + CHUNK_BYTES] for start in range(0, max(1, len(data)), CHUNK_BYTES)]
        return box.seal(index, chunks, last=last)

    async def sealed() -> AsyncIterator[bytes]:
        nonlocal size
        # One batch is sealed while the one before is written and the next one arrives.
        ahead: asyncio.Future[bytes] | None = None
        async for data, trailer in _batches(parts):
            done = await ahead if ahead else b""
            ahead = asyncio.ensure_future(asyncio.to_thread(seal, size // CHUNK_BYTES, data, last=trailer is not None))
            size += len(data)
            if done:
                yield done
            if trailer is not None:
                yield await ahead
                if trailer.sha256 != digest.hexdigest():
                    raise InvalidArgument(
                        f"the {size} bytes that arrived for {header.key} have the SHA-256 {digest.hexdigest()}, not "
                        f"{trailer.sha256}; send them again",
                        reason="CHECKSUM_MISMATCH",
                    )
                yield box.footer(digest.digest(), size)

    await blobs.write(name_of(header.key), sealed())
    try:
        await fences.check_writer(blobs, header.key)
    except FailedPrecondition:
        # The fence was raised while this was written, perhaps after a long stop.
        await blobs.delete(name_of(header.key))
        raise
    return Object(header.key, digest.hexdigest(), size)


async def _batches(parts: AsyncIterator[Header | bytes | Trailer]) -> AsyncIterator[tuple[bytes, Trailer | None]]:
    """The bytes of a put in batches; the last one, and only that, comes with the trailer and may be shorter."""
    held = bytearray()
    async for part in parts:
        match part:
            case bytes():
                held += part
                # More than a batch, since the last one must not be empty when there are bytes.
                while len(held) > BATCH_BYTES:
                    yield bytes(memoryview(held)[:BATCH_BYTES]), None
                    del held[:BATCH_BYTES]
            case Trailer():
                if await anext(parts, None) is not None:
                    raise InvalidArgument("nothing follows the trailer of a put", reason="REQUEST_INVALID")
                yield bytes(held), part
                return
            case _:
                raise InvalidArgument("a put has one header", reason="REQUEST_INVALID")
    raise InvalidArgument("the put ended without its trailer: it was cut; send it again", reason="REQUEST_INVALID")


@dataclass(frozen=True)
class _Stored:
    """A stored object, ready to be read."""

    object: Object
    box: Box
    footer: bytes

    @property
    def chunk_count(self) -> int:
        return _chunk_count(self.object.size_bytes)


async def _find(blobs: Blobs, boxes: Boxes, key: str) -> _Stored:
    try:
        footer, stored_bytes = await blobs.tail(name_of(key), boxes.footer_bytes)
    except NotFound:
        raise NotFound(f"there is no object {key}", reason="OBJECT_NOT_FOUND") from None
    box, sha256, size = boxes.reopen(key, footer)
    if stored_bytes != size + _chunk_count(size) * boxes.overhead_bytes + boxes.footer_bytes:
        raise DataLoss(f"object {key} was cut or extended; restore it from a backup", reason="DATA_CORRUPT")
    return _Stored(Object(key, sha256.hex(), size), box, footer)


def _chunk_count(size_bytes: int) -> int:
    return max(1, -(-size_bytes // CHUNK_BYTES))


async def head(blobs: Blobs, boxes: Boxes, key: str) -> Object:
    """Describe an object. Raises NotFound."""
    return (await _find(blobs, boxes, key)).object


@dataclass(frozen=True)
class Span:
    """A part of an object's bytes."""

    offset: int = 0
    length: int = 0
    """0: up to the end."""

    def of(self, size_bytes: int) -> tuple[int, int]:
        """Where it begins and ends in an object of this size."""
        begin = min(self.offset, size_bytes)
        return begin, min(begin + self.length, size_bytes) if self.length else size_bytes


WHOLE = Span()


async def get(blobs: Blobs, boxes: Boxes, key: str, span: Span = WHOLE) -> AsyncIterator[Object | bytes | Trailer]:
    """Read an object or a part of it: its description, its bytes, a trailer with what was read.

    Raises NotFound, DataLoss.
    """
    stored = await _find(blobs, boxes, key)
    yield stored.object
    begin, end = span.of(stored.object.size_bytes)
    first, beyond = begin // CHUNK_BYTES, -(-end // CHUNK_BYTES)
    digest, size = hashlib.sha256(), 0

    def opened(box: Box, index: int, sealed: bytes | memoryview, *, last: bool) -> list[bytes]:
        wanted = []
        for number, chunk in enumerate(box.open(index, sealed, last=last), index):
            skipped, left = max(0, begin - number * CHUNK_BYTES), end - number * CHUNK_BYTES
            wanted.append(chunk[skipped:left])
            digest.update(wanted[-1])
        return wanted

    async def batch(index: int) -> list[bytes]:
        nonlocal stored
        count = min(BATCH_CHUNKS, beyond - index)
        last = index + count == stored.chunk_count
        pitch = CHUNK_BYTES + boxes.overhead_bytes
        length = (
            stored.object.size_bytes - index * CHUNK_BYTES + count * boxes.overhead_bytes if last else count * pitch
        )
        while True:
            try:
                sealed = await blobs.read(name_of(key), index * pitch, length)
                return await asyncio.to_thread(opened, stored.box, index, sealed, last=last)
            except (DataLoss, NotFound):
                stored = await _replacement(blobs, boxes, stored)

    if begin < end:
        ahead = asyncio.ensure_future(batch(first))
        try:
            for index in range(first, beyond, BATCH_CHUNKS):
                chunks = await ahead
                if index + BATCH_CHUNKS < beyond:
                    ahead = asyncio.ensure_future(batch(index + BATCH_CHUNKS))
                for chunk in chunks:
                    size += len(chunk)
                    yield chunk
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
    if (begin, end) == (0, stored.object.size_bytes) and digest.hexdigest() != stored.object.sha256:
        raise DataLoss(f"object {key} is not what was stored; restore it from a backup", reason="DATA_CORRUPT")
    yield Trailer(digest.hexdigest(), size)


async def _replacement(blobs: Blobs, boxes: Boxes, stored: _Stored) -> _Stored:
    """What took the place of an object while it was read: the same bytes under another key, or we cannot go on."""
    now = await _find(blobs, boxes, stored.object.key)
    if now.footer == stored.footer:
        raise DataLoss(
            f"object {stored.object.key} was altered; restore it from a backup", reason="DATA_CORRUPT"
        ) from None
    if now.object != stored.object:
        raise Unavailable(
            f"object {stored.object.key} was replaced while it was read; read it again", reason="SERVICE_UNAVAILABLE"
        ) from None
    return now


async def delete(blobs: Blobs, key: str) -> None:
    """Delete an object; no error when there is none."""
    await blobs.delete(name_of(key))


async def probe(blobs: Blobs, boxes: Boxes, nonce: str) -> None:
    """Write, read and delete a tiny object, whose key no caller can use. Raises DataLoss, or the error of the store."""
    key = f"probe!/{nonce}"

    async def parts() -> AsyncIterator[Header | bytes | Trailer]:
        yield Header(key)
        yield nonce.encode()
        yield Trailer(hashlib.sha256(nonce.encode()).hexdigest())

    await put(blobs, boxes, parts())
    try:
        read = [part async for part in get(blobs, boxes, key)]
    finally:
        await delete(blobs, key)
    if read[1:-1] != [nonce.encode()]:
        raise DataLoss("the store does not give back what it was given", reason="DATA_CORRUPT")


async def listed(blobs: Blobs, folder: str) -> AsyncIterator[list[tuple[str, float]]]:
    """The keys of the objects below a folder and when each was stored, in seconds since 1970, some at a time."""
    async for entries in blobs.entries(fences.blob_path(folder)):
        yield [(entry.name.replace("+/", "").removesuffix("!"), entry.store_time) for entry in entries]


def name_of(key: str) -> str:
    """The name of an object's blob.

    Keys may name a blob and a folder of others at once (`a` and `a/b`), and be longer than a file's name
    may be; names may not. The two marks are no characters of keys, so no two keys share a name.
    """
    return fences.blob_path(key) + "!"

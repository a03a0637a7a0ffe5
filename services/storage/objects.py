"""Objects: put, get, describe and delete bytes by key. An object is visible only when all of it was stored.

An object is stored as its chunks, each encrypted, and a footer, encrypted too, that holds the object's own key, its
checksum and its size. So a description takes one small read, and is authentic.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from moneyprinter.errors import Conflict, DataLoss, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from services.storage import fences

# How much plaintext is encrypted as one chunk, and sent as one message of a get.
CHUNK_BYTES = 256 * 1024
# How many chunks one step in a thread handles; fewer would make the hand-over expensive.
BATCH_CHUNKS = 4
BATCH_BYTES = BATCH_CHUNKS * CHUNK_BYTES
# How many chunks one request reads, but for the first request, whose bytes a client waits for. In a bucket, a request
# takes milliseconds, whatever its length: with requests of BATCH_BYTES a download had a fifth of the throughput of one
# that obstore streams.
READ_CHUNKS = 16
# How many requests of a download run at once.
READS_AHEAD = 2

# No caller can use such a key.
_MARKER = "platform!/marker"


@dataclass(frozen=True)
class Object:
    """The description of an object."""

    key: str
    sha256: str
    """64 lower-case hexadecimal digits."""
    size_bytes: int


@dataclass(frozen=True)
class Header:
    """Begins a put."""

    key: str
    only_new: bool = False
    """Whether the object must not exist yet."""


@dataclass(frozen=True)
class Trailer:
    """Ends a put or a get."""

    sha256: str
    """Of all bytes that were sent, or read."""
    size_bytes: int = 0
    """How many bytes were read; unused in a put."""


class Blobs(fences.Blobs, Protocol):
    """The store of encrypted objects: a folder, memory, or a bucket."""

    async def write(self, name: str, parts: AsyncIterator[bytes], *, only_new: bool = False) -> None:
        """Store all of `parts` under `name`, in place of a former blob; nothing changes when `parts` raises.

        Raises `Conflict` when `only_new` is set and the blob exists, or another writer creates it first.
        """

    async def tail(self, name: str, length: int) -> tuple[bytes, int]:
        """Return the last `length` bytes (or all, when there are fewer) and the size of the blob. Raises `NotFound`."""

    async def read(self, name: str, start: int, length: int) -> bytes | memoryview:
        """Return `length` bytes from `start`, or fewer when the blob ends before. Raises `NotFound`."""

    async def delete(self, name: str) -> None:
        """Delete a blob, if it exists."""


class Cipher(Protocol):
    """Encrypts and decrypts the chunks of one object, with a key of the object's own."""

    def encrypt(self, index: int, chunks: Sequence[memoryview], *, last: bool) -> bytes:
        """Encrypt consecutive chunks, the first being number `index`; `last` when they end the object."""

    def decrypt(self, index: int, encrypted: bytes | memoryview, *, last: bool) -> list[bytes]:
        """Return the chunks that `encrypt` was given. Raises `DataLoss` when a byte was altered."""

    def footer(self, sha256: bytes, size_bytes: int) -> bytes:
        """Return the encrypted footer, with the object's own key, checksum and size."""


class Ciphers(Protocol):
    """Makes the ciphers of objects, each bound to the key of its object."""

    overhead_bytes: int
    """How many bytes an encrypted chunk is longer than its plaintext."""
    footer_bytes: int
    """The length of a footer."""

    def create(self, key: str) -> Cipher:
        """Return the cipher of a new object."""

    def open(self, key: str, footer: bytes) -> tuple[Cipher, bytes, int]:
        """Return the cipher, SHA-256 and size of a stored object. Raises `DataLoss` when its footer was altered."""


async def put(blobs: Blobs, ciphers: Ciphers, parts: AsyncIterator[Header | bytes | Trailer]) -> Object:
    """Store an object from `parts`: a header, chunks of any size, a trailer.

    Raises `InvalidArgument` when the parts come in another order or do not match the trailer's checksum,
    `FailedPrecondition` (WRITER_FENCED) when the writer was fenced off, and `Conflict` when the object must be new and
    exists.
    """
    header = await anext(parts, None)
    if not isinstance(header, Header):
        raise InvalidArgument("a put begins with its header", reason="REQUEST_INVALID")
    await fences.check_writer(blobs, header.key)
    cipher, digest, size = ciphers.create(header.key), hashlib.sha256(), 0

    def encrypt(index: int, data: bytes, *, last: bool) -> bytes:
        digest.update(data)
        view = memoryview(data)
        chunks = [view[start : start + CHUNK_BYTES] for start in range(0, max(1, len(data)), CHUNK_BYTES)]
        return cipher.encrypt(index, chunks, last=last)

    async def encrypt_chunks() -> AsyncIterator[bytes]:
        nonlocal size
        # One batch is encrypted while the one before is written and the next one arrives.
        ahead: asyncio.Future[bytes] | None = None
        async for data, trailer in _batches(parts):
            done = await ahead if ahead else b""
            ahead = asyncio.ensure_future(
                asyncio.to_thread(encrypt, size // CHUNK_BYTES, data, last=trailer is not None)
            )
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
                yield cipher.footer(digest.digest(), size)

    await blobs.write(blob_name(header.key), encrypt_chunks(), only_new=header.only_new)
    try:
        await fences.check_writer(blobs, header.key)
    except FailedPrecondition:
        # The fence was raised during the write, for instance while the writer's process was stopped.
        await blobs.delete(blob_name(header.key))
        raise
    return Object(header.key, digest.hexdigest(), size)


async def _batches(parts: AsyncIterator[Header | bytes | Trailer]) -> AsyncIterator[tuple[bytes, Trailer | None]]:
    """Yield the bytes of a put in batches. Only the last batch comes with the trailer, and may be shorter."""
    buffer = bytearray()
    async for part in parts:
        match part:
            case bytes():
                buffer += part
                # `>`: the last batch must not be empty when there are bytes.
                while len(buffer) > BATCH_BYTES:
                    yield bytes(memoryview(buffer)[:BATCH_BYTES]), None
                    del buffer[:BATCH_BYTES]
            case Trailer():
                if await anext(parts, None) is not None:
                    raise InvalidArgument("nothing follows the trailer of a put", reason="REQUEST_INVALID")
                yield bytes(buffer), part
                return
            case _:
                raise InvalidArgument("a put has one header", reason="REQUEST_INVALID")
    raise InvalidArgument("the put ended without its trailer: it was cut; send it again", reason="REQUEST_INVALID")


@dataclass(frozen=True)
class _Stored:
    """A stored object, ready to be read."""

    object: Object
    cipher: Cipher
    footer: bytes

    @property
    def chunk_count(self) -> int:
        return _chunk_count(self.object.size_bytes)


async def _find(blobs: Blobs, ciphers: Ciphers, key: str) -> _Stored:
    try:
        footer, stored_bytes = await blobs.tail(blob_name(key), ciphers.footer_bytes)
    except NotFound:
        raise NotFound(f"there is no object {key}", reason="OBJECT_NOT_FOUND") from None
    cipher, sha256, size = ciphers.open(key, footer)
    if stored_bytes != size + _chunk_count(size) * ciphers.overhead_bytes + ciphers.footer_bytes:
        raise DataLoss(f"object {key} was cut or extended; restore it from a backup", reason="DATA_CORRUPT")
    return _Stored(Object(key, sha256.hex(), size), cipher, footer)


def _chunk_count(size_bytes: int) -> int:
    return max(1, -(-size_bytes // CHUNK_BYTES))


async def head(blobs: Blobs, ciphers: Ciphers, key: str) -> Object:
    """Return the description of an object. Raises `NotFound`."""
    return (await _find(blobs, ciphers, key)).object


@dataclass(frozen=True)
class ByteRange:
    """A range of an object's bytes."""

    offset: int = 0
    length: int = 0
    """0: to the end of the object."""

    def resolve(self, size_bytes: int) -> tuple[int, int]:
        """Return where the range begins and ends in an object of this size."""
        begin = min(self.offset, size_bytes)
        return begin, min(begin + self.length, size_bytes) if self.length else size_bytes


WHOLE = ByteRange()


async def get(
    blobs: Blobs, ciphers: Ciphers, key: str, byte_range: ByteRange = WHOLE
) -> AsyncIterator[Object | bytes | Trailer]:
    """Yield the description of an object, its bytes (or a range of them), and a trailer with the checksum of the bytes.

    Raises `NotFound`, `DataLoss` when the object was altered, and `Unavailable` when it was replaced by other bytes
    while it was read.
    """
    stored = await _find(blobs, ciphers, key)
    yield stored.object
    begin, end = byte_range.resolve(stored.object.size_bytes)
    first, end_chunk = begin // CHUNK_BYTES, -(-end // CHUNK_BYTES)
    digest, size = hashlib.sha256(), 0

    def decrypt(cipher: Cipher, index: int, encrypted: bytes | memoryview, *, last: bool) -> list[bytes]:
        selected = []
        for number, chunk in enumerate(cipher.decrypt(index, encrypted, last=last), index):
            start, stop = max(0, begin - number * CHUNK_BYTES), end - number * CHUNK_BYTES
            selected.append(chunk[start:stop])
            digest.update(selected[-1])
        return selected

    async def fetch(index: int, count: int) -> tuple[_Stored, bytes | memoryview]:
        """Read consecutive chunks. Returns them with the description that they were read for."""
        stride, source = CHUNK_BYTES + ciphers.overhead_bytes, stored
        ends = index + count == source.chunk_count
        length = source.object.size_bytes - index * CHUNK_BYTES + count * ciphers.overhead_bytes
        return source, await blobs.read(blob_name(key), index * stride, length if ends else count * stride)

    async def open_next() -> list[bytes]:
        """Return the chunks of the oldest request, decrypted; none behind the last one."""
        nonlocal stored
        if not requests:
            return []
        (index, count), request = requests.popleft()
        send_next()
        while True:
            try:
                source, encrypted = await request
                if source is stored:
                    last = index + count == stored.chunk_count
                    return await asyncio.to_thread(decrypt, stored.cipher, index, encrypted, last=last)
            except (DataLoss, NotFound):
                stored = await _find_replacement(blobs, ciphers, stored)
            # The object was replaced, and the request may have read the former bytes.
            request = asyncio.ensure_future(fetch(index, count))

    def send_next() -> None:
        """Send the next request, if there is one."""
        if span := next(spans, None):
            requests.append((span, asyncio.ensure_future(fetch(*span))))

    requests: deque[tuple[tuple[int, int], asyncio.Future[tuple[_Stored, bytes | memoryview]]]] = deque()
    spans = _spans(first, end_chunk) if begin < end else iter(())
    for _ in range(READS_AHEAD):
        send_next()
    ahead = asyncio.ensure_future(open_next())
    try:
        while chunks := await ahead:
            ahead = asyncio.ensure_future(open_next())
            for chunk in chunks:
                size += len(chunk)
                yield chunk
    finally:
        running: list[asyncio.Future[Any]] = [ahead, *(request for _, request in requests)]
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if (begin, end) == (0, stored.object.size_bytes) and digest.hexdigest() != stored.object.sha256:
        raise DataLoss(f"object {key} is not what was stored; restore it from a backup", reason="DATA_CORRUPT")
    yield Trailer(digest.hexdigest(), size)


def _spans(first: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the first chunk and the number of chunks of each request that reads the chunks up to `end`."""
    count = BATCH_CHUNKS
    while first < end:
        yield first, min(count, end - first)
        first, count = first + count, READ_CHUNKS


async def _find_replacement(blobs: Blobs, ciphers: Ciphers, stored: _Stored) -> _Stored:
    """Return what replaced an object while it was read, if it has the same bytes, encrypted with another key.

    Raises `DataLoss` when nothing replaced it, `Unavailable` when the bytes differ.
    """
    current = await _find(blobs, ciphers, stored.object.key)
    if current.footer == stored.footer:
        raise DataLoss(
            f"object {stored.object.key} was altered; restore it from a backup", reason="DATA_CORRUPT"
        ) from None
    if current.object != stored.object:
        raise Unavailable(
            f"object {stored.object.key} was replaced while it was read; read it again", reason="SERVICE_UNAVAILABLE"
        ) from None
    return current


async def delete(blobs: Blobs, key: str) -> None:
    """Delete an object, if it exists."""
    await blobs.delete(blob_name(key))


async def probe(blobs: Blobs, ciphers: Ciphers, nonce: str) -> None:
    """Write, read and delete a tiny object with a key that no caller can use.

    Raises `DataLoss`, or an error of the store.
    """
    key = f"probe!/{nonce}"

    async def parts() -> AsyncIterator[Header | bytes | Trailer]:
        yield Header(key)
        yield nonce.encode()
        yield Trailer(hashlib.sha256(nonce.encode()).hexdigest())

    await put(blobs, ciphers, parts())
    try:
        read = [part async for part in get(blobs, ciphers, key)]
    finally:
        await delete(blobs, key)
    if read[1:-1] != [nonce.encode()]:
        raise DataLoss("the store does not return what was stored", reason="DATA_CORRUPT")


async def claim_store(blobs: Blobs, ciphers: Ciphers) -> None:
    """Mark a store as one of this platform, whose master key no other has; the first replica does it.

    Raises `DataLoss` when the store is another platform's.
    """
    marker = b"The objects of a platform of MoneyPrinter."

    async def parts() -> AsyncIterator[Header | bytes | Trailer]:
        yield Header(_MARKER, only_new=True)
        yield marker
        yield Trailer(hashlib.sha256(marker).hexdigest())

    try:
        await head(blobs, ciphers, _MARKER)
    except NotFound:
        with suppress(Conflict):
            await put(blobs, ciphers, parts())
        await head(blobs, ciphers, _MARKER)


async def list_keys(blobs: Blobs, folder: str) -> AsyncIterator[list[tuple[str, float]]]:
    """Yield batches of the keys of the objects below a folder, each with its time of storage in seconds since 1970."""
    async for entries in blobs.entries(fences.blob_path(folder)):
        yield [(key_of_blob(entry.name), entry.store_time) for entry in entries]


def blob_name(key: str) -> str:
    """Return the name of an object's blob.

    A key may be a prefix of others (`a` and `a/b`), and longer than the name of a file; the name of a blob may not.
    Keys contain neither `!` nor `+`, so no two keys share a name.
    """
    return fences.blob_path(key) + "!"


def key_of_blob(name: str) -> str:
    """Return the key of the object whose blob has a name."""
    return name.replace("+/", "").removesuffix("!")

"""Objects: stores files in StorageService and reads them back in chunks, with checksums at both ends."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import grpc

from moneyprinter import errors
from moneyprinter.media.v1 import media_pb2
from moneyprinter.storage.v1 import storage_service_pb2 as pb
from moneyprinter.storage.v1 import storage_service_pb2_grpc as pb_grpc

# The size of chunks, at most what the contract allows.
STEP_BYTES = 1024 * 1024


class Objects:
    """A client of StorageService, on a channel whose calls raise typed errors."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._storage = pb_grpc.StorageServiceStub(channel)

    async def head(self, key: str) -> media_pb2.Object | None:
        """Return the description of an object, or None when there is none."""
        try:
            return (await self._storage.HeadObject(pb.HeadObjectRequest(key=key))).object
        except errors.NotFound:
            return None

    async def put(self, key: str, chunks: AsyncIterable[bytes]) -> media_pb2.Object:
        """Store the bytes of `chunks` (each at most 1 MiB) under `key`. Raises what `chunks` raises."""
        digest = hashlib.sha256()

        async def hash_chunks() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                digest.update(chunk)
                yield chunk

        return await self._put(key, hash_chunks(), digest)

    async def put_file(
        self, key: str, path: Path, before_end: Callable[[], Awaitable[object]] | None = None
    ) -> media_pb2.Object:
        """Store a file under `key`.

        `before_end` runs when all bytes are sent; the object exists once it has returned, and not when it raises.
        """
        digest = hashlib.sha256()

        def read(file: BinaryIO) -> bytes:
            chunk = file.read(STEP_BYTES)
            digest.update(chunk)
            return chunk

        async def chunks() -> AsyncIterator[bytes]:
            with path.open("rb") as file:
                # The next chunk is read while the previous one is sent.
                ahead = asyncio.ensure_future(asyncio.to_thread(read, file))
                try:
                    while chunk := await ahead:
                        ahead = asyncio.ensure_future(asyncio.to_thread(read, file))
                        yield chunk
                finally:
                    await asyncio.wait([ahead])
            if before_end is not None:
                await before_end()

        return await self._put(key, chunks(), digest)

    async def put_bytes(self, key: str, data: bytes) -> media_pb2.Object:
        """Store bytes under `key`."""

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(data), STEP_BYTES):
                yield data[start : start + STEP_BYTES]

        return await self.put(key, chunks())

    async def _put(self, key: str, chunks: AsyncIterator[bytes], digest: hashlib._Hash) -> media_pb2.Object:
        """Store `chunks`, which update `digest` as they are read. Raises what `chunks` raises."""
        failures: list[Exception] = []

        async def requests() -> AsyncIterator[pb.PutObjectRequest]:
            yield pb.PutObjectRequest(header=pb.PutObjectRequest.Header(key=key))
            try:
                async for chunk in chunks:
                    yield pb.PutObjectRequest(chunk=chunk)
            except Exception as failure:
                failures.append(failure)
                raise
            yield pb.PutObjectRequest(trailer=pb.PutObjectRequest.Trailer(sha256=digest.hexdigest()))

        try:
            return (await self._storage.PutObject(requests())).object
        except (errors.Error, asyncio.CancelledError):
            # gRPC cancels a call whose request iterator raises, and drops the exception.
            if failures:
                raise failures[0] from None
            raise

    async def get(self, key: str, offset: int = 0, length: int = 0) -> AsyncIterator[bytes]:
        """Yield an object in chunks, or `length` bytes of it from `offset` on (0: up to its end).

        Raises `NotFound` when there is none, and `DataLoss` at the end when the bytes differ from the stored ones.
        """
        digest = hashlib.sha256()
        async for part in self._get(key, offset, length):
            if isinstance(part, bytes):
                digest.update(part)
                yield part
            elif part.sha256 != digest.hexdigest():
                raise _damage_error(key)

    async def get_bytes(self, key: str, offset: int = 0, length: int = 0) -> bytes:
        """Return the bytes of a small object, or of a range of one. Raises as `get` does."""
        return b"".join([chunk async for chunk in self.get(key, offset, length)])

    async def get_piece(self, source: media_pb2.Object, offset: int, length: int) -> bytes:
        """Return a range of the exact object version `source`. Raises `DataLoss` when it was replaced."""
        found = [part async for part in self._get(source.key, offset, length, source.sha256) if isinstance(part, bytes)]
        return b"".join(found)

    async def get_file(self, source: media_pb2.Object, path: Path) -> None:
        """Write the exact object version `source` to a new file. Raises `DataLoss` when it was replaced."""
        digest = hashlib.sha256()

        def write(file: BinaryIO, chunks: Sequence[bytes]) -> None:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)

        with path.open("xb") as file:
            # Chunks are written while the next ones arrive.
            behind, held = asyncio.ensure_future(asyncio.sleep(0)), list[bytes]()
            try:
                async for part in self._get(source.key):
                    if isinstance(part, bytes):
                        held.append(part)
                    if not isinstance(part, bytes) or len(held) * len(held[0]) >= STEP_BYTES:
                        await behind
                        behind, held = asyncio.ensure_future(asyncio.to_thread(write, file, held)), []
                await behind
            finally:
                await asyncio.wait([behind])
        if digest.hexdigest() != source.sha256:
            raise _replacement_error(source.key)

    async def _get(
        self, key: str, offset: int = 0, length: int = 0, sha256: str = ""
    ) -> AsyncIterator[bytes | pb.GetObjectResponse.Trailer]:
        """Yield the chunks of an object or of a range of it, then its trailer.

        Raises `DataLoss` when the stream was cut, or the whole object does not have the checksum `sha256`.
        """
        size, trailer = 0, None
        async for message in self._storage.GetObject(pb.GetObjectRequest(key=key, offset=offset, length=length)):
            match message.WhichOneof("part"):
                case "object" if sha256 and message.object.sha256 != sha256:
                    raise _replacement_error(key)
                case "chunk":
                    size += len(message.chunk)
                    yield message.chunk
                case "trailer":
                    trailer = message.trailer
        if trailer is None or trailer.size_bytes != size:
            raise _damage_error(key)
        yield trailer

    async def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        await self._storage.DeleteObject(pb.DeleteObjectRequest(key=key))

    async def list_keys(self, folder: str) -> AsyncIterator[Sequence[tuple[str, float]]]:
        """Yield batches of the keys below a folder, each with its store time in seconds since 1970."""
        async for message in self._storage.ListObjects(pb.ListObjectsRequest(folder=folder)):
            yield [(entry.key, float(entry.store_time.seconds)) for entry in message.entries]

    async def fence(self, folder: str, up_to: int) -> None:
        """Delete the objects of a folder's writers up to a number, and reject later writes of these writers."""
        await self._storage.FenceFolder(pb.FenceFolderRequest(folder=folder, up_to=up_to))


def _damage_error(key: str) -> errors.DataLoss:
    return errors.DataLoss(
        f"object {key} arrived with bytes that differ from the stored ones; read it again",
        reason="CHECKSUM_MISMATCH",
    )


def _replacement_error(key: str) -> errors.DataLoss:
    return errors.DataLoss(
        f"object {key} is not the requested version: it was replaced meanwhile", reason="CHECKSUM_MISMATCH"
    )

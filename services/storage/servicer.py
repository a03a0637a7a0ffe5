"""Servicer: StorageService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from moneyprinter.media.v1 import media_pb2
from moneyprinter.storage.v1 import storage_service_pb2 as pb
from moneyprinter.storage.v1 import storage_service_pb2_grpc as pb_grpc
from services.storage import fences, objects
from services.storage.damage import DamageMonitor
from services.storage.objects import Blobs, Ciphers, Header, Object, Trailer


class StorageServicer(pb_grpc.StorageServiceServicer):
    """Implements StorageService."""

    def __init__(self, blobs: Blobs, ciphers: Ciphers, damage: DamageMonitor) -> None:
        self._blobs = blobs
        self._ciphers = ciphers
        self._damage = damage

    async def PutObject(self, requests: AsyncIterator[pb.PutObjectRequest], context: Any) -> pb.PutObjectResponse:
        stored = await objects.put(self._blobs, self._ciphers, _parts(requests))
        return pb.PutObjectResponse(object=_object_message(stored))

    async def GetObject(self, request: pb.GetObjectRequest, context: Any) -> AsyncIterator[pb.GetObjectResponse]:
        byte_range = objects.ByteRange(request.offset, request.length)
        async with self._damage.watch(request.key):
            async for part in objects.get(self._blobs, self._ciphers, request.key, byte_range):
                yield _response(part)

    async def HeadObject(self, request: pb.HeadObjectRequest, context: Any) -> pb.HeadObjectResponse:
        async with self._damage.watch(request.key):
            return pb.HeadObjectResponse(
                object=_object_message(await objects.head(self._blobs, self._ciphers, request.key))
            )

    async def ListObjects(self, request: pb.ListObjectsRequest, context: Any) -> AsyncIterator[pb.ListObjectsResponse]:
        async for batch in objects.list_keys(self._blobs, request.folder):
            response = pb.ListObjectsResponse()
            for key, store_time in batch:
                response.entries.add(key=key).store_time.FromSeconds(int(store_time))
            yield response

    async def FenceFolder(self, request: pb.FenceFolderRequest, context: Any) -> pb.FenceFolderResponse:
        await fences.raise_fence(self._blobs, request.folder, request.up_to)
        return pb.FenceFolderResponse()

    async def DeleteObject(self, request: pb.DeleteObjectRequest, context: Any) -> pb.DeleteObjectResponse:
        await objects.delete(self._blobs, request.key)
        return pb.DeleteObjectResponse()


async def _parts(requests: AsyncIterator[pb.PutObjectRequest]) -> AsyncIterator[Header | bytes | Trailer]:
    async for request in requests:
        match request.WhichOneof("part"):
            case "header":
                yield Header(request.header.key, request.header.only_new)
            case "chunk":
                yield request.chunk
            case "trailer":
                yield Trailer(request.trailer.sha256)


def _response(part: Object | bytes | Trailer) -> pb.GetObjectResponse:
    match part:
        case Object():
            return pb.GetObjectResponse(object=_object_message(part))
        case Trailer():
            trailer = pb.GetObjectResponse.Trailer(sha256=part.sha256, size_bytes=part.size_bytes)
            return pb.GetObjectResponse(trailer=trailer)
        case _:
            return pb.GetObjectResponse(chunk=part)


def _object_message(described: Object) -> media_pb2.Object:
    return media_pb2.Object(key=described.key, sha256=described.sha256, size_bytes=described.size_bytes)

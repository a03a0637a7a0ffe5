"""The edge of the concatenation service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from moneyprinter.concatenation.v1 import concatenation_service_pb2 as pb
from moneyprinter.concatenation.v1 import concatenation_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.concatenation.videos import Joiner, Video


class ConcatenationServicer(pb_grpc.ConcatenationServiceServicer):
    """ConcatenationService."""

    def __init__(self, joiner: Joiner[media_pb2.Object]) -> None:
        self._joiner = joiner

    async def Concatenate(self, request: pb.ConcatenateRequest, context: Any) -> AsyncIterator[pb.ConcatenateResponse]:
        async with aclosing(self._joiner.join(request.segments)) as updates:
            async for update in updates:
                yield _response(update)


def _response(update: float | Video[media_pb2.Object]) -> pb.ConcatenateResponse:
    if isinstance(update, float):
        return pb.ConcatenateResponse(progress=media_pb2.Progress(fraction=update))
    return pb.ConcatenateResponse(video=pb.JoinedVideo(video=update.stored, frame_count=update.frame_count))

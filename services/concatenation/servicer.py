"""Servicer: the edge of the concatenation service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from moneyprinter.concatenation.v1 import concatenation_service_pb2 as pb
from moneyprinter.concatenation.v1 import concatenation_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.concatenation.videos import Joiner
from services.runtime.progress import OnProgress, stream_progress


class ConcatenationServicer(pb_grpc.ConcatenationServiceServicer):
    """ConcatenationService."""

    def __init__(self, joiner: Joiner[media_pb2.Object]) -> None:
        self._joiner = joiner

    async def Concatenate(self, request: pb.ConcatenateRequest, context: Any) -> AsyncIterator[pb.ConcatenateResponse]:
        async def join(on_progress: OnProgress) -> pb.ConcatenateResponse:
            video = await self._joiner.join(request.segments, on_progress)
            return pb.ConcatenateResponse(video=pb.JoinedVideo(video=video.stored, frame_count=video.frame_count))

        async with aclosing(stream_progress(join, _progress)) as responses:
            async for response in responses:
                yield response


def _progress(fraction: float) -> pb.ConcatenateResponse:
    return pb.ConcatenateResponse(progress=media_pb2.Progress(fraction=fraction))

"""The edge of the encoder service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from moneyprinter.encoder.v1 import encoder_service_pb2 as pb
from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.encoder.backends import Backends
from services.encoder.codec import Format, Quality
from services.encoder.encoding import Encoder, Packet, Started, Summary

_QUALITIES = {
    media_pb2.QUALITY_DRAFT: Quality.DRAFT,
    media_pb2.QUALITY_STANDARD: Quality.STANDARD,
    media_pb2.QUALITY_HIGH: Quality.HIGH,
}


class EncoderServicer(pb_grpc.EncoderServiceServicer):
    """EncoderService."""

    def __init__(self, encoder: Encoder, backends: Backends) -> None:
        self._encoder = encoder
        self._backends = backends

    async def Encode(
        self, request_iterator: AsyncIterator[pb.EncodeRequest], context: Any
    ) -> AsyncIterator[pb.EncodeResponse]:
        async with aclosing(self._encoder.encode(_parts(request_iterator))) as updates:
            async for update in updates:
                yield _response(update)

    async def ListBackends(self, request: pb.ListBackendsRequest, context: Any) -> pb.ListBackendsResponse:
        working = await self._backends.working()
        return pb.ListBackendsResponse(
            backends=[pb.Backend(name=backend.name, hardware=backend.hardware) for backend in working]
        )


async def _parts(requests: AsyncIterator[pb.EncodeRequest]) -> AsyncIterator[Format | bytes]:
    async for request in requests:
        yield _format(request.format) if request.HasField("format") else request.chunk


def _format(format: pb.Format) -> Format:
    canvas = format.canvas
    return Format(canvas.width, canvas.height, canvas.frames_per_second, _QUALITIES[format.quality])


def _response(update: Started | Packet | Summary) -> pb.EncodeResponse:
    match update:
        case Started():
            return pb.EncodeResponse(started=pb.Started(backend=update.backend, extradata=update.extradata))
        case Packet():
            packet = pb.Packet(data=update.data, pts=update.pts, dts=update.dts, keyframe=update.keyframe)
            return pb.EncodeResponse(packet=packet)
        case Summary():
            return pb.EncodeResponse(summary=_summary(update))


def _summary(summary: Summary) -> pb.Summary:
    encode_time = Duration()
    encode_time.FromTimedelta(timedelta(seconds=summary.codec_seconds))
    return pb.Summary(
        frame_count=summary.frame_count,
        packet_count=summary.packet_count,
        sha256=summary.sha256,
        encode_time=encode_time,
    )

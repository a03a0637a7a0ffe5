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
from services.encoder.backends import Backend
from services.encoder.encoding import Accepted, Encoder, Started, Summary, Update
from services.encoder.frames import Format
from services.encoder.load import Load
from services.media.encoding import Codec, Quality
from services.media.flv import Packet

_QUALITIES = {media_pb2.Quality.Value(f"QUALITY_{quality.name}"): quality for quality in Quality}
_CODECS = {media_pb2.Codec.Value(f"CODEC_{codec.name}"): codec for codec in Codec}
_CODEC_VALUES = {codec: value for value, codec in _CODECS.items()}


class EncoderServicer(pb_grpc.EncoderServiceServicer):
    """EncoderService."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    async def Encode(
        self, request_iterator: AsyncIterator[pb.EncodeRequest], context: Any
    ) -> AsyncIterator[pb.EncodeResponse]:
        async with aclosing(self._encoder.encode(_read_parts(request_iterator))) as updates:
            async for update in updates:
                yield _to_response(update)

    async def GetLoad(self, request: pb.GetLoadRequest, context: Any) -> pb.GetLoadResponse:
        available, load = await self._encoder.backends.list_all(), self._encoder.load
        return pb.GetLoadResponse(
            slots=load.slots, free_slots=load.free_slots, backends=[_to_backend(backend, load) for backend in available]
        )


async def _read_parts(requests: AsyncIterator[pb.EncodeRequest]) -> AsyncIterator[Format | bytes]:
    async for request in requests:
        yield _to_format(request.format) if request.HasField("format") else request.chunk


def _to_format(format: pb.Format) -> Format:
    canvas = format.canvas
    quality, codec = _QUALITIES[format.quality], _CODECS.get(format.codec, Codec.H264)
    return Format(canvas.width, canvas.height, canvas.frames_per_second, quality, codec, format.backend)


def _to_response(update: Update) -> pb.EncodeResponse:
    match update:
        case Accepted():
            return pb.EncodeResponse(accepted=pb.Accepted())
        case Started():
            return pb.EncodeResponse(started=pb.Started(backend=update.backend, extradata=update.extradata))
        case Packet():
            # Set in place: a message that is passed to another one is copied, which takes 20 ms for 15 MB.
            response = pb.EncodeResponse()
            packet = response.packet
            packet.data, packet.pts, packet.dts, packet.keyframe = update.data, update.pts, update.dts, update.keyframe
            return response
        case Summary():
            return pb.EncodeResponse(summary=_to_summary(update))


def _to_summary(summary: Summary) -> pb.Summary:
    encode_time = Duration()
    encode_time.FromTimedelta(timedelta(seconds=summary.seconds))
    return pb.Summary(
        frame_count=summary.frame_count,
        packet_count=summary.packet_count,
        sha256=summary.sha256,
        encode_time=encode_time,
    )


def _to_backend(backend: Backend, load: Load) -> pb.Backend:
    current = load.backend(backend.name)
    return pb.Backend(
        name=backend.name,
        codec=_CODEC_VALUES[backend.codec],
        hardware=backend.hardware,
        streams=current.streams,
        frame_count=current.frame_count,
        frames_per_second=load.frames_per_second(backend.name),
    )

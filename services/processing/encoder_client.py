"""Encoder client: stream frames to the encoder service when it has a free slot on a GPU."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator

import structlog

from moneyprinter.encoder.v1 import encoder_service_pb2 as pb
from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from moneyprinter.errors import DataLoss, Error
from moneyprinter.media.v1 import media_pb2
from services.media.encoding import Codec, Quality
from services.media.flv import Encoded, Packet, SequenceHeader
from services.processing.streaming import CODECS, Format

# The pause before the next request to an encoder service that failed or has no suitable backend.
RETRY_SECONDS = 30.0
LOAD_TIMEOUT_SECONDS = 2.0

# The names are those of the contract.
_CODECS = {codec: media_pb2.Codec.Value(f"CODEC_{codec.name}") for codec in Codec}
_QUALITIES = {quality: media_pb2.Quality.Value(f"QUALITY_{quality.name}") for quality in Quality}

log = structlog.get_logger()


class GrpcEncoder:
    """The encoder service over gRPC (`streaming.Encoder`)."""

    def __init__(self, stub: pb_grpc.EncoderServiceAsyncStub, *, hardware: bool) -> None:
        self._stub = stub
        self._hardware = hardware
        """Whether only hardware backends are used."""
        self._next_request_time = 0.0

    async def is_free(self, codec: Codec) -> bool:
        if codec not in CODECS or time.monotonic() < self._next_request_time:
            return False
        try:
            load = await self._stub.GetLoad(pb.GetLoadRequest(), timeout=LOAD_TIMEOUT_SECONDS)
        except Error as failure:
            log.info("there is no encoder", reason=failure.reason)
            self._next_request_time = time.monotonic() + RETRY_SECONDS
            return False
        suitable = [backend for backend in load.backends if backend.hardware or not self._hardware]
        if not suitable:
            self._next_request_time = time.monotonic() + RETRY_SECONDS
        return load.free_slots > 0 and any(backend.codec == _CODECS[codec] for backend in suitable)

    async def encode(self, format: Format, frames: AsyncIterator[bytes]) -> AsyncGenerator[Encoded, None]:
        """Encode frames remotely. Raises the encoder's errors, and DataLoss when its stream ends early."""
        accepted = asyncio.Event()

        async def requests() -> AsyncIterator[pb.EncodeRequest]:
            canvas = media_pb2.Canvas(
                width=format.size.width, height=format.size.height, frames_per_second=format.frames_per_second
            )
            yield pb.EncodeRequest(
                format=pb.Format(canvas=canvas, quality=_QUALITIES[format.quality], codec=_CODECS[format.codec])
            )
            # gRPC may lose the reason of a refusal that arrives while the client still sends frames.
            await accepted.wait()
            async for chunk in frames:
                yield pb.EncodeRequest(chunk=chunk)

        call = self._stub.Encode(requests())
        complete = False
        try:
            async for response in call:
                match response.WhichOneof("part"):
                    case "accepted":
                        accepted.set()
                    case "started":
                        yield SequenceHeader(response.started.extradata)
                    case "packet":
                        packet = response.packet
                        yield Packet(packet.data, packet.pts, packet.dts, packet.keyframe)
                    case "summary":
                        complete = True
        finally:
            call.cancel()
        if not complete:
            raise DataLoss("the encoder ended before its summary", reason="RENDER_FAILED")

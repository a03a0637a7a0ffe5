"""Encoders: the encoder service, asked whether it has a GPU that is free, and given frames."""

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

# How long an encoder that has none, or is not there, is left alone.
LEFT_ALONE_SECONDS = 30.0
ANSWER_SECONDS = 2.0

# The contract calls them the same.
_CODECS = {codec: media_pb2.Codec.Value(f"CODEC_{codec.name}") for codec in Codec}
_QUALITIES = {quality: media_pb2.Quality.Value(f"QUALITY_{quality.name}") for quality in Quality}

log = structlog.get_logger()


class MeshEncoder:
    """The encoder service (`streaming.Encoder`)."""

    def __init__(self, stub: pb_grpc.EncoderServiceAsyncStub, *, hardware: bool) -> None:
        self._stub = stub
        self._hardware = hardware
        """Whether only an encoder with a GPU will do."""
        self._ask_again = 0.0

    async def is_free(self, codec: Codec) -> bool:
        if codec not in CODECS or time.monotonic() < self._ask_again:
            return False
        try:
            load = await self._stub.GetLoad(pb.GetLoadRequest(), timeout=ANSWER_SECONDS)
        except Error as failure:
            log.info("there is no encoder", reason=failure.reason)
            self._ask_again = time.monotonic() + LEFT_ALONE_SECONDS
            return False
        good = [backend for backend in load.backends if backend.hardware or not self._hardware]
        if not good:
            self._ask_again = time.monotonic() + LEFT_ALONE_SECONDS
        return load.free_slots > 0 and any(backend.codec == _CODECS[codec] for backend in good)

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
            # A refusal that meets frames on their way may lose its reason.
            await accepted.wait()
            async for chunk in frames:
                yield pb.EncodeRequest(chunk=chunk)

        call = self._stub.Encode(requests())
        ended = False
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
                        ended = True
        finally:
            call.cancel()
        if not ended:
            raise DataLoss("the encoder ended before its summary", reason="RENDER_FAILED")

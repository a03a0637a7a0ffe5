"""Sender: a process that sends frames to an encoder until it is killed, and prints `packet` for each packet.

Arguments: the folder with the certificates, and the port of the encoder.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from moneyprinter.encoder.v1 import encoder_service_pb2 as pb
from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.runtime.config import PORTS, RuntimeConfig
from tests.mesh import Mesh


async def frames() -> AsyncIterator[pb.EncodeRequest]:
    canvas = media_pb2.Canvas(width=320, height=180, frames_per_second=25)
    yield pb.EncodeRequest(format=pb.Format(canvas=canvas, quality=media_pb2.QUALITY_DRAFT))
    while True:
        yield pb.EncodeRequest(chunk=bytes(320 * 180 * 3 // 2))


async def main(certificates: Path, port: int) -> None:
    ports = {**PORTS, "encoder": port}
    async with Mesh(RuntimeConfig(certificates=certificates, ports=ports)) as mesh:
        async for response in mesh.stub(pb_grpc.EncoderServiceStub, caller="processing").Encode(frames()):
            if response.HasField("packet"):
                print("packet", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))

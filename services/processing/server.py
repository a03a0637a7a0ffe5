"""The wiring of the processing service."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as encoder_grpc
from moneyprinter.processing.v1 import processing_service_pb2_grpc as pb_grpc
from services.processing.config import Config
from services.processing.cores import Cores
from services.processing.encoders import MeshEncoder
from services.processing.render import Tool
from services.processing.segments import Studio
from services.processing.servicer import ProcessingServicer
from services.processing.sources import Sources
from services.runtime import children
from services.runtime.config import ConfigError
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve ProcessingService."""
    tool = Tool(
        ffmpeg=runtime.config.ffmpeg,
        version=await children.ffmpeg_version(runtime.config.ffmpeg),
        threads=config.threads_per_render,
        max_pixels=config.max_pixels,
        limits=children.Limits(memory_bytes=config.address_bytes),
        fonts=config.fonts.resolve() if config.fonts else None,
        fonts_sha256=await asyncio.to_thread(_hash, config.fonts) if config.fonts else "",
    )
    objects = runtime.objects()
    encoder = None
    if config.encoders != "none":
        channel = runtime.connect("encoder", "moneyprinter.encoder.v1.EncoderService")
        encoder = MeshEncoder(encoder_grpc.EncoderServiceStub(channel), hardware=config.encoders == "hardware")
    async with runtime.scratch() as folder:
        studio = Studio(
            objects=objects,
            sources=Sources(objects, folder, config.source_bytes),
            scratch=runtime.scratch,
            tool=tool,
            cores=Cores(config.slots, config.threads_per_render, config.memory_bytes),
            encoder=encoder,
        )
        runtime.add(pb_grpc.add_ProcessingServiceServicer_to_server, ProcessingServicer(studio))
        yield


def _hash(fonts: Path) -> str:
    """One hash for all files of a folder: other fonts draw other captions."""
    if not fonts.is_dir():
        raise ConfigError(f"MONEYPRINTER_PROCESSING_FONTS: {fonts} is no folder")
    digest = hashlib.sha256()
    for file in sorted(fonts.iterdir()):
        if file.is_file():
            digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()

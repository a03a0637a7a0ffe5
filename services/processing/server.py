"""Server: the wiring of the processing service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as encoder_grpc
from moneyprinter.processing.v1 import processing_service_pb2_grpc as pb_grpc
from services.media.ffmpeg import ffmpeg_version
from services.processing.config import Config
from services.processing.encoder_client import GrpcEncoder
from services.processing.fonts import Fonts
from services.processing.render import Tool
from services.processing.scheduler import RenderScheduler
from services.processing.segments import SegmentRenderer
from services.processing.servicer import ProcessingServicer
from services.processing.source_cache import SourceCache
from services.runtime import children
from services.runtime.config import ConfigError
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve ProcessingService."""
    for folder in config.fonts:
        if not folder.is_dir():
            raise ConfigError(f"MONEYPRINTER_PROCESSING_FONTS: {folder} is no folder")
    async with runtime.scratch() as bold_fonts, runtime.scratch() as folder:
        tool = Tool(
            ffmpeg=runtime.config.ffmpeg,
            version=await ffmpeg_version(runtime.config.ffmpeg),
            threads=config.threads_per_render,
            max_pixels=config.max_pixels,
            limits=children.Limits(memory_bytes=config.address_bytes),
            fonts=Fonts([path.resolve() for path in config.fonts], bold_fonts),
        )
        objects = runtime.objects()
        encoder = None
        if config.encoders != "none":
            channel = runtime.connect("encoder", "moneyprinter.encoder.v1.EncoderService")
            encoder = GrpcEncoder(encoder_grpc.EncoderServiceStub(channel), hardware=config.encoders == "hardware")
        renderer = SegmentRenderer(
            objects=objects,
            sources=SourceCache(objects, folder, config.source_bytes, config.source_seconds),
            scratch=runtime.scratch,
            tool=tool,
            scheduler=RenderScheduler(config.slots, config.threads_per_render, config.memory_bytes),
            encoder=encoder,
        )
        runtime.add(pb_grpc.add_ProcessingServiceServicer_to_server, ProcessingServicer(renderer))
        yield

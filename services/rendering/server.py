"""Server: the wiring of the rendering service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moneyprinter.rendering.v1 import rendering_service_pb2_grpc as pb_grpc
from services.media.ffmpeg import ffmpeg_version
from services.rendering.config import Config
from services.rendering.servicer import RenderingServicer
from services.rendering.videos import VideoFinisher
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve RenderingService."""
    program = runtime.config.ffmpeg
    # Fails at start when it cannot be run.
    await ffmpeg_version(program)
    runtime.max_calls = config.max_calls
    finisher = VideoFinisher(runtime.objects(), runtime.scratch, program)
    runtime.add(pb_grpc.add_RenderingServiceServicer_to_server, RenderingServicer(finisher))
    yield

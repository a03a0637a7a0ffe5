"""Server: the wiring of the concatenation service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moneyprinter.concatenation.v1 import concatenation_service_pb2_grpc as pb_grpc
from services.concatenation.config import Config
from services.concatenation.servicer import ConcatenationServicer
from services.concatenation.videos import Joiner
from services.media.ffmpeg import ffmpeg_version
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve ConcatenationService."""
    program = runtime.config.ffmpeg
    joiner = Joiner(runtime.objects(), runtime.scratch, program, await ffmpeg_version(program))
    runtime.max_calls = config.max_calls
    runtime.add(pb_grpc.add_ConcatenationServiceServicer_to_server, ConcatenationServicer(joiner))
    yield

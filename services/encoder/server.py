"""The wiring of the encoder service."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from grpc_health.v1 import health_pb2

from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from services.encoder.backends import Machine
from services.encoder.config import Config
from services.encoder.encoding import Encoder
from services.encoder.load import Load
from services.encoder.servicer import EncoderServicer
from services.encoder.trial import Backends
from services.runtime import children
from services.runtime.server import Runtime

log = structlog.get_logger()

# Where drivers are found, and which device is meant, is told by the environment of whoever runs a GPU.
DRIVERS = ("LD_LIBRARY_PATH", "LIBVA_DRIVER_NAME", "LIBVA_DRIVERS_PATH", "ONEVPL_SEARCH_PATH", "CUDA_VISIBLE_DEVICES")


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve EncoderService; which backends work is found out meanwhile."""
    await children.ffmpeg_version(runtime.config.ffmpeg)
    machine = Machine(
        ffmpeg=runtime.config.ffmpeg,
        threads=config.threads,
        render_node=config.render_node,
        memory_bytes=config.memory_bytes,
        # SVT-AV1 would tell of itself, not only of what went wrong.
        environment={"SVT_LOG": "1", **{name: os.environ[name] for name in DRIVERS if name in os.environ}},
    )
    encoder = Encoder(
        backends=Backends(machine),
        load=Load(config.slots, time.monotonic),
        max_pixels_per_second=config.max_pixels_per_second,
        max_seconds=config.max_seconds,
        silence_seconds=config.silence_seconds,
    )
    runtime.add(pb_grpc.add_EncoderServiceServicer_to_server, EncoderServicer(encoder))
    async with runtime.background(_find(encoder.backends, runtime), "find backends"):
        yield


async def _find(backends: Backends, runtime: Runtime) -> None:
    """Try the backends; each that works is a health check of its name."""
    await backends.find()
    working = await backends.working()
    log.info("backends found", backends=[backend.name for backend in working])
    for backend in working:
        await runtime.health.set(backend.name, health_pb2.HealthCheckResponse.SERVING)

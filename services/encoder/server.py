"""The wiring of the encoder service."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from grpc_health.v1 import health_pb2

from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from services.encoder.backend_probe import AvailableBackends
from services.encoder.backends import Machine
from services.encoder.config import Config
from services.encoder.encoding import Encoder
from services.encoder.load import Load
from services.encoder.servicer import EncoderServicer
from services.media.ffmpeg import ffmpeg_version
from services.runtime.server import Runtime

log = structlog.get_logger()

# Environment variables of GPU drivers: where their libraries are, and which device to use.
DRIVERS = ("LD_LIBRARY_PATH", "LIBVA_DRIVER_NAME", "LIBVA_DRIVERS_PATH", "ONEVPL_SEARCH_PATH", "CUDA_VISIBLE_DEVICES")


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve EncoderService; the backends are probed in the background."""
    await ffmpeg_version(runtime.config.ffmpeg)
    machine = Machine(
        ffmpeg=runtime.config.ffmpeg,
        threads=config.threads,
        render_node=config.render_node,
        memory_bytes=config.memory_bytes,
        # SVT-AV1 prints only errors.
        environment={"SVT_LOG": "1", **{name: os.environ[name] for name in DRIVERS if name in os.environ}},
    )
    encoder = Encoder(
        backends=AvailableBackends(machine),
        load=Load(config.slots, time.monotonic),
        max_pixels_per_second=config.max_pixels_per_second,
        max_seconds=config.max_seconds,
        silence_seconds=config.silence_seconds,
    )
    runtime.add(pb_grpc.add_EncoderServiceServicer_to_server, EncoderServicer(encoder))
    async with runtime.background(_probe(encoder.backends, runtime), "probe backends"):
        yield


async def _probe(backends: AvailableBackends, runtime: Runtime) -> None:
    """Probe the backends, and publish a health check for each that works, under its name."""
    await backends.probe()
    available = await backends.list_all()
    log.info("backends found", backends=[backend.name for backend in available])
    for backend in available:
        await runtime.health.set(backend.name, health_pb2.HealthCheckResponse.SERVING)

"""The wiring of the encoder service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from services.encoder.backends import Backends
from services.encoder.config import Config
from services.encoder.encoding import Encoder, Slots
from services.encoder.servicer import EncoderServicer
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve EncoderService; which encoders work is found out meanwhile."""
    backends = Backends(config.memory_bytes)
    encoder = Encoder(
        backends=backends,
        slots=Slots(config.slots),
        threads=config.threads,
        max_pixels_per_second=config.max_pixels_per_second,
        max_seconds=config.max_seconds,
    )
    runtime.add(pb_grpc.add_EncoderServiceServicer_to_server, EncoderServicer(encoder, backends))
    async with runtime.background(backends.find(), "find encoders"):
        yield

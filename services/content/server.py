"""The wiring of the content service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moneyprinter.content.v1 import content_service_pb2_grpc as pb_grpc
from services.content import fonts
from services.content.config import Config
from services.content.servicer import ContentServicer
from services.runtime.config import ConfigError
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve the contract. Raises ConfigError when the fonts cannot be read."""
    if config.fonts and not config.fonts.is_dir():
        raise ConfigError(f"MONEYPRINTER_CONTENT_FONTS: {config.fonts} is no folder")
    at_hand = fonts.load(config.fonts, config.caption_font) if config.fonts else ()
    runtime.add(pb_grpc.add_ContentServiceServicer_to_server, ContentServicer(config.caption_font, at_hand))
    yield

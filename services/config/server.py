"""Server: the wiring of the config service."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from services.config.config import Config
from services.config.sealed_files import SealedFiles, read_key
from services.config.secrets import Access
from services.config.servicer import ConfigServicer
from services.runtime.server import Runtime

log = structlog.get_logger()


def audit(seen: Access) -> None:
    """Log that a secret was asked for."""
    log.info("secret access", **dataclasses.asdict(seen))


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve the secrets of the folder."""
    store = SealedFiles(config.store, read_key(config.master_key_file))
    await store.open()
    runtime.add(pb_grpc.add_ConfigServiceServicer_to_server, ConfigServicer(store, audit))
    yield

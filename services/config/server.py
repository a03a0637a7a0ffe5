"""Server: wires the config service."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from services.config.config import Config
from services.config.encrypted_files import EncryptedFiles, read_key
from services.config.secrets import SecretAccess
from services.config.servicer import ConfigServicer
from services.runtime.server import Runtime

log = structlog.get_logger()


def audit(access: SecretAccess) -> None:
    """Log an access to a secret."""
    log.info("secret access", **dataclasses.asdict(access))


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve the secrets in the folder."""
    store = EncryptedFiles(config.store, read_key(config.master_key_file))
    await store.open()
    runtime.add(pb_grpc.add_ConfigServiceServicer_to_server, ConfigServicer(store, audit))
    yield

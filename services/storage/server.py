"""Server: wires the storage service."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from obstore.store import LocalStore

from moneyprinter.config.v1 import config_service_pb2_grpc
from moneyprinter.storage.v1 import storage_service_pb2_grpc as pb_grpc
from services.runtime import telemetry
from services.runtime.config import ConfigError
from services.runtime.secrets import SecretClient
from services.runtime.server import Runtime, wait_connected
from services.storage import master_key, objects
from services.storage.blobs import ObstoreBlobs, delete_abandoned, expire_cache, expire_fences
from services.storage.config import Config
from services.storage.damage import DamageMonitor
from services.storage.encryption import AesObjectCiphers
from services.storage.servicer import StorageServicer

# Longer than any put may take.
ABANDONED_SECONDS = 2 * 3600.0
EXPIRE_SECONDS = 3600.0
# A writer that was stopped for longer than this is not expected to continue.
FENCE_SECONDS = 30 * 86400.0

DAMAGED = telemetry.Gauge(
    "moneyprinter_storage_damaged_objects", "Stored objects that were found damaged since the start", "kind"
)


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve the objects below the root."""
    try:
        config.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failure:
        raise ConfigError(f"the folder of the objects cannot be used: {failure}") from None
    channel = runtime.connect("config", "moneyprinter.config.v1.ConfigService")
    await wait_connected(channel, "config")
    ciphers = AesObjectCiphers(
        await master_key.fetch_or_create(SecretClient(config_service_pb2_grpc.ConfigServiceStub(channel)))
    )
    blobs = ObstoreBlobs(LocalStore(config.root))
    runtime.max_calls = config.max_calls
    runtime.check("storage", lambda: objects.probe(blobs, ciphers, uuid.uuid4().hex))
    damage = DamageMonitor(blobs)
    runtime.add(pb_grpc.add_StorageServiceServicer_to_server, StorageServicer(blobs, ciphers, damage))
    with telemetry.register_gauge(DAMAGED, lambda: damage.counts):
        async with (
            runtime.background(delete_abandoned(config.root, time.time() - ABANDONED_SECONDS), "abandoned files"),
            runtime.background(_expire(config), "cache"),
        ):
            yield


async def _expire(config: Config) -> None:
    """Delete old blobs of the cache and old fences at an interval, until cancelled."""
    while True:
        if config.cache_days:
            await expire_cache(config.root, time.time() - config.cache_days * 86400)
        await expire_fences(config.root, time.time() - FENCE_SECONDS)
        await asyncio.sleep(EXPIRE_SECONDS)

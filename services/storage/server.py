"""Server: wires the storage service."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from obstore.store import LocalStore

from moneyprinter.config.v1 import config_service_pb2_grpc
from moneyprinter.errors import DataLoss, Error
from moneyprinter.storage.v1 import storage_service_pb2_grpc as pb_grpc
from services.runtime import telemetry
from services.runtime.config import ConfigError
from services.runtime.secrets import SecretClient
from services.runtime.server import Runtime, wait_connected
from services.storage import lifecycle, objects
from services.storage.blobs import ObstoreBlobs, delete_abandoned
from services.storage.config import Config
from services.storage.credentials import CredentialCache, credentials_reader
from services.storage.damage import DamageMonitor
from services.storage.encryption import AesObjectCiphers
from services.storage.master_key import WrappedMasterKeys
from services.storage.s3_api import S3Api, open_s3_api
from services.storage.scrubber import Scrubber, ScrubState
from services.storage.servicer import StorageServicer
from services.storage.stores import Store, open_store

# Longer than any put may take.
ABANDONED_SECONDS = 2 * 3600.0
EXPIRE_SECONDS = 3600.0
# A writer that was stopped for longer than this is not expected to continue.
FENCE_SECONDS = 30 * 86400.0

log = structlog.get_logger()

DAMAGED = telemetry.Gauge(
    "moneyprinter_storage_damaged_objects", "Stored objects that were found damaged since the start", "kind"
)
VERIFIED = telemetry.Gauge(
    "moneyprinter_storage_verification",
    "Objects verified and removed in this pass, damaged originals, and the end of the last pass (end_time)",
    "figure",
)


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve the objects of the store that the settings name."""
    channel = runtime.connect("config", "moneyprinter.config.v1.ConfigService")
    await wait_connected(channel, "config")
    secrets = SecretClient(config_service_pb2_grpc.ConfigServiceStub(channel))
    masters = WrappedMasterKeys(secrets, time.time)
    await masters.open()
    ciphers = AesObjectCiphers(masters)
    read_credentials = credentials_reader(config, secrets)
    credentials = CredentialCache(read_credentials, config.credentials_seconds)
    store = await open_store(config, credentials)
    async with open_s3_api(config, read_credentials) as s3:
        blobs = ObstoreBlobs(store, s3 if s3 and await _keeps_versions(s3) else None)
        if config.url:
            await _claim(blobs, ciphers)
        runtime.max_calls = config.max_calls
        runtime.check("storage", lambda: objects.probe(blobs, ciphers, uuid.uuid4().hex))
        damage = DamageMonitor(blobs)
        runtime.add(pb_grpc.add_StorageServiceServicer_to_server, StorageServicer(blobs, ciphers, damage))
        scrubber = Scrubber(blobs, ciphers, damage, config.verify_gigabytes_per_hour * 1e9, time.time)
        runtime.check("objects", scrubber.check)
        with (
            telemetry.register_gauge(DAMAGED, lambda: damage.counts),
            telemetry.register_gauge(VERIFIED, lambda: _scrub_figures(scrubber.state)),
        ):
            async with (
                runtime.background(_delete_old(config, blobs, store, s3), "old objects"),
                runtime.background(scrubber.run(), "scrubber"),
                runtime.background(masters.run(), "master keys"),
                runtime.background(_refresh(config, credentials), "credentials"),
            ):
                yield


async def _refresh(config: Config, credentials: CredentialCache) -> None:
    """Read the keys of a bucket of S3 again at an interval; those of other stores are read at the start."""
    if config.url.startswith("s3://") and config.credentials != "workload":
        await credentials.run()


def _scrub_figures(state: ScrubState) -> dict[str, float]:
    return {
        "verified": state.verified,
        "removed": state.removed,
        "damaged": len(state.damaged),
        "end_time": state.end_time,
    }


async def _claim(blobs: ObstoreBlobs, ciphers: AesObjectCiphers) -> None:
    """Check that the store is this platform's. A store that cannot be used now is reported by the health check."""
    try:
        await objects.claim_store(blobs, ciphers)
    except DataLoss:
        raise ConfigError(
            "the store of MONEYPRINTER_STORAGE_URL has the objects of another platform, which has another master key; "
            "use another bucket or prefix, or restore the secret storage/objects-keys of that platform"
        ) from None
    except Error as failure:
        log.error("the store cannot be used", reason=failure.reason, error=failure.message)


async def _keeps_versions(s3: S3Api) -> bool:
    """Report whether deletes must delete versions too. A bucket that does not respond may have some."""
    try:
        return await s3.has_versions()
    except Error as failure:
        log.warning("it is unknown whether the bucket keeps versions", error=failure.message)
        return False


async def _delete_old(config: Config, blobs: ObstoreBlobs, store: Store, s3: S3Api | None) -> None:
    """Delete old blobs of the cache, old fences and the remains of puts at an interval, until cancelled."""
    while True:
        now = time.time()
        try:
            if isinstance(store, LocalStore) and store.prefix is not None:
                await delete_abandoned(Path(store.prefix), now - ABANDONED_SECONDS)
            if s3 is not None:
                await s3.abort_uploads(now - ABANDONED_SECONDS)
            await lifecycle.delete_temporary(blobs, now - ABANDONED_SECONDS)
            if config.cache_days:
                await lifecycle.expire_cache(blobs, now - config.cache_days * 86400)
            await lifecycle.expire_fences(blobs, now - FENCE_SECONDS)
        except Error as failure:
            log.warning("old objects not deleted, retrying later", reason=failure.reason, error=failure.message)
        await asyncio.sleep(EXPIRE_SECONDS)

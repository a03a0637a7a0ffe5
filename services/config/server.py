"""Server: wires the config service."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeAlias

import structlog

from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from moneyprinter.config.v1 import secret_administration_service_pb2_grpc as administration_pb_grpc
from moneyprinter.errors import Error
from services.config.administration import SecretAdministration
from services.config.administration_servicer import SecretAdministrationServicer
from services.config.cache import CachedSecrets
from services.config.config import Config
from services.config.database import DatabaseUsers, NoDatabaseUsers
from services.config.encrypted_files import EncryptedFiles, read_key
from services.config.keys import KeyWrapper
from services.config.local_keys import LocalKeys
from services.config.secrets import SecretAccess, SecretStore
from services.config.servicer import ConfigServicer
from services.runtime.server import Runtime

log = structlog.get_logger()

Stores: TypeAlias = tuple[SecretStore, KeyWrapper, DatabaseUsers]

_ROTATION_SECONDS = 3600.0
# The check of the store of the secrets.
STORE = "secrets"


def audit(access: SecretAccess) -> None:
    """Log an access to a secret."""
    log.info("secret access", **dataclasses.asdict(access))


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve the secrets in Vault, or in the folder."""
    async with (_open_vault if config.vault_url else _open_files)(config, runtime) as (store, keys, users):
        runtime.add(pb_grpc.add_ConfigServiceServicer_to_server, ConfigServicer(store, keys, users, audit))
        administration = SecretAdministration(store, keys, audit, lambda: datetime.now(UTC))
        runtime.add(
            administration_pb_grpc.add_SecretAdministrationServiceServicer_to_server,
            SecretAdministrationServicer(administration),
        )
        if not config.rotates_keys:
            yield
            return
        async with runtime.background(_rotate_keys(administration), "rotation of keys"):
            yield


async def _rotate_keys(administration: SecretAdministration) -> None:
    """Rotate the keys that are due, at an interval, until cancelled. A failure waits for the next time."""
    while True:
        await asyncio.sleep(_ROTATION_SECONDS)
        try:
            for name in await administration.rotate_due_keys():
                log.info("key rotated", name=name)
        except Error as failure:
            log.warning("the keys cannot be rotated", reason=failure.reason)


@asynccontextmanager
async def _open_files(config: Config, runtime: Runtime) -> AsyncIterator[Stores]:
    store = EncryptedFiles(config.store, read_key(config.master_key_file))
    await store.open()
    runtime.check(STORE, store.check)
    yield store, LocalKeys(store), NoDatabaseUsers()


@asynccontextmanager
async def _open_vault(config: Config, runtime: Runtime) -> AsyncIterator[Stores]:
    # Only deployments with a Vault install its client.
    from services.config.vault import client, database, sign_in, store, transit

    method: sign_in.SignIn
    mount = config.vault_sign_in_mount or config.vault_sign_in
    if config.vault_sign_in == "approle":
        method = sign_in.sign_in_by_app_role(
            config.vault_role_id_file,
            config.vault_secret_id_file,
            is_wrapped=config.vault_secret_id_is_wrapped,
            mount=mount,
        )
    else:
        method = sign_in.sign_in_by_kubernetes(config.vault_role, config.vault_kubernetes_token_file, mount=mount)
    address = client.VaultAddress(
        config.vault_url, config.vault_ca_file, config.vault_namespace, config.vault_timeout_seconds
    )
    vault = client.VaultClient(address, method)
    try:
        async with runtime.background(vault.run(), "sign-in at Vault"):
            runtime.check(STORE, vault.check)
            secrets = store.VaultSecrets(vault, config.vault_mount)
            cached = CachedSecrets(secrets, config.cache_seconds, config.outage_seconds, time.monotonic)
            users = database.VaultDatabaseUsers(vault, config.vault_database_mount)
            yield cached, transit.TransitKeys(vault, config.vault_transit_mount), users
    finally:
        await vault.close()

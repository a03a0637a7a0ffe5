"""Opened: the store of secrets in a real Vault, as the config service opens it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from moneyprinter.errors import Unavailable
from services.config.vault.client import VaultAddress, VaultClient
from services.config.vault.sign_in import sign_in_by_app_role
from services.config.vault.store import VaultSecrets
from services.runtime.tasks import cancel
from tests.config.vault.openbao import OpenBao

TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True)
class OpenedVault:
    """A signed-in client, its store, and the mount."""

    client: VaultClient
    secrets: VaultSecrets
    mount: str


@asynccontextmanager
async def open_vault(
    server: OpenBao,
    folder: Path,
    *,
    ttl: str = "1h",
    max_ttl: str = "1h",
    wrapped: bool = False,
    timeout_seconds: float = 10.0,
) -> AsyncIterator[OpenedVault]:
    """Sign in by AppRole with tokens that are valid for `ttl`, while the context is open."""
    mount = server.set_up(ttl=ttl, max_ttl=max_ttl)
    role_id, secret_id = server.write_role_files(folder, wrapped=wrapped)
    sign_in = sign_in_by_app_role(role_id, secret_id, is_wrapped=wrapped, mount="approle")
    client = VaultClient(VaultAddress(server.url, server.ca_file, "", timeout_seconds), sign_in)
    keeping = asyncio.create_task(client.run())
    try:
        await wait_until_usable(client)
        yield OpenedVault(client, VaultSecrets(client, mount), mount)
    finally:
        await cancel(keeping)
        await client.close()


async def wait_until_usable(client: VaultClient) -> None:
    """Wait until the client can use Vault."""

    async def is_usable() -> bool:
        try:
            await client.check()
        except Unavailable:
            return False
        return True

    await wait_until(is_usable)


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until `condition`, which may be a coroutine function, is true, for at most 30 seconds."""
    async with asyncio.timeout(30):
        while True:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.02)

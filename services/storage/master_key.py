"""Master keys: the data keys `storage/objects`, which encrypt the keys of objects; the config service wraps them."""

from __future__ import annotations

from collections.abc import Callable

from services.runtime.data_keys import DataKeys
from services.runtime.secrets import SecretClient
from services.storage.encryption import MasterKey

NAME = "storage/objects"
# The secret in which earlier releases kept the key in plaintext.
PLAIN_NAME = "storage/master-key"
LIFETIME_SECONDS = 365 * 86400.0


class WrappedMasterKeys:
    """The master keys by version. The replica that starts first creates the first one."""

    def __init__(self, client: SecretClient, clock: Callable[[], float]) -> None:
        self._keys = DataKeys(client, NAME, clock)

    async def open(self) -> None:
        """Read the keys, and create the first one when there is none. Raises `DataLoss` when one was altered."""
        await self._keys.open(PLAIN_NAME)

    async def run(self) -> None:
        """Read versions of other replicas, wrap all anew after a rotation, and add one a year, until cancelled."""
        await self._keys.run(LIFETIME_SECONDS)

    @property
    def current(self) -> MasterKey:
        """The key that encrypts new objects."""
        return MasterKey(self._keys.current.value, self._keys.current.version)

    def find(self, version: int) -> MasterKey | None:
        """Return a version; None when there is none."""
        found = self._keys.find(version)
        return MasterKey(found.value, version) if found else None

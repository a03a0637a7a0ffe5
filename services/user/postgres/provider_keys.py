"""Provider keys in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import DictRow

from services.user.postgres.queries import PostgresStore
from services.user.provider_keys.lifecycle import EncryptedKey


class PostgresProviderKeyStore(PostgresStore):
    """A ProviderKeyStore."""

    async def put(self, account_id: str, key: EncryptedKey, now: datetime) -> None:
        await self._execute(
            "INSERT INTO provider_keys (account_id, provider, encrypted_key, region, set_time)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (account_id, provider) DO UPDATE SET"
            " encrypted_key = excluded.encrypted_key, region = excluded.region, set_time = excluded.set_time",
            *(account_id, key.provider, key.encrypted, key.region, now),
        )

    async def delete(self, account_id: str, provider: str) -> bool:
        return bool(
            await self._execute(
                "DELETE FROM provider_keys WHERE account_id = %s AND provider = %s", account_id, provider
            )
        )

    async def list_by_account(self, account_id: str) -> Sequence[EncryptedKey]:
        rows = await self._fetch_rows(
            "SELECT provider, encrypted_key, region FROM provider_keys WHERE account_id = %s ORDER BY provider",
            account_id,
        )
        return [_read_key(row) for row in rows]


def _read_key(found: DictRow) -> EncryptedKey:
    return EncryptedKey(found["provider"], found["encrypted_key"], found["region"])

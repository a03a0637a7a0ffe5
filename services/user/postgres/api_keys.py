"""API keys in PostgreSQL. Revoked keys are kept for their owners to see what they were and when they were used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import DictRow

from services.user.accounts.model import Account
from services.user.accounts.store import account_not_found
from services.user.api_keys.model import MAX_INACTIVE_KEYS, ApiKey
from services.user.postgres.queries import ACCOUNTS, PostgresStore, fetch_row, fetch_rows, find_account, read_account

_ACTIVE = "revoke_time IS NULL AND expire_time > %s"


class PostgresApiKeyStore(PostgresStore):
    """An ApiKeyStore."""

    async def add(self, key: ApiKey, max_active: int) -> bool:
        async with self._transaction() as connection:
            # One at a time for each account: two concurrent inserts must not both take the last place.
            if not await fetch_row(connection, "SELECT 1 FROM accounts WHERE id = %s FOR UPDATE", key.account_id):
                raise account_not_found(key.account_id)
            counted = await fetch_row(
                connection,
                f"SELECT count(*) AS active FROM api_keys WHERE account_id = %s AND {_ACTIVE}",  # noqa: S608
                *(key.account_id, key.create_time),
            )
            if counted is None or counted["active"] >= max_active:
                return False
            await connection.execute(
                f"DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE account_id = %s AND NOT ({_ACTIVE})"  # noqa: S608
                " ORDER BY create_time DESC, id DESC OFFSET %s)",
                (key.account_id, key.create_time, MAX_INACTIVE_KEYS),
            )
            await connection.execute(
                "INSERT INTO api_keys (id, account_id, display_name, sha256, roles, create_time, expire_time)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (
                    *(key.id, key.account_id, key.display_name, key.sha256),
                    *(list(key.roles), key.create_time, key.expire_time),
                ),
            )
            return True

    async def find(self, key_id: str) -> tuple[ApiKey, Account] | None:
        async with self._transaction() as connection:
            found = await fetch_row(connection, "SELECT * FROM api_keys WHERE id = %s", key_id)
            owner = await find_account(connection, found["account_id"]) if found else None
            return (_key(found), owner) if found and owner else None

    async def find_all(self, key_ids: Sequence[str]) -> list[tuple[ApiKey, Account]]:
        async with self._transaction() as connection:
            keys = await fetch_rows(connection, "SELECT * FROM api_keys WHERE id = ANY (%s)", list(key_ids))
            owners = await fetch_rows(
                connection, f"{ACCOUNTS} WHERE a.id = ANY (%s)", list({key["account_id"] for key in keys})
            )
            by_id = {found["id"]: read_account(found) for found in owners}
            return [(_key(key), by_id[key["account_id"]]) for key in keys]

    async def record_use(self, key_id: str, address: str, now: datetime) -> None:
        await self._execute("UPDATE api_keys SET use_time = %s, use_address = %s WHERE id = %s", now, address, key_id)

    async def list_by_account(self, account_id: str) -> list[ApiKey]:
        rows = await self._fetch_rows(
            "SELECT * FROM api_keys WHERE account_id = %s ORDER BY create_time DESC, id DESC", account_id
        )
        return [_key(found) for found in rows]

    async def revoke(self, account_id: str, key_id: str, now: datetime) -> bool:
        return bool(
            await self._execute(
                "UPDATE api_keys SET revoke_time = coalesce(revoke_time, %s) WHERE account_id = %s AND id = %s",
                *(now, account_id, key_id),
            )
        )

    async def revoke_all(self, account_id: str, now: datetime) -> int:
        return await self._execute(
            f"UPDATE api_keys SET revoke_time = %s WHERE account_id = %s AND {_ACTIVE}",  # noqa: S608
            *(now, account_id, now),
        )


def _key(found: DictRow) -> ApiKey:
    return ApiKey(
        id=found["id"],
        account_id=found["account_id"],
        display_name=found["display_name"],
        sha256=found["sha256"],
        roles=tuple(found["roles"]),
        create_time=found["create_time"],
        expire_time=found["expire_time"],
        use_time=found["use_time"],
        use_address=found["use_address"],
        revoke_time=found["revoke_time"],
    )

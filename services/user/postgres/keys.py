"""API keys in PostgreSQL. One that was revoked stays, so that its owner sees what it was and when it was used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import DictRow

from services.user.accounts import Account
from services.user.postgres.tables import ACCOUNTS, Tables, account, account_of, row, rows
from services.user.store import DEAD_KEYS_AT_MOST, ApiKey, no_account

_GOOD = "revoke_time IS NULL AND expire_time > %s"


class PostgresKeys(Tables):
    """A KeyStore."""

    async def add(self, key: ApiKey, at_most: int) -> bool:
        async with self._transaction() as connection:
            # One at a time for each account, or two at once would both be the last that is allowed.
            if not await row(connection, "SELECT 1 FROM accounts WHERE id = %s FOR UPDATE", key.account_id):
                raise no_account(key.account_id)
            counted = await row(
                connection,
                f"SELECT count(*) AS good FROM api_keys WHERE account_id = %s AND {_GOOD}",  # noqa: S608
                *(key.account_id, key.create_time),
            )
            if counted is None or counted["good"] >= at_most:
                return False
            await connection.execute(
                f"DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE account_id = %s AND NOT ({_GOOD})"  # noqa: S608
                " ORDER BY create_time DESC, id DESC OFFSET %s)",
                (key.account_id, key.create_time, DEAD_KEYS_AT_MOST),
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
            found = await row(connection, "SELECT * FROM api_keys WHERE id = %s", key_id)
            owner = await account(connection, found["account_id"]) if found else None
            return (_key(found), owner) if found and owner else None

    async def find_all(self, key_ids: Sequence[str]) -> list[tuple[ApiKey, Account]]:
        async with self._transaction() as connection:
            keys = await rows(connection, "SELECT * FROM api_keys WHERE id = ANY (%s)", list(key_ids))
            owners = await rows(
                connection, f"{ACCOUNTS} WHERE a.id = ANY (%s)", list({key["account_id"] for key in keys})
            )
            by_id = {found["id"]: account_of(found) for found in owners}
            return [(_key(key), by_id[key["account_id"]]) for key in keys]

    async def used(self, key_id: str, address: str, now: datetime) -> None:
        await self._changed("UPDATE api_keys SET use_time = %s, use_address = %s WHERE id = %s", now, address, key_id)

    async def listed(self, account_id: str) -> list[ApiKey]:
        rows = await self._rows(
            "SELECT * FROM api_keys WHERE account_id = %s ORDER BY create_time DESC, id DESC", account_id
        )
        return [_key(found) for found in rows]

    async def revoke(self, account_id: str, key_id: str, now: datetime) -> bool:
        return bool(
            await self._changed(
                "UPDATE api_keys SET revoke_time = coalesce(revoke_time, %s) WHERE account_id = %s AND id = %s",
                *(now, account_id, key_id),
            )
        )

    async def revoke_all(self, account_id: str, now: datetime) -> int:
        return await self._changed(
            f"UPDATE api_keys SET revoke_time = %s WHERE account_id = %s AND {_GOOD}",  # noqa: S608
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

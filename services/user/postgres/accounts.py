"""Accounts in PostgreSQL. A change of an account locks its row first, and the rows of its sessions after it."""

from __future__ import annotations

from datetime import datetime

import psycopg

from services.runtime.pagination import Cursor
from services.user.accounts.model import ADMINISTRATOR_ROLE, Account, PasswordReset, Profile
from services.user.accounts.store import (
    account_not_found,
    invitation_invalid,
    last_administrator_required,
    username_taken,
)
from services.user.postgres.queries import (
    ACCOUNTS,
    VALID_INVITATION,
    Connection,
    PostgresStore,
    execute,
    fetch_row,
    find_account,
    read_account,
)


class PostgresAccountStore(PostgresStore):
    """An AccountStore."""

    async def ping(self) -> None:
        """Raise `Unavailable` when the database does not respond."""
        await self._fetch_row("SELECT 1")

    async def is_empty(self) -> bool:
        return await self._fetch_row("SELECT 1 FROM accounts LIMIT 1") is None

    async def add_first(self, account: Account) -> bool:
        async with self._transaction() as connection:
            # One replica at a time. The lock is released with the transaction.
            await connection.execute("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE")
            if await fetch_row(connection, "SELECT 1 FROM accounts LIMIT 1"):
                return False
            await _insert(connection, account)
            return True

    async def find(self, account_id: str) -> Account | None:
        async with self._transaction() as connection:
            return await find_account(connection, account_id)

    async def find_by_username(self, username: str) -> Account | None:
        # PostgreSQL refuses texts with NUL, and therefore stores none.
        if "\0" in username:
            return None
        found = await self._fetch_row(f"{ACCOUNTS} WHERE a.username = %s", username)
        return read_account(found) if found else None

    async def list_page(self, size: int, after: Cursor | None) -> list[Account]:
        create_time, last_id = after or (None, None)
        rows = await self._fetch_rows(
            f"{ACCOUNTS} WHERE %s::timestamptz IS NULL OR (a.create_time, a.id) < (%s::timestamptz, %s)"
            " ORDER BY a.create_time DESC, a.id DESC LIMIT %s",
            *(create_time, create_time, last_id, size),
        )
        return [read_account(found) for found in rows]

    async def register(self, account: Account, invitation_sha256: bytes | None) -> None:
        try:
            async with self._transaction() as connection:
                # Of two concurrent uses, the second waits for the first and then deletes nothing.
                if invitation_sha256 is not None and not await execute(
                    connection,
                    f"DELETE FROM invitations i WHERE i.sha256 = %s AND {VALID_INVITATION}",  # noqa: S608
                    *(invitation_sha256, account.create_time),
                ):
                    raise invitation_invalid()
                await _insert(connection, account)
        except psycopg.errors.UniqueViolation:
            raise username_taken(account.username) from None

    async def is_known_network(self, account_id: str, network: str, now: datetime) -> bool:
        return network in await self.find_known_networks(account_id, now)

    async def remember_network(self, account_id: str, network: str, now: datetime, expire_time: datetime) -> None:
        async with self._transaction() as connection:
            await connection.execute(
                "DELETE FROM account_networks WHERE account_id = %s AND expire_time <= %s", (account_id, now)
            )
            await connection.execute(
                "INSERT INTO account_networks (account_id, network, expire_time) VALUES (%s, %s, %s)"
                " ON CONFLICT (account_id, network) DO UPDATE SET expire_time = excluded.expire_time",
                (account_id, network, expire_time),
            )

    async def find_known_networks(self, account_id: str, now: datetime) -> list[str]:
        rows = await self._fetch_rows(
            "SELECT network FROM account_networks WHERE account_id = %s AND expire_time > %s", account_id, now
        )
        return [found["network"] for found in rows]

    async def set_profile(self, account_id: str, profile: Profile) -> Account:
        async with self._transaction() as connection:
            await connection.execute(
                "UPDATE accounts SET display_name = %s, email = %s, locale = %s WHERE id = %s",
                (profile.display_name, profile.email, profile.locale, account_id),
            )
            return await _require(connection, account_id)

    async def replace_password(self, account_id: str, old_hash: str, new_hash: str, keep_session: str) -> bool:
        async with self._transaction() as connection:
            if not await _replace_hash(connection, account_id, old_hash, new_hash):
                return False
            await connection.execute("DELETE FROM password_resets WHERE account_id = %s", (account_id,))
            await connection.execute(
                "DELETE FROM sessions WHERE account_id = %s AND id <> %s", (account_id, keep_session)
            )
            return True

    async def replace_hash(self, account_id: str, old_hash: str, new_hash: str) -> bool:
        async with self._transaction() as connection:
            return await _replace_hash(connection, account_id, old_hash, new_hash)

    async def set_roles(self, account_id: str, roles: tuple[str, ...]) -> Account:
        async with self._transaction() as connection:
            if ADMINISTRATOR_ROLE not in roles:
                await _require_another_administrator(connection, account_id)
            await connection.execute("UPDATE accounts SET roles = %s WHERE id = %s", (list(roles), account_id))
            return await _require(connection, account_id)

    async def disable(self, account_id: str, now: datetime) -> Account:
        async with self._transaction() as connection:
            await _require_another_administrator(connection, account_id)
            await connection.execute(
                "UPDATE accounts SET disable_time = coalesce(disable_time, %s) WHERE id = %s", (now, account_id)
            )
            await connection.execute("DELETE FROM sessions WHERE account_id = %s", (account_id,))
            await connection.execute("DELETE FROM provider_keys WHERE account_id = %s", (account_id,))
            return await _require(connection, account_id)

    async def enable(self, account_id: str) -> Account:
        async with self._transaction() as connection:
            await connection.execute("UPDATE accounts SET disable_time = NULL WHERE id = %s", (account_id,))
            return await _require(connection, account_id)

    async def start_reset(self, account_id: str, reset: PasswordReset, disable_totp: bool) -> Account:
        async with self._transaction() as connection:
            if not await execute(connection, "UPDATE accounts SET password_hash = NULL WHERE id = %s", account_id):
                raise account_not_found(account_id)
            await connection.execute("DELETE FROM sessions WHERE account_id = %s", (account_id,))
            if disable_totp:
                await connection.execute("DELETE FROM totp_factors WHERE account_id = %s", (account_id,))
            await connection.execute(
                "INSERT INTO password_resets (account_id, sha256, expire_time) VALUES (%s, %s, %s)"
                " ON CONFLICT (account_id) DO UPDATE"
                " SET sha256 = excluded.sha256, expire_time = excluded.expire_time",
                (account_id, reset.sha256, reset.expire_time),
            )
            return await _require(connection, account_id)

    async def find_by_reset_token(self, sha256: bytes, now: datetime) -> Account | None:
        found = await self._fetch_row(
            f"{ACCOUNTS} JOIN password_resets r ON r.account_id = a.id WHERE r.sha256 = %s AND r.expire_time > %s",
            *(sha256, now),
        )
        return read_account(found) if found else None

    async def complete_reset(self, sha256: bytes, new_hash: str, now: datetime) -> Account | None:
        async with self._transaction() as connection:
            found = await fetch_row(
                connection,
                "DELETE FROM password_resets WHERE sha256 = %s AND expire_time > %s RETURNING account_id",
                *(sha256, now),
            )
            if found is None:
                return None
            account_id = found["account_id"]
            await connection.execute("UPDATE accounts SET password_hash = %s WHERE id = %s", (new_hash, account_id))
            return await _require(connection, account_id)


async def _insert(connection: Connection, account: Account) -> None:
    await connection.execute(
        "INSERT INTO accounts (id, username, password_hash, roles, create_time, display_name, email, locale)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            *(account.id, account.username, account.password_hash, list(account.roles), account.create_time),
            *(account.profile.display_name, account.profile.email, account.profile.locale),
        ),
    )


async def _require(connection: Connection, account_id: str) -> Account:
    found = await find_account(connection, account_id)
    if found is None:
        raise account_not_found(account_id)
    return found


async def _replace_hash(connection: Connection, account_id: str, old_hash: str, new_hash: str) -> bool:
    return bool(
        await execute(
            connection,
            "UPDATE accounts SET password_hash = %s WHERE id = %s AND password_hash = %s",
            *(new_hash, account_id, old_hash),
        )
    )


async def _require_another_administrator(connection: Connection, account_id: str) -> None:
    """Raise `FailedPrecondition` when an account is the last active administrator.

    All administrators are locked, in the order of their ids: of two concurrent changes, the second waits for the first
    and then sees that its account is the last.
    """
    administrators = await (
        await connection.execute(
            "SELECT id FROM accounts WHERE %s = ANY (roles) AND disable_time IS NULL ORDER BY id FOR UPDATE",
            (ADMINISTRATOR_ROLE,),
        )
    ).fetchall()
    if [found["id"] for found in administrators] == [account_id]:
        raise last_administrator_required()

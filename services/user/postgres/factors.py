"""Factors in PostgreSQL. Every use of a code is one statement, which locks the row, so that no two are the first."""

from __future__ import annotations

from psycopg.rows import DictRow

from services.user.postgres.tables import Tables, changed
from services.user.store import Totp


class PostgresFactors(Tables):
    """A FactorStore."""

    async def totp(self, account_id: str) -> Totp | None:
        found = await self._row("SELECT * FROM totp_factors WHERE account_id = %s", account_id)
        return _totp(found) if found else None

    async def enrol(self, account_id: str, sealed: bytes) -> bool:
        return bool(
            await self._changed(
                "INSERT INTO totp_factors AS f (account_id, sealed) VALUES (%s, %s)"
                " ON CONFLICT (account_id) DO UPDATE SET sealed = excluded.sealed WHERE NOT f.confirmed",
                *(account_id, sealed),
            )
        )

    async def confirm(self, account_id: str, sealed: bytes, counter: int, codes: tuple[bytes, ...]) -> bool:
        async with self._transaction() as connection:
            if not await changed(
                connection,
                "UPDATE totp_factors SET confirmed = true, last_counter = %s"
                " WHERE account_id = %s AND sealed = %s AND NOT confirmed",
                *(counter, account_id, sealed),
            ):
                return False
            await connection.execute(
                "INSERT INTO recovery_codes (account_id, digest) SELECT %s, unnest(%s::bytea[])",
                (account_id, list(codes)),
            )
            return True

    async def use_counter(self, account_id: str, counter: int) -> bool:
        return bool(
            await self._changed(
                "UPDATE totp_factors SET last_counter = %s WHERE account_id = %s AND confirmed AND last_counter < %s",
                *(counter, account_id, counter),
            )
        )

    async def use_recovery_code(self, account_id: str, digest: bytes) -> bool:
        return bool(
            await self._changed("DELETE FROM recovery_codes WHERE account_id = %s AND digest = %s", account_id, digest)
        )

    async def disable(self, account_id: str) -> bool:
        return bool(await self._changed("DELETE FROM totp_factors WHERE account_id = %s", account_id))


def _totp(found: DictRow) -> Totp:
    return Totp(found["sealed"], found["confirmed"])

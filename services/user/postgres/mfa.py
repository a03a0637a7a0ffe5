"""MFA in PostgreSQL: TOTP secrets and recovery codes. One statement uses up a code, so that no code is used twice."""

from __future__ import annotations

from psycopg.rows import DictRow

from services.user.mfa.model import TotpSecret
from services.user.postgres.queries import PostgresStore, execute


class PostgresSecondFactorStore(PostgresStore):
    """A SecondFactorStore."""

    async def find_totp(self, account_id: str) -> TotpSecret | None:
        found = await self._fetch_row("SELECT * FROM totp_factors WHERE account_id = %s", account_id)
        return _totp(found) if found else None

    async def enroll_totp(self, account_id: str, encrypted: bytes) -> bool:
        return bool(
            await self._execute(
                "INSERT INTO totp_factors AS f (account_id, encrypted_secret) VALUES (%s, %s)"
                " ON CONFLICT (account_id) DO UPDATE SET encrypted_secret = excluded.encrypted_secret"
                " WHERE NOT f.confirmed",
                *(account_id, encrypted),
            )
        )

    async def confirm_totp(self, account_id: str, encrypted: bytes, counter: int, codes: tuple[bytes, ...]) -> bool:
        async with self._transaction() as connection:
            if not await execute(
                connection,
                "UPDATE totp_factors SET confirmed = true, last_counter = %s"
                " WHERE account_id = %s AND encrypted_secret = %s AND NOT confirmed",
                *(counter, account_id, encrypted),
            ):
                return False
            await connection.execute(
                "INSERT INTO recovery_codes (account_id, digest) SELECT %s, unnest(%s::bytea[])",
                (account_id, list(codes)),
            )
            return True

    async def use_counter(self, account_id: str, counter: int) -> bool:
        return bool(
            await self._execute(
                "UPDATE totp_factors SET last_counter = %s WHERE account_id = %s AND confirmed AND last_counter < %s",
                *(counter, account_id, counter),
            )
        )

    async def use_recovery_code(self, account_id: str, digest: bytes) -> bool:
        return bool(
            await self._execute("DELETE FROM recovery_codes WHERE account_id = %s AND digest = %s", account_id, digest)
        )

    async def disable_totp(self, account_id: str) -> bool:
        return bool(await self._execute("DELETE FROM totp_factors WHERE account_id = %s", account_id))


def _totp(found: DictRow) -> TotpSecret:
    return TotpSecret(found["encrypted_secret"], found["confirmed"])

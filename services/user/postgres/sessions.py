"""Sessions in PostgreSQL. Locking the row of a session locks all its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import DictRow

from services.user.accounts.model import Account
from services.user.accounts.store import account_not_found
from services.user.client import Client
from services.user.postgres.queries import (
    ACCOUNTS,
    Connection,
    PostgresStore,
    delete_expired,
    execute,
    fetch_row,
    find_account,
    read_account,
)
from services.user.sessions.model import MAX_SESSIONS, RefreshToken, Rotation, Session, TokenUse

_TOKEN = "SELECT * FROM refresh_tokens WHERE sha256 = %s AND expire_time > %s"  # noqa: S105


class PostgresSessionStore(PostgresStore):
    """A SessionStore."""

    async def add(self, session: Session, token: RefreshToken, password_hash: str) -> bool:
        async with self._transaction() as connection:
            await delete_expired(connection, "sessions", "id", session.create_time)
            await delete_expired(connection, "refresh_tokens", "sha256", session.create_time)
        async with self._transaction() as connection:
            # A concurrent change that disables the account or replaces its password is either committed before, and
            # seen here, or waits for this lock, and ends this session too.
            if not await fetch_row(
                connection,
                "SELECT 1 FROM accounts WHERE id = %s AND disable_time IS NULL AND password_hash = %s FOR SHARE",
                *(session.account_id, password_hash),
            ):
                return False
            await connection.execute(
                "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE account_id = %s"
                " ORDER BY use_time DESC, id DESC OFFSET %s FOR UPDATE SKIP LOCKED)",
                (session.account_id, MAX_SESSIONS - 1),
            )
            await connection.execute(
                "INSERT INTO sessions"
                " (id, account_id, create_time, reauthentication_time, use_time, address, user_agent, expire_time)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    *(session.id, session.account_id, session.create_time, session.create_time, session.use_time),
                    *(session.client.address, session.client.user_agent, token.expire_time),
                ),
            )
            await _add(connection, session.id, token)
            return True

    async def rotate(self, sha256: bytes, use: TokenUse) -> Rotation | None:
        async with self._transaction() as connection:
            # Of two concurrent uses, the second waits here and then sees the successor of the first.
            session = await fetch_row(
                connection,
                "SELECT * FROM sessions WHERE id = (SELECT session_id FROM refresh_tokens WHERE sha256 = %s)"
                " FOR UPDATE",
                sha256,
            )
            token = await fetch_row(connection, _TOKEN, sha256, use.time) if session else None
            if session is None or token is None:
                return None
            holder = await find_account(connection, session["account_id"])
            if holder is None:
                raise account_not_found(session["account_id"])
            if (former := _use(token)) is not None:
                successor = await fetch_row(connection, _TOKEN, former.successor.sha256, use.time)
                if former.is_repeated_by(use, successor is None or successor["use_time"] is not None):
                    return Rotation(holder, session["id"], former.salt)
                await connection.execute("DELETE FROM sessions WHERE id = %s", (session["id"],))
                return Rotation(holder, session["id"], None)
            await connection.execute(
                "UPDATE refresh_tokens SET use_time = %s, use_address = %s, use_agent = %s, salt = %s,"
                " successor_sha256 = %s WHERE sha256 = %s",
                (use.time, use.client.address, use.client.user_agent, use.salt, use.successor.sha256, sha256),
            )
            await _add(connection, session["id"], use.successor)
            await connection.execute(
                "UPDATE sessions SET use_time = %s, address = %s, user_agent = %s, expire_time = %s WHERE id = %s",
                (use.time, use.client.address, use.client.user_agent, use.successor.expire_time, session["id"]),
            )
            return Rotation(holder, session["id"], use.salt)

    async def find_holder(self, session_id: str, now: datetime) -> Account | None:
        found = await self._fetch_row(
            f"{ACCOUNTS} JOIN sessions s ON s.account_id = a.id"
            " WHERE s.id = %s AND s.expire_time > %s AND a.disable_time IS NULL",
            *(session_id, now),
        )
        return read_account(found) if found else None

    async def find_holders(self, session_ids: Sequence[str], now: datetime) -> dict[str, Account]:
        rows = await self._fetch_rows(
            f"SELECT s.id AS session_id, h.* FROM sessions s JOIN ({ACCOUNTS}) h ON h.id = s.account_id"  # noqa: S608
            " WHERE s.id = ANY (%s) AND s.expire_time > %s AND h.disable_time IS NULL",
            *(list(session_ids), now),
        )
        return {found["session_id"]: read_account(found) for found in rows}

    async def record_proof(self, session_id: str, now: datetime) -> None:
        await self._execute("UPDATE sessions SET reauthentication_time = %s WHERE id = %s", now, session_id)

    async def find_reauthentication_time(self, session_id: str) -> datetime | None:
        found = await self._fetch_row("SELECT reauthentication_time FROM sessions WHERE id = %s", session_id)
        return found["reauthentication_time"] if found else None

    async def list_active(self, account_id: str, now: datetime) -> list[Session]:
        rows = await self._fetch_rows(
            "SELECT * FROM sessions WHERE account_id = %s AND expire_time > %s ORDER BY use_time DESC, id DESC",
            *(account_id, now),
        )
        return [_session(found) for found in rows]

    async def end(self, account_id: str, session_id: str) -> bool:
        return bool(
            await self._execute("DELETE FROM sessions WHERE account_id = %s AND id = %s", account_id, session_id)
        )

    async def end_all(self, account_id: str, keep: str = "") -> int:
        async with self._transaction() as connection:
            # Two concurrent calls could lock the same sessions in different orders, which is a deadlock.
            await connection.execute("SELECT 1 FROM accounts WHERE id = %s FOR UPDATE", (account_id,))
            return await execute(
                connection, "DELETE FROM sessions WHERE account_id = %s AND id <> %s", account_id, keep
            )

    async def end_by_token(self, sha256: bytes) -> Session | None:
        found = await self._fetch_row(
            "DELETE FROM sessions WHERE id = (SELECT session_id FROM refresh_tokens WHERE sha256 = %s) RETURNING *",
            sha256,
        )
        return _session(found) if found else None


async def _add(connection: Connection, session_id: str, token: RefreshToken) -> None:
    await connection.execute(
        "INSERT INTO refresh_tokens (sha256, session_id, expire_time) VALUES (%s, %s, %s)",
        (token.sha256, session_id, token.expire_time),
    )


def _use(token: DictRow) -> TokenUse | None:
    """Return the former use of a token; None when it is unused."""
    if token["use_time"] is None:
        return None
    # Tokens that were used before this column existed have no successor; no token has the empty hash.
    successor = RefreshToken(token["successor_sha256"] or b"", token["expire_time"])
    return TokenUse(token["use_time"], Client(token["use_address"], token["use_agent"]), token["salt"], successor)


def _session(found: DictRow) -> Session:
    return Session(
        id=found["id"],
        account_id=found["account_id"],
        create_time=found["create_time"],
        use_time=found["use_time"],
        client=Client(found["address"], found["user_agent"]),
    )

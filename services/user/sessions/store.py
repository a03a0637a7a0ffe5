"""Store: the Protocol of the store of sessions and refresh tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services.user.accounts.model import Account
from services.user.sessions.model import RefreshToken, Rotation, Session, TokenUse


class SessionStore(Protocol):
    """Sessions and their refresh tokens. A session is active until it is ended or its newest token expires."""

    async def add(self, session: Session, token: RefreshToken, password_hash: str) -> bool:
        """Store a session and its first token.

        False, and nothing is stored, when the account is disabled or `password_hash` is not current.
        """

    async def rotate(self, sha256: bytes, use: TokenUse) -> Rotation | None:
        """Use a token and replace it by its successor. None when there is no such token.

        A token that was used before ends its session, unless the former use `is_repeated_by` this one, which then
        gets the same salt.
        """

    async def find_holder(self, session_id: str, now: datetime) -> Account | None:
        """Return the enabled account of an active session."""

    async def find_holders(self, session_ids: Sequence[str], now: datetime) -> dict[str, Account]:
        """Return the enabled accounts of several sessions by session id, without those that are not active."""

    async def record_proof(self, session_id: str, now: datetime) -> None:
        """Record that the identity of a session was proven again."""

    async def find_reauthentication_time(self, session_id: str) -> datetime | None:
        """Return when the identity of a session was last proven; None when the session has ended."""

    async def list_active(self, account_id: str, now: datetime) -> list[Session]:
        """Return the active sessions of an account, the last used first."""

    async def end(self, account_id: str, session_id: str) -> bool:
        """End a session of an account; False when there is none of this id."""

    async def end_all(self, account_id: str, keep: str = "") -> int:
        """End the sessions of an account but `keep`; return how many there were."""

    async def end_by_token(self, sha256: bytes) -> Session | None:
        """End the session of a token, and return it."""

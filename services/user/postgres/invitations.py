"""Invitations in PostgreSQL. Used and deleted invitations are removed."""

from __future__ import annotations

from datetime import datetime

from psycopg.rows import DictRow

from services.runtime.pagination import Cursor
from services.user.accounts.model import Invitation
from services.user.postgres.queries import VALID_INVITATION, PostgresStore, delete_expired


class PostgresInvitationStore(PostgresStore):
    """An InvitationStore."""

    async def add(self, invitation: Invitation) -> None:
        async with self._transaction() as connection:
            await delete_expired(connection, "invitations", "id", invitation.create_time)
            await connection.execute(
                "INSERT INTO invitations (id, sha256, roles, note, creator_id, create_time, expire_time)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (
                    *(invitation.id, invitation.sha256, list(invitation.roles), invitation.note),
                    *(invitation.creator_id, invitation.create_time, invitation.expire_time),
                ),
            )

    async def find(self, sha256: bytes, now: datetime) -> Invitation | None:
        found = await self._fetch_row(
            f"SELECT * FROM invitations i WHERE i.sha256 = %s AND {VALID_INVITATION}",  # noqa: S608
            *(sha256, now),
        )
        return _invitation(found) if found else None

    async def list_page(self, size: int, after: Cursor | None, now: datetime) -> list[Invitation]:
        create_time, last_id = after or (None, None)
        rows = await self._fetch_rows(
            f"SELECT * FROM invitations i WHERE {VALID_INVITATION}"  # noqa: S608
            " AND (%s::timestamptz IS NULL OR (i.create_time, i.id) < (%s::timestamptz, %s))"
            " ORDER BY i.create_time DESC, i.id DESC LIMIT %s",
            *(now, create_time, create_time, last_id, size),
        )
        return [_invitation(found) for found in rows]

    async def delete(self, invitation_id: str, now: datetime) -> bool:
        return bool(
            await self._execute(
                f"DELETE FROM invitations i WHERE i.id = %s AND {VALID_INVITATION}",  # noqa: S608
                *(invitation_id, now),
            )
        )


def _invitation(found: DictRow) -> Invitation:
    return Invitation(
        id=found["id"],
        sha256=found["sha256"],
        roles=tuple(found["roles"]),
        note=found["note"],
        creator_id=found["creator_id"],
        create_time=found["create_time"],
        expire_time=found["expire_time"],
    )

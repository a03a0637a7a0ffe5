"""Authority: which sessions and API keys are valid now, and with which roles."""

from __future__ import annotations

from collections.abc import Sequence

from services.user.desk import KEY_PREFIX, Desk, key_holder

Credential = tuple[str, str]
"""An account's id, and that of a session or API key."""


async def valid_roles(desk: Desk, credentials: Sequence[Credential]) -> list[tuple[str, ...] | None]:
    """The roles of each credential; None of one that is not valid, or is another account's."""
    now = desk.now()
    ids = {credential_id for _, credential_id in credentials}
    key_ids = [id for id in ids if id.startswith(KEY_PREFIX)]
    holders = await desk.store.sessions.holders(list(ids.difference(key_ids)), now)
    for found in await desk.store.keys.find_all(key_ids):
        if holder := key_holder(found, now):
            holders[found[0].id] = holder
    states: list[tuple[str, ...] | None] = []
    for account_id, credential_id in credentials:
        holder = holders.get(credential_id)
        states.append(holder.roles if holder is not None and holder.id == account_id else None)
    return states

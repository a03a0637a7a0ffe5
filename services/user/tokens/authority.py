"""Authority: which sessions and API keys are valid now, and with which roles."""

from __future__ import annotations

from collections.abc import Sequence

from services.user.api_keys.model import KEY_PREFIX, find_active_holder
from services.user.context import Context

Credential = tuple[str, str]
"""The id of an account, and that of a session or API key."""


async def find_valid_roles(context: Context, credentials: Sequence[Credential]) -> list[tuple[str, ...] | None]:
    """Return the roles of each credential; None where it is not valid, or belongs to another account."""
    now = context.now()
    ids = {credential_id for _, credential_id in credentials}
    key_ids = [id for id in ids if id.startswith(KEY_PREFIX)]
    holders = await context.store.sessions.find_holders(list(ids.difference(key_ids)), now)
    for found in await context.store.api_keys.find_all(key_ids):
        if holder := find_active_holder(found, now):
            holders[found[0].id] = holder
    roles: list[tuple[str, ...] | None] = []
    for account_id, credential_id in credentials:
        holder = holders.get(credential_id)
        roles.append(holder.roles if holder is not None and holder.id == account_id else None)
    return roles

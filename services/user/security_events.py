"""Security events: what was done with an account, as its owner reads it. It is a part of the audit trail."""

from __future__ import annotations

from services.user.desk import Actor, Desk, acting
from services.user.trail import Filter, Record, Trail

ACTIONS = (
    *("sign_in", "sign_out", "step_up", "session.end", "session.end_all", "profile.update"),
    *("password.change", "password.set", "password.reset", "totp.enrol", "totp.confirm", "totp.disable"),
    *("api_key.create", "api_key.revoke", "invitation.create"),
    *("account.register", "account.set_roles", "account.disable", "account.enable", "account.unlock"),
    *("account.end_sessions", "account.close"),
)
"""What may show that another one uses an account. Reads, and what machines do every few minutes, are left out."""


async def listed(desk: Desk, trail: Trail, actor: Actor, size: int, token: str) -> tuple[list[Record], str]:
    """A page of the events of who is asking, newest first, and the token of the next."""
    account = await acting(desk, actor)
    return await trail.page(Filter(account=account.id, actions=ACTIONS), size, token)

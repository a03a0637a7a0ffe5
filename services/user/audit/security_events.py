"""Security events: the part of the audit log that the owner of an account may read."""

from __future__ import annotations

from services.user.audit.audit_log import AuditLog
from services.user.audit.model import Record, RecordFilter
from services.user.authorization import require_account
from services.user.context import Actor, Context

ACTIONS = (
    *("sign_in", "sign_out", "step_up", "session.end", "session.end_all", "profile.update"),
    *("password.change", "password.set", "password.reset", "totp.enrol", "totp.confirm", "totp.disable"),
    *("api_key.create", "api_key.revoke", "invitation.create"),
    *("account.register", "account.set_roles", "account.disable", "account.enable", "account.unlock"),
    *("account.end_sessions", "account.close"),
)
"""The actions that can show misuse of an account; without reads, and what machines do every few minutes."""


async def list_security_events(
    context: Context, audit_log: AuditLog, actor: Actor, size: int, token: str
) -> tuple[list[Record], str]:
    """Return a page of the events of the actor's account, newest first, and the token of the next page."""
    account = await require_account(context, actor)
    return await audit_log.list_page(RecordFilter(account=account.id, actions=ACTIONS), size, token)

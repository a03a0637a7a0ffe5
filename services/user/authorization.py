"""Authorization: whether the actor of a request may do what it asks for, by the present state of its account.

Some operations need a recent proof of identity, so that a stolen token does not suffice for them. A session is proven
by signing in and by `step_up`; an older proof than `REAUTHENTICATION_LIFETIME` is refused with STEP_UP_REQUIRED.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from moneyprinter.errors import PermissionDenied, Unauthenticated
from services.user.accounts.model import ADMINISTRATOR_ROLE, Account
from services.user.api_keys.model import find_active_holder
from services.user.audit.actions import AuditEntry
from services.user.context import Actor, Context

REAUTHENTICATION_LIFETIME = timedelta(minutes=5)


async def require_account(context: Context, actor: Actor, *, allow_api_key: bool = False, role: str = "") -> Account:
    """Return the present account of the actor, with the roles that the actor may use.

    The access token may be older than a change of the account. Raises `Unauthenticated` when the account was disabled
    or the session has ended, and `PermissionDenied` when the account lacks `role`, or the actor is an API key although
    `allow_api_key` is false.
    """
    if actor.is_api_key:
        if not allow_api_key:
            raise PermissionDenied("an API key cannot do this; sign in", reason="SESSION_REQUIRED")
        account = find_active_holder(await context.store.api_keys.find(actor.session_id), context.now())
    else:
        account = await context.store.sessions.find_holder(actor.session_id, context.now())
    if account is None or account.id != actor.account_id:
        raise Unauthenticated("the session of this token is over; sign in again", reason="TOKEN_INVALID")
    if role and role not in account.roles:
        raise PermissionDenied(f"this needs the role {role}; ask an administrator for it", reason="ROLE_MISSING")
    return account


async def require_administrator(context: Context, actor: Actor) -> None:
    """Raise as `require_account` does unless the actor is an administrator, or an API key of one."""
    await require_account(context, actor, allow_api_key=True, role=ADMINISTRATOR_ROLE)


async def require_recent_proof(context: Context, actor: Actor, *, role: str = "") -> Account:
    """Return the account of the actor as `require_account` does.

    Raises `PermissionDenied` (STEP_UP_REQUIRED) when the last reauthentication of the session is older than
    `REAUTHENTICATION_LIFETIME`.
    """
    account = await require_account(context, actor, role=role)
    reauthentication_time = await context.store.sessions.find_reauthentication_time(actor.session_id)
    if reauthentication_time is None or context.now() - reauthentication_time > REAUTHENTICATION_LIFETIME:
        proof = "a code of your authenticator app" if account.mfa_enabled else "your password"
        raise PermissionDenied(
            f"prove that it is you: send {proof} to POST /v1/auth/step-up (StepUp), or sign in again, and repeat this "
            f"within {REAUTHENTICATION_LIFETIME.total_seconds() / 60:.0f} minutes",
            reason="STEP_UP_REQUIRED",
        )
    return account


@asynccontextmanager
async def admin_action(
    context: Context, actor: Actor, action: str, target: str = "", *, roles: Sequence[str] = (), **details: str
) -> AsyncIterator[AuditEntry]:
    """Record the body of this context as an administrator's action on the account `target`, or with `roles`.

    A person needs a recently proven session. An API key has no session: it may act neither on its owner's account nor
    on administrators, and may create none. Raises `PermissionDenied`, `Unauthenticated`.
    """
    async with context.audit_actor_action(actor, action, target) as entry:
        entry.details.update(details)
        if actor.is_api_key:
            await require_administrator(context, actor)
            account = await context.store.accounts.find(target) if target.startswith("user_") else None
            if (
                target == actor.account_id
                or ADMINISTRATOR_ROLE in roles
                or (account is not None and ADMINISTRATOR_ROLE in account.roles)
            ):
                raise PermissionDenied(
                    "an API key can neither act on its owner's account nor on administrators, nor make any; sign in",
                    reason="SESSION_REQUIRED",
                )
        else:
            await require_recent_proof(context, actor, role=ADMINISTRATOR_ROLE)
        yield entry

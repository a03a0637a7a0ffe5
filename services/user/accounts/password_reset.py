"""Password reset: an administrator replaces a lost password by a token, with which the owner sets a new password."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from moneyprinter.errors import PermissionDenied
from services.user.accounts.credential_rules import validate_new_password
from services.user.accounts.model import PasswordReset
from services.user.authentication.reauthentication import sign_in_counters
from services.user.authorization import admin_action
from services.user.client import Client
from services.user.context import Actor, Context
from services.user.tokens.opaque_tokens import hash_token

RESET_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True)
class ResetToken:
    """The token that the owner of an account needs to set a new password."""

    token: str = field(repr=False)
    expire_time: datetime


async def reset_password(context: Context, actor: Actor, account_id: str, disable_totp: bool) -> ResetToken:
    """Remove an account's password, and return the token to set a new one with, which is not stored.

    API keys are refused: the holder of one could sign in as any user. Raises `NotFound`, `PermissionDenied`.
    """
    async with admin_action(context, actor, "password.reset", account_id, disable_totp=str(disable_totp).lower()):
        if actor.is_api_key:
            raise PermissionDenied("an API key cannot reset passwords; sign in", reason="SESSION_REQUIRED")
        token, expire_time = context.new_token(), context.now() + RESET_LIFETIME
        await context.store.accounts.start_reset(
            account_id, PasswordReset(hash_token(token), expire_time), disable_totp
        )
        return ResetToken(token, expire_time)


async def set_password(context: Context, token: str, new: str, client: Client) -> None:
    """Set a new password with the token of a reset.

    Raises `PermissionDenied` when the token is not valid, `InvalidArgument` when the password is not acceptable.
    """
    async with context.audit_action("password.set", client) as entry:
        account = await context.store.accounts.find_by_reset_token(hash_token(token), context.now())
        if account is not None:
            entry.target = account.id
            validate_new_password(new, account.username, "new_password")
            account = await context.store.accounts.complete_reset(
                hash_token(token), await context.passwords.hash(new), context.now()
            )
        if account is None:
            await context.throttle.count_invalid_token("reset token", client.address, context.now())
            raise PermissionDenied(
                "the token for a new password is unknown, expired, or was used before", reason="RESET_TOKEN_INVALID"
            )
        entry.actor = account.id
        # Failed attempts were at the former password. The codes are the same, and their counters stay.
        await context.throttle.unlock(await sign_in_counters(context, account))

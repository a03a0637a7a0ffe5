"""Administration: operations on other users' accounts. Each checks the administrator's own account first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.runtime.pagination import Page, PageRequest, item_cursor, list_page
from services.user.accounts.model import PAGE_SIZE, Account
from services.user.accounts.store import account_not_found
from services.user.authentication.reauthentication import sign_in_counters
from services.user.authentication.throttling import (
    enrollment_counter,
    password_counter,
    recovery_code_counter,
    totp_counter,
)
from services.user.authorization import admin_action, require_administrator
from services.user.context import Actor, Context


@dataclass(frozen=True)
class AccountView:
    """An account as an administrator sees it."""

    account: Account
    lock_end: datetime | None
    """Until when attempts to sign in are refused after too many failures; None: they are not."""


@dataclass(frozen=True)
class EndedAccess:
    """How many sessions were ended, and how many API keys revoked."""

    sessions: int
    api_keys: int


async def list_accounts(context: Context, actor: Actor, request: PageRequest) -> Page[Account]:
    """Return a page of all accounts."""
    await require_administrator(context, actor)
    return await list_page(request, context.store.accounts.list_page, item_cursor, PAGE_SIZE)


async def get_account(context: Context, actor: Actor, account_id: str) -> AccountView:
    """Return one account. Raises `NotFound`."""
    await require_administrator(context, actor)
    account = await _find_account(context, account_id)
    return AccountView(account, await context.throttle.lock_end(await _counters(context, account), context.now()))


async def set_roles(context: Context, actor: Actor, account_id: str, roles: tuple[str, ...]) -> Account:
    """Replace the roles of an account.

    Raises `NotFound`, and `FailedPrecondition` when no active administrator would be left.
    """
    async with admin_action(context, actor, "account.set_roles", account_id, roles=roles) as entry:
        entry.details["roles"] = " ".join(roles)
        return await context.store.accounts.set_roles(account_id, roles)


async def disable_account(context: Context, actor: Actor, account_id: str) -> Account:
    """Disable an account.

    Raises `NotFound`, and `FailedPrecondition` when no active administrator would be left.
    """
    async with admin_action(context, actor, "account.disable", account_id):
        return await context.store.accounts.disable(account_id, context.now())


async def enable_account(context: Context, actor: Actor, account_id: str) -> Account:
    """Enable an account. Raises `NotFound`."""
    async with admin_action(context, actor, "account.enable", account_id):
        return await context.store.accounts.enable(account_id)


async def unlock_account(context: Context, actor: Actor, account_id: str) -> None:
    """Clear the failed attempts of an account. Raises `NotFound`."""
    async with admin_action(context, actor, "account.unlock", account_id):
        await context.throttle.unlock(await _counters(context, await _find_account(context, account_id)))


async def end_account_sessions(context: Context, actor: Actor, account_id: str, revoke_api_keys: bool) -> EndedAccess:
    """End the sessions of an account and, with `revoke_api_keys`, revoke its API keys. Raises `NotFound`."""
    async with admin_action(
        context, actor, "account.end_sessions", account_id, revoke_keys=str(revoke_api_keys).lower()
    ):
        account = await _find_account(context, account_id)
        api_keys = await context.store.api_keys.revoke_all(account.id, context.now()) if revoke_api_keys else 0
        return EndedAccess(await context.store.sessions.end_all(account.id), api_keys)


async def _counters(context: Context, account: Account) -> list[str]:
    """Return the counters of all proofs of an account's identity."""
    return [
        *await sign_in_counters(context, account),
        *(password_counter(account.id), totp_counter(account.id)),
        *(recovery_code_counter(account.id), enrollment_counter(account.id)),
    ]


async def _find_account(context: Context, account_id: str) -> Account:
    account = await context.store.accounts.find(account_id)
    if account is None:
        raise account_not_found(account_id)
    return account

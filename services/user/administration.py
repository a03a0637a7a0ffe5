"""Administration: other people's accounts. Every action reads the administrator's own account first."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from moneyprinter.errors import PermissionDenied
from services.user.accounts import Account
from services.user.attempts import code_of, enrolment_of, password_again, recovery_code_of
from services.user.desk import Actor, Desk, administrator, sha256
from services.user.pages import Page, Wanted, page
from services.user.proof import administering, sign_in_proofs
from services.user.store import Reset, no_account
from services.user.trail import Filter, Head, Record, Trail, Verdict

RESET_LIFE = timedelta(hours=24)


@dataclass(frozen=True)
class Seen:
    """An account as an administrator sees it."""

    account: Account
    lock_end: datetime | None
    """Until when its name is refused after too many failures; None: it is not."""


@dataclass(frozen=True)
class ResetToken:
    """What the owner of an account is given to set a new password."""

    token: str = field(repr=False)
    expire_time: datetime


@dataclass(frozen=True)
class Ended:
    """What was ended of an account."""

    sessions: int
    keys: int


async def accounts(desk: Desk, actor: Actor, wanted: Wanted) -> Page[Account]:
    """A page of all accounts."""
    await administrator(desk, actor)
    return await page(wanted, desk.store.accounts.page)


async def get(desk: Desk, actor: Actor, account_id: str) -> Seen:
    """One account. Raises NotFound."""
    await administrator(desk, actor)
    account = await _found(desk, account_id)
    return Seen(account, await desk.guard.lock_end(await _proofs(desk, account), desk.now()))


async def set_roles(desk: Desk, actor: Actor, account_id: str, roles: tuple[str, ...]) -> Account:
    """Give an account its roles. Raises NotFound, FailedPrecondition when no administrator were left."""
    async with administering(desk, actor, "account.set_roles", account_id, roles=roles) as entry:
        entry.details["roles"] = " ".join(roles)
        return await desk.store.accounts.set_roles(account_id, roles)


async def disable(desk: Desk, actor: Actor, account_id: str) -> Account:
    """Disable an account. Raises NotFound, FailedPrecondition when no administrator were left."""
    async with administering(desk, actor, "account.disable", account_id):
        return await desk.store.accounts.disable(account_id, desk.now())


async def enable(desk: Desk, actor: Actor, account_id: str) -> Account:
    """Enable an account again. Raises NotFound."""
    async with administering(desk, actor, "account.enable", account_id):
        return await desk.store.accounts.enable(account_id)


async def unlock(desk: Desk, actor: Actor, account_id: str) -> None:
    """Let an account's password and codes be tried again. Raises NotFound."""
    async with administering(desk, actor, "account.unlock", account_id):
        await desk.guard.unlock(await _proofs(desk, await _found(desk, account_id)))


async def end_sessions(desk: Desk, actor: Actor, account_id: str, revoke_keys: bool) -> Ended:
    """End the sessions of an account, and revoke its API keys if that is asked for. Raises NotFound."""
    async with administering(desk, actor, "account.end_sessions", account_id, revoke_keys=str(revoke_keys).lower()):
        account = await _found(desk, account_id)
        keys = await desk.store.keys.revoke_all(account.id, desk.now()) if revoke_keys else 0
        return Ended(await desk.store.sessions.end_all(account.id), keys)


async def reset_password(desk: Desk, actor: Actor, account_id: str, disable_totp: bool) -> ResetToken:
    """Take an account's password; returns the token to set a new one with, once. Raises NotFound.

    Raises PermissionDenied for an API key: with it, its holder could sign in as any user.
    """
    async with administering(desk, actor, "password.reset", account_id, disable_totp=str(disable_totp).lower()):
        if actor.is_machine:
            raise PermissionDenied("an API key cannot reset passwords; sign in", reason="SESSION_REQUIRED")
        token, expire_time = desk.new_token(), desk.now() + RESET_LIFE
        await desk.store.accounts.begin_reset(account_id, Reset(sha256(token), expire_time), disable_totp)
        return ResetToken(token, expire_time)


async def records(desk: Desk, trail: Trail, actor: Actor, fitting: Filter, wanted: Wanted) -> tuple[list[Record], str]:
    """A page of the audit trail, newest first, and the token of the next."""
    await administrator(desk, actor)
    return await trail.page(fitting, wanted.size, wanted.token)


async def verify(desk: Desk, trail: Trail, actor: Actor, known: Head) -> Verdict:
    """Whether the audit trail is as it was written. Raises ResourceExhausted while another verification goes on."""
    await administrator(desk, actor)
    return await trail.verify(known)


async def _proofs(desk: Desk, account: Account) -> list[str]:
    """The counters of all proofs of an account."""
    return [
        *await sign_in_proofs(desk, account),
        *(password_again(account.id), code_of(account.id), recovery_code_of(account.id), enrolment_of(account.id)),
    ]


async def _found(desk: Desk, account_id: str) -> Account:
    account = await desk.store.accounts.find(account_id)
    if account is None:
        raise no_account(account_id)
    return account

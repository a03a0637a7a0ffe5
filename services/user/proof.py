"""Proof: a session proves again whose it is, before what a stolen token must not be enough for.

A session is proven by signing in and, later, by the account's password or, where it asks for codes, by a code. What
needs a proof is refused (STEP_UP_REQUIRED) when the last one is older than `PROOF_LIFE`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from moneyprinter.errors import Error, InvalidArgument, PermissionDenied, Violation
from services.user.accounts import ADMINISTRATOR, Account
from services.user.attempts import code_of, password_again, password_of, recovery_code_of
from services.user.audit import Entry
from services.user.desk import Actor, Desk, acting, administrator
from services.user.store import Client

PROOF_LIFE = timedelta(minutes=5)


@dataclass(frozen=True)
class Code:
    """What is shown beside the password; one of the two, or none."""

    totp: str = field(default="", repr=False)
    recovery: str = field(default="", repr=False)

    @property
    def given(self) -> bool:
        """Whether there is one."""
        return bool(self.totp or self.recovery)


async def step_up(desk: Desk, actor: Actor, password: str, code: Code) -> datetime:
    """Prove a session again; returns until when that counts. Raises PermissionDenied, InvalidArgument."""
    async with desk.audited_by(actor, "step_up", actor.account_id):
        account = await acting(desk, actor)
        if account.mfa and not code.given:
            raise PermissionDenied(
                "this account asks for a code: send totp_code or recovery_code", reason="MFA_REQUIRED"
            )
        if not account.mfa and not password:
            said = "is needed, since this account asks for no codes"
            raise InvalidArgument(
                f"password: {said}", reason="REQUEST_INVALID", violations=[Violation("password", said)]
            )
        if password:
            await check_password(desk, account, password, actor.client)
        if account.mfa:
            await check_code(desk, account, code, actor.client, _wrong_code())
        now = desk.now()
        await desk.store.sessions.prove(actor.session_id, now)
        return now + PROOF_LIFE


async def acting_proven(desk: Desk, actor: Actor, *, role: str = "") -> Account:
    """The account that is asking, as `acting` gives it, by a session that was proven lately.

    Raises PermissionDenied, STEP_UP_REQUIRED, when it was not.
    """
    account = await acting(desk, actor, role=role)
    proof_time = await desk.store.sessions.proof_time(actor.session_id)
    if proof_time is None or desk.now() - proof_time > PROOF_LIFE:
        what = "a code of your authenticator app" if account.mfa else "your password"
        raise PermissionDenied(
            f"prove that it is you: send {what} to POST /v1/auth/step-up (StepUp), or sign in again, and repeat this "
            f"within {PROOF_LIFE.total_seconds() / 60:.0f} minutes",
            reason="STEP_UP_REQUIRED",
        )
    return account


@asynccontextmanager
async def administering(
    desk: Desk, actor: Actor, action: str, target: str = "", *, roles: Sequence[str] = (), **details: str
) -> AsyncIterator[Entry]:
    """Record what is done in this context to the account `target`, or with `roles`; let administrators only do it.

    A person needs a session that was proven lately. A machine has none: it may act neither on its owner's account nor
    on administrators, and may make none. Raises PermissionDenied, Unauthenticated.
    """
    async with desk.audited_by(actor, action, target) as entry:
        entry.details.update(details)
        if actor.is_machine:
            await administrator(desk, actor)
            account = await desk.store.accounts.find(target) if target.startswith("user_") else None
            if (
                target == actor.account_id
                or ADMINISTRATOR in roles
                or (account is not None and ADMINISTRATOR in account.roles)
            ):
                raise PermissionDenied(
                    "an API key can neither act on its owner's account nor on administrators, nor make any; sign in",
                    reason="SESSION_REQUIRED",
                )
        else:
            await acting_proven(desk, actor, role=ADMINISTRATOR)
        yield entry


async def sign_in_proofs(desk: Desk, account: Account) -> list[str]:
    """The counters of an account's password where it is signed in to: for strangers, and at home."""
    networks = await desk.store.accounts.networks(account.id, desk.now())
    return [password_of(account.username, network) for network in ("", *networks)]


async def check_password(desk: Desk, account: Account, password: str, client: Client) -> None:
    """Check the password of an account that is signed in.

    Raises PermissionDenied, or ResourceExhausted after too many failures.
    """
    async with desk.guard.counted(password_again(account.id), client.address, desk.now):
        if not await desk.passwords.verify(account.password_hash, password):
            raise PermissionDenied("the password is wrong", reason="CREDENTIALS_WRONG")


async def check_code(desk: Desk, account: Account, code: Code, client: Client, wrong: Error) -> None:
    """Check a code of an account, which is used up. Raises `wrong`, or ResourceExhausted after too many failures."""
    proof = recovery_code_of(account.id) if code.recovery else code_of(account.id)
    async with desk.guard.counted(proof, client.address, desk.now):
        if not await _code_is_good(desk, account, code):
            raise wrong


async def check_both(desk: Desk, account: Account, password: str, code: Code, client: Client) -> None:
    """Check the password and a code. Raises PermissionDenied, or ResourceExhausted after too many failures."""
    await check_password(desk, account, password, client)
    await check_code(desk, account, code, client, _wrong_code())


async def _code_is_good(desk: Desk, account: Account, code: Code) -> bool:
    if code.recovery:
        digest = desk.seal.digest(account.id, plain(code.recovery))
        return await desk.store.factors.use_recovery_code(account.id, digest)
    kept = await desk.store.factors.totp(account.id)
    if kept is None or not kept.confirmed:
        return False
    counter = desk.codes.counter(desk.seal.open(account.id, kept.sealed), code.totp, desk.now())
    return counter is not None and await desk.store.factors.use_counter(account.id, counter)


def plain(recovery_code: str) -> str:
    """A recovery code as it is hashed, however it was typed."""
    return recovery_code.lower().replace("-", "").replace(" ", "")


def _wrong_code() -> PermissionDenied:
    return PermissionDenied("the code is wrong, too old, or was used before", reason="MFA_CODE_WRONG")

"""Reauthentication: the password and the codes of an account that is signed in are checked again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from moneyprinter.errors import Error, InvalidArgument, PermissionDenied, Violation
from services.user.accounts.model import Account
from services.user.authentication.throttling import (
    password_counter,
    recovery_code_counter,
    sign_in_counter,
    totp_counter,
)
from services.user.authorization import REAUTHENTICATION_LIFETIME, require_account
from services.user.client import Client
from services.user.context import Actor, Context


@dataclass(frozen=True)
class SecondFactorCode:
    """A TOTP code, a recovery code, or neither."""

    totp: str = field(default="", repr=False)
    recovery: str = field(default="", repr=False)

    @property
    def is_present(self) -> bool:
        """Whether there is a code."""
        return bool(self.totp or self.recovery)


async def step_up(context: Context, actor: Actor, password: str, code: SecondFactorCode) -> datetime:
    """Prove the identity of a session again, and return until when the proof counts.

    Takes a code where the account has MFA enabled, else the password. Raises `PermissionDenied`, `InvalidArgument`, and
    `ResourceExhausted` after too many failures.
    """
    async with context.audit_actor_action(actor, "step_up", actor.account_id):
        account = await require_account(context, actor)
        if account.mfa_enabled and not code.is_present:
            raise PermissionDenied(
                "this account asks for a code: send totp_code or recovery_code", reason="MFA_REQUIRED"
            )
        if not account.mfa_enabled and not password:
            problem = "is needed, since this account asks for no codes"
            raise InvalidArgument(
                f"password: {problem}", reason="REQUEST_INVALID", violations=[Violation("password", problem)]
            )
        if password:
            await require_password(context, account, password, actor.client)
        if account.mfa_enabled:
            await require_code(context, account, code, actor.client, _wrong_code())
        now = context.now()
        await context.store.sessions.record_proof(actor.session_id, now)
        return now + REAUTHENTICATION_LIFETIME


async def sign_in_counters(context: Context, account: Account) -> list[str]:
    """Return the counters of an account's sign-ins: from unknown networks, and from each known one."""
    networks = await context.store.accounts.find_known_networks(account.id, context.now())
    return [sign_in_counter(account.username, network) for network in ("", *networks)]


async def require_password(context: Context, account: Account, password: str, client: Client) -> None:
    """Check the password of an account that is signed in.

    Raises `PermissionDenied` when it is wrong, `ResourceExhausted` after too many failures.
    """
    async with context.throttle.attempt(password_counter(account.id), client.address, context.now):
        if not await context.passwords.verify(account.password_hash, password):
            raise PermissionDenied("the password is wrong", reason="CREDENTIALS_WRONG")


async def require_code(
    context: Context, account: Account, code: SecondFactorCode, client: Client, wrong: Error
) -> None:
    """Use up a code of an account. Raises `wrong` when it is not valid, `ResourceExhausted` after too many failures."""
    counter = recovery_code_counter(account.id) if code.recovery else totp_counter(account.id)
    async with context.throttle.attempt(counter, client.address, context.now):
        if not await _use_code(context, account, code):
            raise wrong


async def require_password_and_code(
    context: Context, account: Account, password: str, code: SecondFactorCode, client: Client
) -> None:
    """Check the password and a code.

    Raises `PermissionDenied` when one is wrong, `ResourceExhausted` after too many failures.
    """
    await require_password(context, account, password, client)
    await require_code(context, account, code, client, _wrong_code())


async def _use_code(context: Context, account: Account, code: SecondFactorCode) -> bool:
    if code.recovery:
        digest = context.cipher.digest(account.id, normalize_recovery_code(code.recovery))
        return await context.store.second_factors.use_recovery_code(account.id, digest)
    totp = await context.store.second_factors.find_totp(account.id)
    if totp is None or not totp.confirmed:
        return False
    secret = context.cipher.decrypt(account.id, totp.encrypted)
    counter = context.totp.find_counter(secret, code.totp, context.now())
    return counter is not None and await context.store.second_factors.use_counter(account.id, counter)


def normalize_recovery_code(recovery_code: str) -> str:
    """Return the form in which a recovery code is hashed: lower case, without hyphens and spaces."""
    return recovery_code.lower().replace("-", "").replace(" ", "")


def _wrong_code() -> PermissionDenied:
    return PermissionDenied("the code is wrong, too old, or was used before", reason="MFA_CODE_WRONG")

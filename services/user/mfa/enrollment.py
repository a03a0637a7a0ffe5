"""Enrollment: users enable and disable the codes of an authenticator app. No code is valid twice."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from moneyprinter.errors import FailedPrecondition, PermissionDenied
from services.user.authentication.reauthentication import (
    SecondFactorCode,
    normalize_recovery_code,
    require_password,
    require_password_and_code,
)
from services.user.authentication.throttling import enrollment_counter
from services.user.authorization import require_account
from services.user.context import Actor, Context

RECOVERY_CODES = 10
# 80 bits: 16 letters of base 32, in groups that are easy to read and type.
_RECOVERY_BYTES = 10
_GROUP = 4


@dataclass(frozen=True)
class Enrollment:
    """A secret to be confirmed, and its `otpauth:` URI."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


async def enroll_totp(context: Context, actor: Actor, password: str) -> Enrollment:
    """Create a secret, which has no effect until it is confirmed.

    Raises `PermissionDenied` when the password is wrong, `FailedPrecondition` when MFA is enabled already.
    """
    async with context.audit_actor_action(actor, "totp.enrol", actor.account_id):
        account = await require_account(context, actor)
        if account.mfa_enabled:
            raise _already_enabled()
        secret = context.totp.new_secret()
        await require_password(context, account, password, actor.client)
        if not await context.store.second_factors.enroll_totp(account.id, context.cipher.encrypt(account.id, secret)):
            raise _already_enabled()
        return Enrollment(secret, context.totp.uri(secret, account.username))


async def confirm_totp(context: Context, actor: Actor, code: str) -> list[str]:
    """Enable MFA with a code of the enrolled secret; return the recovery codes.

    Raises `PermissionDenied` when the code is wrong, `FailedPrecondition` when there is nothing to confirm.
    """
    async with context.audit_actor_action(actor, "totp.confirm", actor.account_id):
        account = await require_account(context, actor)
        totp = await context.store.second_factors.find_totp(account.id)
        if totp is None:
            raise FailedPrecondition("enrol an authenticator app first", reason="MFA_STATE_WRONG")
        if totp.confirmed:
            raise _already_enabled()
        async with context.throttle.attempt(enrollment_counter(account.id), actor.client.address, context.now):
            secret = context.cipher.decrypt(account.id, totp.encrypted)
            counter = context.totp.find_counter(secret, code, context.now())
            if counter is None:
                raise PermissionDenied("the code is wrong or too old", reason="MFA_CODE_WRONG")
        codes = [_format_recovery_code(context.random(_RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]
        digests = tuple(context.cipher.digest(account.id, normalize_recovery_code(code)) for code in codes)
        if not await context.store.second_factors.confirm_totp(account.id, totp.encrypted, counter, digests):
            raise _already_enabled()
        return codes


async def disable_totp(context: Context, actor: Actor, password: str, code: SecondFactorCode) -> None:
    """Disable MFA.

    Raises `PermissionDenied` when password or code are wrong, `FailedPrecondition` when MFA is not enabled.
    """
    async with context.audit_actor_action(actor, "totp.disable", actor.account_id):
        account = await require_account(context, actor)
        if not account.mfa_enabled:
            raise FailedPrecondition("this account asks for no codes", reason="MFA_STATE_WRONG")
        await require_password_and_code(context, account, password, code, actor.client)
        await context.store.second_factors.disable_totp(account.id)


def _format_recovery_code(data: bytes) -> str:
    text = base64.b32encode(data).decode().lower()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def _already_enabled() -> FailedPrecondition:
    return FailedPrecondition("this account asks for codes already; disable them first", reason="MFA_STATE_WRONG")

"""Mfa: codes of an authenticator app, and recovery codes for when it is lost. No code is good twice."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from moneyprinter.errors import FailedPrecondition, PermissionDenied
from services.user.attempts import enrolment_of
from services.user.desk import Actor, Desk, acting
from services.user.proof import Code, check_both, check_password, plain

RECOVERY_CODES = 10
# 80 bits: 16 letters of base 32, in groups that can be read out.
_RECOVERY_BYTES = 10
_GROUP = 4


@dataclass(frozen=True)
class Enrolment:
    """A secret to be confirmed."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


async def enrol(desk: Desk, actor: Actor, password: str) -> Enrolment:
    """Make a secret, which counts when it was confirmed. Raises PermissionDenied, FailedPrecondition."""
    async with desk.audited_by(actor, "totp.enrol", actor.account_id):
        account = await acting(desk, actor)
        if account.mfa:
            raise _enabled()
        secret = desk.codes.new_secret()
        await check_password(desk, account, password, actor.client)
        if not await desk.store.factors.enrol(account.id, desk.seal.seal(account.id, secret)):
            raise _enabled()
        return Enrolment(secret, desk.codes.uri(secret, account.username))


async def confirm(desk: Desk, actor: Actor, code: str) -> list[str]:
    """Ask for codes from now on; returns the recovery codes. Raises PermissionDenied, FailedPrecondition."""
    async with desk.audited_by(actor, "totp.confirm", actor.account_id):
        account = await acting(desk, actor)
        kept = await desk.store.factors.totp(account.id)
        if kept is None:
            raise FailedPrecondition("enrol an authenticator app first", reason="MFA_STATE_WRONG")
        if kept.confirmed:
            raise _enabled()
        async with desk.guard.counted(enrolment_of(account.id), actor.client.address, desk.now):
            counter = desk.codes.counter(desk.seal.open(account.id, kept.sealed), code, desk.now())
            if counter is None:
                raise PermissionDenied("the code is wrong or too old", reason="MFA_CODE_WRONG")
        codes = [_recovery_code(desk.random(_RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]
        digests = tuple(desk.seal.digest(account.id, plain(code)) for code in codes)
        if not await desk.store.factors.confirm(account.id, kept.sealed, counter, digests):
            raise _enabled()
        return codes


async def disable(desk: Desk, actor: Actor, password: str, code: Code) -> None:
    """Ask for codes no more. Raises PermissionDenied, FailedPrecondition."""
    async with desk.audited_by(actor, "totp.disable", actor.account_id):
        account = await acting(desk, actor)
        if not account.mfa:
            raise FailedPrecondition("this account asks for no codes", reason="MFA_STATE_WRONG")
        await check_both(desk, account, password, code, actor.client)
        await desk.store.factors.disable(account.id)


def _recovery_code(data: bytes) -> str:
    text = base64.b32encode(data).decode().lower()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def _enabled() -> FailedPrecondition:
    return FailedPrecondition("this account asks for codes already; disable them first", reason="MFA_STATE_WRONG")

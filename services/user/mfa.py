"""Mfa: codes of an authenticator app, and recovery codes for when it is lost. No code is good twice."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from moneyprinter.errors import FailedPrecondition, PermissionDenied
from services.user.accounts import Account
from services.user.desk import Actor, Desk, acting
from services.user.proof import proven

RECOVERY_CODES = 10
# 80 bits: 16 letters of base 32, in groups that can be read out.
_RECOVERY_BYTES = 10
_GROUP = 4


@dataclass(frozen=True)
class Code:
    """What is shown beside the password; one of the two, or none."""

    totp: str = field(default="", repr=False)
    recovery: str = field(default="", repr=False)


@dataclass(frozen=True)
class Enrolment:
    """A secret to be confirmed."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


async def code_is_good(desk: Desk, account: Account, code: Code) -> bool:
    """Whether a code is the account's and was not used before. It is used up."""
    if code.recovery:
        digest = desk.seal.digest(account.id, _plain(code.recovery))
        return await desk.store.factors.use_recovery_code(account.id, digest)
    kept = await desk.store.factors.totp(account.id)
    if kept is None or not kept.confirmed:
        return False
    counter = desk.codes.counter(desk.seal.open(account.id, kept.sealed), code.totp, desk.now())
    return counter is not None and await desk.store.factors.use_counter(account.id, counter)


async def enrol(desk: Desk, actor: Actor, password: str) -> Enrolment:
    """Make a secret, which counts when it was confirmed. Raises PermissionDenied, FailedPrecondition."""
    async with desk.audited_by(actor, "totp.enrol", actor.account_id):
        account = await acting(desk, actor)
        if account.mfa:
            raise _enabled()
        secret = desk.codes.new_secret()
        async with proven(desk, account, password, actor.client):
            pass
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
        async with desk.guard.counted(account.username, actor.client.address, desk.now):
            counter = desk.codes.counter(desk.seal.open(account.id, kept.sealed), code, desk.now())
            if counter is None:
                raise _wrong_code()
        codes = [_recovery_code(desk.random(_RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]
        digests = tuple(desk.seal.digest(account.id, _plain(code)) for code in codes)
        if not await desk.store.factors.confirm(account.id, kept.sealed, counter, digests):
            raise _enabled()
        return codes


async def disable(desk: Desk, actor: Actor, password: str, code: Code) -> None:
    """Ask for codes no more. Raises PermissionDenied, FailedPrecondition."""
    async with desk.audited_by(actor, "totp.disable", actor.account_id):
        account = await acting(desk, actor)
        if not account.mfa:
            raise FailedPrecondition("this account asks for no codes", reason="MFA_STATE_WRONG")
        async with proven(desk, account, password, actor.client):
            if not await code_is_good(desk, account, code):
                raise _wrong_code()
        await desk.store.factors.disable(account.id)


def _recovery_code(data: bytes) -> str:
    text = base64.b32encode(data).decode().lower()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def _plain(code: str) -> str:
    """A recovery code as it is hashed, however it was typed."""
    return code.lower().replace("-", "").replace(" ", "")


def _wrong_code() -> PermissionDenied:
    return PermissionDenied("the code is wrong, too old, or was used before", reason="MFA_CODE_WRONG")


def _enabled() -> FailedPrecondition:
    return FailedPrecondition("this account asks for codes already; disable them first", reason="MFA_STATE_WRONG")

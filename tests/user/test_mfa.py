"""Codes of an authenticator app, and recovery codes."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moneyprinter import errors
from services.runtime.config import ConfigError
from services.user import administration, mfa, profile, registration
from services.user.attempts import Guard
from services.user.desk import Actor, Desk
from services.user.otp import AuthenticatorCodes
from services.user.proof import Code
from services.user.sealing import AesSeal
from services.user.sessions import Credentials, Tokens, sign_in
from tests.user.conftest import CLIENT, PASSWORD, Clock, KeptAudit, People, elsewhere

PERIOD = timedelta(seconds=30)


class App:
    """An authenticator app with a secret."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self.totp = pyotp.TOTP(secret)
        self.clock = clock
        self.recovery_codes: list[str] = []

    def code(self, periods: int = 0) -> str:
        """What it shows now, or some periods from now."""
        return self.totp.at(self.clock() + periods * PERIOD)

    def wrong(self) -> str:
        """A code of none of the periods about now."""
        near = {self.code(periods) for periods in range(-3, 4)}
        return next(code for code in (f"{number:06}" for number in range(10)) if code not in near)


@pytest.fixture
async def ada(people: People) -> Actor:
    await people.add("ada", "video.process")
    return await people.sign_in("ada")


@pytest.fixture
async def app(desk: Desk, ada: Actor, clock: Clock) -> App:
    """The app of `ada`, whose secret is confirmed; the next code is of another period."""
    enrolment = await mfa.enrol(desk, ada, PASSWORD)
    app = App(enrolment.secret, clock)
    app.recovery_codes = await mfa.confirm(desk, ada, app.code())
    clock.pass_by(PERIOD)
    return app


async def enter(desk: Desk, **code: str) -> Tokens:
    return await sign_in(desk, Credentials("ada", PASSWORD, Code(**code)), CLIENT)


async def reason(desk: Desk, password: str = PASSWORD, **code: str) -> str:
    """Why signing in is refused."""
    with pytest.raises(errors.Error) as refused:
        await sign_in(desk, Credentials("ada", password, Code(**code)), CLIENT)
    return refused.value.reason


async def test_an_app_is_enrolled_with_a_secret_that_it_can_read(desk: Desk, ada: Actor, clock: Clock) -> None:
    enrolment = await mfa.enrol(desk, ada, PASSWORD)
    uri = urlsplit(enrolment.uri)
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/MoneyPrinter:ada")
    assert parse_qs(uri.query) == {"secret": [enrolment.secret], "issuer": ["MoneyPrinter"]}
    assert len(base64.b32decode(enrolment.secret)) == 20
    assert enrolment.secret not in repr(enrolment)
    # It does not count before it was confirmed.
    await enter(desk)
    assert not (await profile.get(desk, ada)).mfa


async def test_who_knows_the_password_is_asked_for_a_code(desk: Desk, app: App, ada: Actor) -> None:
    assert (await profile.get(desk, ada)).mfa
    assert await reason(desk) == "MFA_REQUIRED"
    assert await reason(desk, "wrong") == "CREDENTIALS_WRONG"
    assert await reason(desk, "wrong", totp=app.code()) == "CREDENTIALS_WRONG"
    assert await reason(desk, totp=app.wrong()) == "MFA_CODE_WRONG"
    await enter(desk, totp=app.code())


async def test_being_asked_for_a_code_is_no_failure(desk: Desk, app: App) -> None:
    for _ in range(9):
        assert await reason(desk) == "MFA_REQUIRED"
    # And does not clear failures.
    for _ in range(4):
        assert await reason(desk, totp=app.wrong()) == "MFA_CODE_WRONG"
        assert await reason(desk) == "MFA_REQUIRED"
    assert await reason(desk, totp=app.wrong()) == "MFA_CODE_WRONG"
    assert await reason(desk, totp=app.code()) == "SIGN_IN_LOCKED"


async def test_after_five_bad_codes_the_sixth_is_refused_even_when_it_is_good(
    desk: Desk, app: App, clock: Clock, audit: KeptAudit
) -> None:
    for _ in range(5):
        assert await reason(desk, totp=app.wrong()) == "MFA_CODE_WRONG"
    for code in (app.code(), app.wrong(), app.code(1)):
        assert await reason(desk, totp=code) == "SIGN_IN_LOCKED"
    clock.pass_by(timedelta(minutes=15))
    await enter(desk, totp=app.code())
    assert audit.told("sign_in")[-9:] == ["MFA_CODE_WRONG"] * 5 + ["SIGN_IN_LOCKED"] * 3 + ["OK"]


async def test_no_code_is_good_twice_nor_one_before_it(desk: Desk, app: App, clock: Clock) -> None:
    code = app.code()
    await enter(desk, totp=code)
    assert await reason(desk, totp=code) == "MFA_CODE_WRONG"
    assert await reason(desk, totp=app.code(-1)) == "MFA_CODE_WRONG"
    # A clock that is a little fast.
    await enter(desk, totp=app.code(1))
    assert await reason(desk, totp=code) == "MFA_CODE_WRONG"
    clock.pass_by(2 * PERIOD)
    await enter(desk, totp=app.code())


async def test_the_code_that_confirmed_does_not_sign_in(desk: Desk, ada: Actor, clock: Clock) -> None:
    app = App((await mfa.enrol(desk, ada, PASSWORD)).secret, clock)
    await mfa.confirm(desk, ada, app.code())
    assert await reason(desk, totp=app.code()) == "MFA_CODE_WRONG"


@pytest.mark.parametrize("periods", [-2, 2])
async def test_a_code_of_another_time_is_refused(desk: Desk, app: App, periods: int) -> None:
    assert await reason(desk, totp=app.code(periods)) == "MFA_CODE_WRONG"


async def test_of_many_uses_of_a_code_at_once_one_succeeds(desk: Desk, app: App, ada: Actor) -> None:
    counter = int(desk.now().timestamp()) // 30
    used = await asyncio.gather(*(desk.store.factors.use_counter(ada.account_id, counter) for _ in range(16)))
    assert sorted(used) == [False] * 15 + [True]
    assert not await desk.store.factors.use_counter(ada.account_id, counter - 1)
    assert not await desk.store.factors.use_counter("user_nobody", counter)


async def test_of_many_sign_ins_with_one_code_at_once_one_succeeds(desk: Desk, app: App) -> None:
    # Two instances of the service, each with turns of its own.
    desks = [desk, replace(desk, guard=Guard(desk.store.attempts))]
    ends = await asyncio.gather(
        *(enter(desks[number % 2], totp=app.code()) for number in range(5)), return_exceptions=True
    )
    assert len([end for end in ends if isinstance(end, Tokens)]) == 1
    assert {end.reason for end in ends if isinstance(end, errors.Error)} == {"MFA_CODE_WRONG"}


async def test_of_many_confirmations_at_once_one_succeeds(desk: Desk, ada: Actor, clock: Clock) -> None:
    app = App((await mfa.enrol(desk, ada, PASSWORD)).secret, clock)
    ends = await asyncio.gather(*(mfa.confirm(desk, ada, app.code()) for _ in range(5)), return_exceptions=True)
    [codes] = [end for end in ends if isinstance(end, list)]
    assert {end.reason for end in ends if isinstance(end, errors.Error)} == {"MFA_STATE_WRONG"}
    await enter(desk, recovery=codes[0])


async def test_a_recovery_code_signs_in_once(desk: Desk, app: App) -> None:
    codes = app.recovery_codes
    assert len(set(codes)) == 10
    await enter(desk, recovery=codes[0])
    assert await reason(desk, recovery=codes[0]) == "MFA_CODE_WRONG"
    await enter(desk, recovery=codes[1].upper().replace("-", " "))
    ends = await asyncio.gather(*(enter(desk, recovery=codes[2]) for _ in range(4)), return_exceptions=True)
    assert len([end for end in ends if isinstance(end, Tokens)]) == 1
    for code in codes[3:]:
        await enter(desk, recovery=code)


async def test_the_recovery_code_of_another_account_is_refused(desk: Desk, app: App, people: People) -> None:
    await people.add("eve")
    eve = await people.sign_in("eve")
    theirs = App((await mfa.enrol(desk, eve, PASSWORD)).secret, app.clock)
    [code, *_] = await mfa.confirm(desk, eve, theirs.code())
    assert await reason(desk, recovery=code) == "MFA_CODE_WRONG"
    assert await reason(desk, totp=theirs.code(1)) == "MFA_CODE_WRONG"


async def test_enrolment_takes_the_password_and_counts_failures(desk: Desk, ada: Actor) -> None:
    for _ in range(5):
        with pytest.raises(errors.PermissionDenied) as refused:
            await mfa.enrol(desk, ada, "wrong")
        assert refused.value.reason == "CREDENTIALS_WRONG"
    with pytest.raises(errors.ResourceExhausted):
        await mfa.enrol(desk, elsewhere(ada), PASSWORD)
    # Whoever has a stolen token cannot lock its owner out.
    await enter(desk)


async def test_confirming_counts_failures(desk: Desk, ada: Actor, clock: Clock) -> None:
    app = App((await mfa.enrol(desk, ada, PASSWORD)).secret, clock)
    for _ in range(5):
        with pytest.raises(errors.PermissionDenied) as refused:
            await mfa.confirm(desk, ada, app.wrong())
        assert refused.value.reason == "MFA_CODE_WRONG"
    with pytest.raises(errors.ResourceExhausted):
        await mfa.confirm(desk, ada, app.code())


async def test_a_new_enrolment_is_instead_of_one_that_was_not_confirmed(desk: Desk, ada: Actor, clock: Clock) -> None:
    with pytest.raises(errors.FailedPrecondition):
        await mfa.confirm(desk, ada, "123456")
    old = App((await mfa.enrol(desk, ada, PASSWORD)).secret, clock)
    new = App((await mfa.enrol(desk, ada, PASSWORD)).secret, clock)
    with pytest.raises(errors.PermissionDenied):
        await mfa.confirm(desk, ada, old.code())
    await mfa.confirm(desk, ada, new.code())
    for attempt in (mfa.enrol(desk, ada, PASSWORD), mfa.confirm(desk, ada, new.code())):
        with pytest.raises(errors.FailedPrecondition) as refused:
            await attempt
        assert refused.value.reason == "MFA_STATE_WRONG"


@pytest.mark.parametrize("kind", ["totp", "recovery"])
async def test_codes_are_disabled_with_password_and_code(desk: Desk, ada: Actor, app: App, kind: str) -> None:
    good = Code(totp=app.code()) if kind == "totp" else Code(recovery=app.recovery_codes[0])
    for password, code, why in (
        ("wrong", good, "CREDENTIALS_WRONG"),
        (PASSWORD, Code(totp=app.wrong()), "MFA_CODE_WRONG"),
        (PASSWORD, Code(recovery="a" * 16), "MFA_CODE_WRONG"),
        (PASSWORD, Code(), "MFA_CODE_WRONG"),
    ):
        with pytest.raises(errors.PermissionDenied) as refused:
            await mfa.disable(desk, ada, password, code)
        assert refused.value.reason == why
    await mfa.disable(desk, ada, PASSWORD, good)
    await enter(desk)
    with pytest.raises(errors.FailedPrecondition):
        await mfa.disable(desk, ada, PASSWORD, good)


async def test_who_lost_everything_is_helped_by_an_administrator(desk: Desk, app: App, people: People) -> None:
    await people.add("root", "user.admin")
    root = await people.sign_in("root")
    ada = await desk.store.accounts.named("ada")
    assert ada is not None
    reset = await administration.reset_password(desk, root, ada.id, disable_totp=True)
    await registration.set_password(desk, reset.token, PASSWORD, CLIENT)
    await enter(desk)


async def test_secrets_are_kept_sealed_and_told_to_nobody(
    desk: Desk, ada: Actor, clock: Clock, audit: KeptAudit
) -> None:
    secret = (await mfa.enrol(desk, ada, PASSWORD)).secret
    codes = await mfa.confirm(desk, ada, pyotp.TOTP(secret).at(clock()))
    kept = await desk.store.factors.totp(ada.account_id)
    assert kept is not None
    assert secret.encode() not in kept.sealed
    assert base64.b32decode(secret) not in kept.sealed
    for text in (secret, *codes, *(code.replace("-", "") for code in codes)):
        assert text not in str(audit.events)
    assert audit.told("totp.enrol") + audit.told("totp.confirm") == ["OK", "OK"]


def test_a_sealed_secret_that_was_altered_or_moved_is_not_opened() -> None:
    seal = AesSeal(bytes(32))
    sealed = seal.seal("user_ada", "SECRET")
    assert seal.open("user_ada", sealed) == "SECRET"
    assert seal.seal("user_ada", "SECRET") != sealed
    damaged = [sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in range(len(sealed))]
    for text in (*damaged, sealed[:-1], sealed + b"x", b"", sealed[:10]):
        with pytest.raises(errors.DataLoss) as refused:
            seal.open("user_ada", text)
        assert refused.value.reason == "DATA_CORRUPT"
    for other, account in ((seal, "user_eve"), (AesSeal(bytes([1]) * 32), "user_ada")):
        with pytest.raises(errors.DataLoss):
            other.open(account, sealed)
    # It is AES-256-GCM, and nothing else.
    assert AESGCM(bytes(32)).decrypt(sealed[4:16], sealed[16:], b"MPT1moneyprinter totp user_ada") == b"SECRET"


def test_digests_are_bound_to_account_and_key() -> None:
    digests = {
        AesSeal(bytes([key]) * 32).digest(account, text)
        for key in (1, 2)
        for account in ("user_a", "user_b")
        for text in ("x", "y")
    }
    assert len(digests) == 8


def test_a_key_of_another_length_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="it must be 32"):
        AesSeal(b"short")


def test_codes_are_those_of_rfc_6238(clock: Clock) -> None:
    secret = base64.b32encode(b"12345678901234567890").decode()
    codes = AuthenticatorCodes("MoneyPrinter")
    for second, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        assert codes.counter(secret, code, datetime.fromtimestamp(second, UTC)) == second // 30
    assert codes.counter(secret, "287083", datetime.fromtimestamp(59, UTC)) is None
    assert codes.counter(secret, "", datetime.fromtimestamp(59, UTC)) is None

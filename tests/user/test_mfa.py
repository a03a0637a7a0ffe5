"""MFA: codes of an authenticator app, and recovery codes."""

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
from services.user.accounts.password_reset import reset_password, set_password
from services.user.accounts.profile import get_profile
from services.user.authentication.reauthentication import SecondFactorCode
from services.user.authentication.throttling import LoginThrottle
from services.user.context import Actor, Context
from services.user.mfa.encryption import AesFactorCipher
from services.user.mfa.enrollment import confirm_totp, disable_totp, enroll_totp
from services.user.mfa.totp import PyotpCodes
from services.user.sessions.model import IssuedTokens
from services.user.sessions.sign_in import Credentials, sign_in
from tests.user.conftest import CLIENT, PASSWORD, AuditRecording, Clock, People, elsewhere

PERIOD = timedelta(seconds=30)


class App:
    """An authenticator app with a secret."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self.totp = pyotp.TOTP(secret)
        self.clock = clock
        self.recovery_codes: list[str] = []

    def code(self, periods: int = 0) -> str:
        """Return the code of now, or of some periods from now."""
        return self.totp.at(self.clock() + periods * PERIOD)

    def wrong(self) -> str:
        """Return a code of none of the periods around now."""
        near = {self.code(periods) for periods in range(-3, 4)}
        return next(code for code in (f"{number:06}" for number in range(10)) if code not in near)


@pytest.fixture
async def ada(people: People) -> Actor:
    await people.add("ada", "video.process")
    return await people.sign_in("ada")


@pytest.fixture
async def app(context: Context, ada: Actor, clock: Clock) -> App:
    """The app of `ada`, with a confirmed secret; the next code is of another period."""
    enrollment = await enroll_totp(context, ada, PASSWORD)
    app = App(enrollment.secret, clock)
    app.recovery_codes = await confirm_totp(context, ada, app.code())
    clock.pass_by(PERIOD)
    return app


async def enter(context: Context, **code: str) -> IssuedTokens:
    return await sign_in(context, Credentials("ada", PASSWORD, SecondFactorCode(**code)), CLIENT)


async def reason(context: Context, password: str = PASSWORD, **code: str) -> str:
    """Return the reason for which a sign-in is refused."""
    with pytest.raises(errors.Error) as refused:
        await sign_in(context, Credentials("ada", password, SecondFactorCode(**code)), CLIENT)
    return refused.value.reason


async def test_enrollment_returns_a_uri_for_the_app(context: Context, ada: Actor, clock: Clock) -> None:
    enrollment = await enroll_totp(context, ada, PASSWORD)
    uri = urlsplit(enrollment.uri)
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/MoneyPrinter:ada")
    assert parse_qs(uri.query) == {"secret": [enrollment.secret], "issuer": ["MoneyPrinter"]}
    assert len(base64.b32decode(enrollment.secret)) == 20
    assert enrollment.secret not in repr(enrollment)
    # It has no effect before it is confirmed.
    await enter(context)
    assert not (await get_profile(context, ada)).mfa_enabled


async def test_a_code_is_required_after_the_correct_password(context: Context, app: App, ada: Actor) -> None:
    assert (await get_profile(context, ada)).mfa_enabled
    assert await reason(context) == "MFA_REQUIRED"
    assert await reason(context, "wrong") == "CREDENTIALS_WRONG"
    assert await reason(context, "wrong", totp=app.code()) == "CREDENTIALS_WRONG"
    assert await reason(context, totp=app.wrong()) == "MFA_CODE_WRONG"
    await enter(context, totp=app.code())


async def test_a_sign_in_without_a_code_is_no_failure(context: Context, app: App) -> None:
    for _ in range(9):
        assert await reason(context) == "MFA_REQUIRED"
    # Nor does it clear failures.
    for _ in range(4):
        assert await reason(context, totp=app.wrong()) == "MFA_CODE_WRONG"
        assert await reason(context) == "MFA_REQUIRED"
    assert await reason(context, totp=app.wrong()) == "MFA_CODE_WRONG"
    assert await reason(context, totp=app.code()) == "SIGN_IN_LOCKED"


async def test_after_five_wrong_codes_a_correct_one_is_refused(
    context: Context, app: App, clock: Clock, audit: AuditRecording
) -> None:
    for _ in range(5):
        assert await reason(context, totp=app.wrong()) == "MFA_CODE_WRONG"
    for code in (app.code(), app.wrong(), app.code(1)):
        assert await reason(context, totp=code) == "SIGN_IN_LOCKED"
    clock.pass_by(timedelta(minutes=15))
    await enter(context, totp=app.code())
    assert audit.results("sign_in")[-9:] == ["MFA_CODE_WRONG"] * 5 + ["SIGN_IN_LOCKED"] * 3 + ["OK"]


async def test_no_code_is_accepted_twice_nor_an_earlier_one(context: Context, app: App, clock: Clock) -> None:
    code = app.code()
    await enter(context, totp=code)
    assert await reason(context, totp=code) == "MFA_CODE_WRONG"
    assert await reason(context, totp=app.code(-1)) == "MFA_CODE_WRONG"
    # The clock of the phone is a little fast.
    await enter(context, totp=app.code(1))
    assert await reason(context, totp=code) == "MFA_CODE_WRONG"
    clock.pass_by(2 * PERIOD)
    await enter(context, totp=app.code())


async def test_the_code_that_confirmed_the_app_does_not_sign_in(context: Context, ada: Actor, clock: Clock) -> None:
    app = App((await enroll_totp(context, ada, PASSWORD)).secret, clock)
    await confirm_totp(context, ada, app.code())
    assert await reason(context, totp=app.code()) == "MFA_CODE_WRONG"


@pytest.mark.parametrize("periods", [-2, 2])
async def test_a_code_of_another_time_is_refused(context: Context, app: App, periods: int) -> None:
    assert await reason(context, totp=app.code(periods)) == "MFA_CODE_WRONG"


async def test_one_of_many_concurrent_uses_of_a_code_succeeds(context: Context, app: App, ada: Actor) -> None:
    counter = int(context.now().timestamp()) // 30
    used = await asyncio.gather(*(context.store.second_factors.use_counter(ada.account_id, counter) for _ in range(16)))
    assert sorted(used) == [False] * 15 + [True]
    assert not await context.store.second_factors.use_counter(ada.account_id, counter - 1)
    assert not await context.store.second_factors.use_counter("user_nobody", counter)


async def test_one_of_many_concurrent_sign_ins_with_a_code_succeeds(context: Context, app: App) -> None:
    # Two instances of the service, each with slots of its own.
    contexts = [context, replace(context, throttle=LoginThrottle(context.store.attempts))]
    ends = await asyncio.gather(
        *(enter(contexts[number % 2], totp=app.code()) for number in range(5)), return_exceptions=True
    )
    assert len([end for end in ends if isinstance(end, IssuedTokens)]) == 1
    assert {end.reason for end in ends if isinstance(end, errors.Error)} == {"MFA_CODE_WRONG"}


async def test_one_of_many_concurrent_confirmations_succeeds(context: Context, ada: Actor, clock: Clock) -> None:
    app = App((await enroll_totp(context, ada, PASSWORD)).secret, clock)
    ends = await asyncio.gather(*(confirm_totp(context, ada, app.code()) for _ in range(5)), return_exceptions=True)
    [codes] = [end for end in ends if isinstance(end, list)]
    assert {end.reason for end in ends if isinstance(end, errors.Error)} == {"MFA_STATE_WRONG"}
    await enter(context, recovery=codes[0])


async def test_a_recovery_code_signs_in_once(context: Context, app: App) -> None:
    codes = app.recovery_codes
    assert len(set(codes)) == 10
    await enter(context, recovery=codes[0])
    assert await reason(context, recovery=codes[0]) == "MFA_CODE_WRONG"
    await enter(context, recovery=codes[1].upper().replace("-", " "))
    ends = await asyncio.gather(*(enter(context, recovery=codes[2]) for _ in range(4)), return_exceptions=True)
    assert len([end for end in ends if isinstance(end, IssuedTokens)]) == 1
    for code in codes[3:]:
        await enter(context, recovery=code)


async def test_the_recovery_code_of_another_account_is_refused(context: Context, app: App, people: People) -> None:
    await people.add("eve")
    eve = await people.sign_in("eve")
    theirs = App((await enroll_totp(context, eve, PASSWORD)).secret, app.clock)
    [code, *_] = await confirm_totp(context, eve, theirs.code())
    assert await reason(context, recovery=code) == "MFA_CODE_WRONG"
    assert await reason(context, totp=theirs.code(1)) == "MFA_CODE_WRONG"


async def test_enrollment_requires_the_password_and_counts_failures(context: Context, ada: Actor) -> None:
    for _ in range(5):
        with pytest.raises(errors.PermissionDenied) as refused:
            await enroll_totp(context, ada, "wrong")
        assert refused.value.reason == "CREDENTIALS_WRONG"
    with pytest.raises(errors.ResourceExhausted):
        await enroll_totp(context, elsewhere(ada), PASSWORD)
    # A stolen token does not suffice to lock its owner out.
    await enter(context)


async def test_confirmation_counts_failures(context: Context, ada: Actor, clock: Clock) -> None:
    app = App((await enroll_totp(context, ada, PASSWORD)).secret, clock)
    for _ in range(5):
        with pytest.raises(errors.PermissionDenied) as refused:
            await confirm_totp(context, ada, app.wrong())
        assert refused.value.reason == "MFA_CODE_WRONG"
    with pytest.raises(errors.ResourceExhausted):
        await confirm_totp(context, ada, app.code())


async def test_a_new_enrollment_replaces_an_unconfirmed_one(context: Context, ada: Actor, clock: Clock) -> None:
    with pytest.raises(errors.FailedPrecondition):
        await confirm_totp(context, ada, "123456")
    old = App((await enroll_totp(context, ada, PASSWORD)).secret, clock)
    new = App((await enroll_totp(context, ada, PASSWORD)).secret, clock)
    with pytest.raises(errors.PermissionDenied):
        await confirm_totp(context, ada, old.code())
    await confirm_totp(context, ada, new.code())
    for attempt in (enroll_totp(context, ada, PASSWORD), confirm_totp(context, ada, new.code())):
        with pytest.raises(errors.FailedPrecondition) as refused:
            await attempt
        assert refused.value.reason == "MFA_STATE_WRONG"


@pytest.mark.parametrize("kind", ["totp", "recovery"])
async def test_codes_are_disabled_with_password_and_code(context: Context, ada: Actor, app: App, kind: str) -> None:
    valid = SecondFactorCode(totp=app.code()) if kind == "totp" else SecondFactorCode(recovery=app.recovery_codes[0])
    for password, code, expected in (
        ("wrong", valid, "CREDENTIALS_WRONG"),
        (PASSWORD, SecondFactorCode(totp=app.wrong()), "MFA_CODE_WRONG"),
        (PASSWORD, SecondFactorCode(recovery="a" * 16), "MFA_CODE_WRONG"),
        (PASSWORD, SecondFactorCode(), "MFA_CODE_WRONG"),
    ):
        with pytest.raises(errors.PermissionDenied) as refused:
            await disable_totp(context, ada, password, code)
        assert refused.value.reason == expected
    await disable_totp(context, ada, PASSWORD, valid)
    await enter(context)
    with pytest.raises(errors.FailedPrecondition):
        await disable_totp(context, ada, PASSWORD, valid)


async def test_an_administrator_helps_a_user_without_password_and_codes(
    context: Context, app: App, people: People
) -> None:
    await people.add("root", "user.admin")
    root = await people.sign_in("root")
    ada = await context.store.accounts.find_by_username("ada")
    assert ada is not None
    reset = await reset_password(context, root, ada.id, disable_totp=True)
    await set_password(context, reset.token, PASSWORD, CLIENT)
    await enter(context)


async def test_secrets_are_stored_encrypted_and_never_recorded(
    context: Context, ada: Actor, clock: Clock, audit: AuditRecording
) -> None:
    secret = (await enroll_totp(context, ada, PASSWORD)).secret
    codes = await confirm_totp(context, ada, pyotp.TOTP(secret).at(clock()))
    stored = await context.store.second_factors.find_totp(ada.account_id)
    assert stored is not None
    assert secret.encode() not in stored.encrypted
    assert base64.b32decode(secret) not in stored.encrypted
    for text in (secret, *codes, *(code.replace("-", "") for code in codes)):
        assert text not in str(audit.events)
    assert audit.results("totp.enrol") + audit.results("totp.confirm") == ["OK", "OK"]


def test_an_altered_or_moved_secret_is_not_decrypted() -> None:
    cipher = AesFactorCipher(bytes(32))
    encrypted = cipher.encrypt("user_ada", "SECRET")
    assert cipher.decrypt("user_ada", encrypted) == "SECRET"
    assert cipher.encrypt("user_ada", "SECRET") != encrypted
    damaged = [
        encrypted[:place] + bytes([encrypted[place] ^ 1]) + encrypted[place + 1 :] for place in range(len(encrypted))
    ]
    for text in (*damaged, encrypted[:-1], encrypted + b"x", b"", encrypted[:10]):
        with pytest.raises(errors.DataLoss) as refused:
            cipher.decrypt("user_ada", text)
        assert refused.value.reason == "DATA_CORRUPT"
    for other, account in ((cipher, "user_eve"), (AesFactorCipher(bytes([1]) * 32), "user_ada")):
        with pytest.raises(errors.DataLoss):
            other.decrypt(account, encrypted)
    # The format is AES-256-GCM, as other programs implement it.
    assert AESGCM(bytes(32)).decrypt(encrypted[4:16], encrypted[16:], b"MPT1moneyprinter totp user_ada") == b"SECRET"


def test_digests_are_bound_to_account_and_key() -> None:
    digests = {
        AesFactorCipher(bytes([key]) * 32).digest(account, text)
        for key in (1, 2)
        for account in ("user_a", "user_b")
        for text in ("x", "y")
    }
    assert len(digests) == 8


def test_codes_match_rfc_6238(clock: Clock) -> None:
    secret = base64.b32encode(b"12345678901234567890").decode()
    codes = PyotpCodes("MoneyPrinter")
    for second, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        assert codes.find_counter(secret, code, datetime.fromtimestamp(second, UTC)) == second // 30
    assert codes.find_counter(secret, "287083", datetime.fromtimestamp(59, UTC)) is None
    assert codes.find_counter(secret, "", datetime.fromtimestamp(59, UTC)) is None

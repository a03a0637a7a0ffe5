"""Guessing: each kind of proof has a limit of failures of its own, and no client locks out others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from moneyprinter import errors
from services.user.accounts.administration import unlock_account
from services.user.accounts.invitations import InvitationRequest, create_invitation
from services.user.accounts.password_reset import reset_password, set_password
from services.user.accounts.profile import change_password
from services.user.accounts.registration import RegistrationRequest, register_account
from services.user.api_keys.exchange import exchange_api_key
from services.user.api_keys.lifecycle import ApiKeyRequest, create_api_key
from services.user.authentication.reauthentication import SecondFactorCode, step_up
from services.user.authentication.throttling import LoginThrottle
from services.user.client import Client
from services.user.context import Actor, Context
from services.user.mfa.enrollment import confirm_totp, disable_totp, enroll_totp
from services.user.sessions.lifecycle import refresh_tokens
from services.user.sessions.sign_in import Credentials, sign_in
from tests.user.conftest import CLIENT, PASSWORD, AuditRecording, Clock, People, actor
from tests.user.test_mfa import PERIOD, App

NEW = "another long one"
LOCK = timedelta(minutes=15)

pytestmark = pytest.mark.usefixtures("ada")


def from_address(number: int) -> Client:
    """Return a client in a network of its own."""
    return Client(f"198.51.{number // 250}.{number % 250}", "a bot")


@pytest.fixture
async def ada(people: People) -> Actor:
    await people.add("ada", "video.process")
    return await people.sign_in("ada")


@pytest.fixture
async def app(context: Context, ada: Actor, clock: Clock) -> App:
    enrollment = await enroll_totp(context, ada, PASSWORD)
    app = App(enrollment.secret, clock)
    app.recovery_codes = await confirm_totp(context, ada, app.code())
    clock.pass_by(PERIOD)
    return app


@pytest.fixture
async def root(people: People) -> Actor:
    await people.add("root", "user.admin")
    return await people.sign_in("root")


async def reason(work: Awaitable[object]) -> str:
    """Return the reason of a refusal, or OK."""
    try:
        await work
    except errors.Error as failure:
        return failure.reason
    return "OK"


def enter(context: Context, client: Client = CLIENT, password: str = PASSWORD, **code: str) -> Awaitable[object]:
    return sign_in(context, Credentials("ada", password, SecondFactorCode(**code)), client)


Guess = Callable[[Context, Actor, App, Client], Awaitable[object]]
GUESSES: dict[str, Guess] = {
    "sign_in": lambda context, ada, app, client: enter(context, client, totp=app.wrong()),
    "step_up": lambda context, ada, app, client: step_up(
        context, replace(ada, client=client), "", SecondFactorCode(totp=app.wrong())
    ),
    "disable": lambda context, ada, app, client: disable_totp(
        context, replace(ada, client=client), PASSWORD, SecondFactorCode(totp=app.wrong())
    ),
}


async def test_codes_are_guessed_five_times_however_the_guesses_are_distributed(
    context: Context, ada: Actor, app: App, people: People
) -> None:
    """Over operations, sessions, addresses and instances, all concurrently."""
    sessions = [ada, await people.sign_in("ada", recovery=app.recovery_codes[0])]
    contexts = [context, replace(context, throttle=LoginThrottle(context.store.attempts))]
    ways = list(GUESSES.values())
    guesses = [ways[n % 3](contexts[n % 2], sessions[n % 2], app, from_address(n)) for n in range(50)]
    found = Counter(await asyncio.gather(*(reason(guess) for guess in guesses)))
    assert found == {"MFA_CODE_WRONG": 5, "SIGN_IN_LOCKED": 45}
    assert await reason(enter(context, totp=app.code())) == "SIGN_IN_LOCKED"


Reset = Callable[[Context, Actor, Actor, App], Awaitable[object]]


async def _change_password(context: Context, ada: Actor, root: Actor, app: App) -> None:
    await change_password(context, ada, PASSWORD, NEW)
    await change_password(context, ada, NEW, PASSWORD)


async def _reset_by_administrator(context: Context, ada: Actor, root: Actor, app: App) -> None:
    reset = await reset_password(context, root, ada.account_id, disable_totp=False)
    await set_password(context, reset.token, PASSWORD, CLIENT)


async def _refresh(context: Context, ada: Actor, root: Actor, app: App) -> None:
    tokens = await sign_in(
        context, Credentials("ada", PASSWORD, SecondFactorCode(recovery=app.recovery_codes[9])), CLIENT
    )
    await refresh_tokens(context, tokens.refresh_token, CLIENT)


async def _enroll_again(context: Context, ada: Actor, root: Actor, app: App) -> None:
    with pytest.raises(errors.FailedPrecondition):
        await enroll_totp(context, ada, PASSWORD)


async def _wrong_password(context: Context, ada: Actor, root: Actor, app: App) -> None:
    assert await reason(enter(context, password="wrong")) == "CREDENTIALS_WRONG"


RESETS: dict[str, Reset] = {
    "password changed": _change_password,
    "password reset": _reset_by_administrator,
    "asked for a code": lambda context, ada, root, app: reason(enter(context)),
    "signed in elsewhere by a recovery code": lambda context, ada, root, app: enter(
        context, from_address(7), recovery=app.recovery_codes[8]
    ),
    "session refreshed": _refresh,
    "enrolled again": _enroll_again,
    "password guessed": _wrong_password,
}


@pytest.mark.parametrize("reset", RESETS.values(), ids=RESETS)
async def test_only_a_correct_code_clears_the_counter_of_codes(
    context: Context, ada: Actor, root: Actor, app: App, reset: Reset
) -> None:
    for _ in range(4):
        assert await reason(enter(context, totp=app.wrong())) == "MFA_CODE_WRONG"
    await reset(context, ada, root, app)
    assert await reason(enter(context, totp=app.wrong())) == "MFA_CODE_WRONG"
    assert await reason(enter(context, totp=app.wrong())) == "SIGN_IN_LOCKED"


async def test_a_correct_code_clears_only_its_own_counter(context: Context, ada: Actor, app: App, clock: Clock) -> None:
    for _ in range(4):
        assert await reason(enter(context, totp=app.wrong())) == "MFA_CODE_WRONG"
        assert await reason(enter(context, recovery="a" * 16)) == "MFA_CODE_WRONG"
        assert await reason(change_password(context, ada, "wrong", NEW)) == "CREDENTIALS_WRONG"
    assert await reason(enter(context, totp=app.code())) == "OK"
    for _ in range(5):
        assert await reason(enter(context, totp=app.wrong())) == "MFA_CODE_WRONG"
    for _ in range(2):
        end = await reason(enter(context, recovery="a" * 16))
        again = await reason(change_password(context, ada, "wrong", NEW))
    assert (end, again) == ("SIGN_IN_LOCKED", "SIGN_IN_LOCKED")


async def test_passwords_are_guessed_five_times_from_unknown_and_five_times_from_known_networks(
    context: Context,
) -> None:
    unknown = [reason(enter(context, from_address(n), "wrong")) for n in range(50)]
    assert Counter(await asyncio.gather(*unknown)) == {"CREDENTIALS_WRONG": 5, "SIGN_IN_LOCKED": 45}
    known = [reason(enter(context, CLIENT, "wrong")) for _ in range(50)]
    assert Counter(await asyncio.gather(*known)) == {"CREDENTIALS_WRONG": 5, "SIGN_IN_LOCKED": 45}


async def test_wrong_passwords_from_elsewhere_do_not_lock_out_the_owner(
    context: Context, ada: Actor, people: People, clock: Clock
) -> None:
    """Neither in the networks of the owner, nor where the owner is signed in."""
    for day in range(3):
        for number in range(9):
            await reason(enter(context, from_address(number), "wrong"))
        assert await reason(enter(context, from_address(day))) == "SIGN_IN_LOCKED"
        assert await reason(enter(context, CLIENT)) == "OK"
        # This does not clear the counter of unknown networks.
        assert await reason(enter(context, from_address(day))) == "SIGN_IN_LOCKED"
        await step_up(context, ada, PASSWORD, SecondFactorCode())
        clock.pass_by(timedelta(days=1))


async def test_attempts_at_other_accounts_from_the_same_address_do_not_lock_out_the_owner(
    context: Context, people: People
) -> None:
    """Clients behind the same address try other usernames."""
    for number in range(60):
        await reason(sign_in(context, Credentials(f"name{number}", "wrong"), CLIENT))
    assert await reason(sign_in(context, Credentials("name99", "wrong"), CLIENT)) == "SIGN_IN_LOCKED"
    assert await reason(enter(context, CLIENT)) == "OK"


async def test_a_network_is_known_for_90_days_after_a_complete_sign_in(
    context: Context, ada: Actor, app: App, clock: Clock
) -> None:
    cafe = Client("2001:db8::7", "a browser")
    assert await reason(enter(context, cafe)) == "MFA_REQUIRED"
    assert await context.store.accounts.find_known_networks(ada.account_id, clock()) == [CLIENT.address]
    await enter(context, cafe, totp=app.code())
    assert set(await context.store.accounts.find_known_networks(ada.account_id, clock())) == {
        CLIENT.address,
        "2001:db8::/64",
    }
    clock.pass_by(timedelta(days=90))
    assert await context.store.accounts.find_known_networks(ada.account_id, clock()) == []


async def test_the_old_password_is_refused_as_the_new_one(context: Context, ada: Actor) -> None:
    accented = "caf\u00e9 au lait, please"
    assert await reason(change_password(context, ada, PASSWORD, PASSWORD)) == "PASSWORD_UNCHANGED"
    await change_password(context, ada, PASSWORD, accented)
    typed_elsewhere = accented.replace("\u00e9", "e\u0301")
    assert await reason(change_password(context, ada, accented, typed_elsewhere)) == "PASSWORD_UNCHANGED"


async def test_unknown_tokens_are_counted_and_valid_ones_are_accepted(
    context: Context, ada: Actor, root: Actor, audit: AuditRecording
) -> None:
    api_key, _ = await create_api_key(context, ada, ApiKeyRequest("k", ("video.process",)))
    tokens = await sign_in(context, Credentials("ada", PASSWORD), CLIENT)
    invitation, _ = await create_invitation(context, root, InvitationRequest(()))
    reset = await reset_password(context, root, root.account_id, disable_totp=False)
    guest = RegistrationRequest("guest", "some long words")
    wrong_key = api_key[:-1] + ("0" if api_key[-1] != "0" else "1")
    guesses: dict[str, Callable[[], Awaitable[object]]] = {
        "API_KEY_INVALID": lambda: exchange_api_key(context, wrong_key, CLIENT),
        "REFRESH_TOKEN_INVALID": lambda: refresh_tokens(context, "guess", CLIENT),
        "INVITATION_INVALID": lambda: register_account(context, replace(guest, invitation_token="guess"), CLIENT),
        "RESET_TOKEN_INVALID": lambda: set_password(context, "guess", NEW, CLIENT),
    }
    for refusal, guess in guesses.items():
        found = Counter(await asyncio.gather(*(reason(guess()) for _ in range(60))))
        assert found == {refusal: 50, "SIGN_IN_LOCKED": 10}
    assert await reason(exchange_api_key(context, api_key, CLIENT)) == "OK"
    assert await reason(refresh_tokens(context, tokens.refresh_token, CLIENT)) == "OK"
    assert await reason(register_account(context, replace(guest, invitation_token=invitation), CLIENT)) == "OK"
    assert await reason(set_password(context, reset.token, NEW, CLIENT)) == "OK"


async def test_an_api_key_of_an_administrator_does_not_unlock_its_owner(context: Context, people: People) -> None:
    await people.add("boss", "user.admin")
    boss = await people.sign_in("boss")
    api_key, _ = await create_api_key(context, boss, ApiKeyRequest("k", ("user.admin",)))
    machine = actor((await exchange_api_key(context, api_key, CLIENT)).access_token)
    assert await reason(unlock_account(context, machine, boss.account_id)) == "SESSION_REQUIRED"


async def test_a_stolen_token_does_not_unlock_attempts_at_codes(
    context: Context, people: People, clock: Clock, root: Actor
) -> None:
    """Unlocking requires a proof, which requires a code, also for an administrator."""
    app = App((await enroll_totp(context, root, PASSWORD)).secret, clock)
    await confirm_totp(context, root, app.code())
    clock.pass_by(timedelta(minutes=6))
    for _ in range(5):
        guess = sign_in(context, Credentials("root", PASSWORD, SecondFactorCode(totp=app.wrong())), CLIENT)
        assert await reason(guess) == "MFA_CODE_WRONG"
    assert await reason(unlock_account(context, root, root.account_id)) == "STEP_UP_REQUIRED"
    assert await reason(step_up(context, root, PASSWORD, SecondFactorCode())) == "MFA_REQUIRED"
    assert await reason(step_up(context, root, PASSWORD, SecondFactorCode(totp=app.wrong()))) == "SIGN_IN_LOCKED"

"""Nobody guesses without limit: each proof has a counter, which that proof alone clears. Nobody locks others out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from moneyprinter import errors
from services.user import administration, api_keys, mfa, profile, registration
from services.user.attempts import Guard
from services.user.desk import Actor, Desk
from services.user.proof import Code, step_up
from services.user.sessions import Credentials, refresh, sign_in
from services.user.store import Client
from tests.user.conftest import CLIENT, PASSWORD, Clock, KeptAudit, People, actor
from tests.user.test_mfa import PERIOD, App

NEW = "another long one"
LOCK = timedelta(minutes=15)

pytestmark = pytest.mark.usefixtures("ada")


def from_address(number: int) -> Client:
    """A client of another network each."""
    return Client(f"198.51.{number // 250}.{number % 250}", "a bot")


@pytest.fixture
async def ada(people: People) -> Actor:
    await people.add("ada", "video.process")
    return await people.sign_in("ada")


@pytest.fixture
async def app(desk: Desk, ada: Actor, clock: Clock) -> App:
    enrolment = await mfa.enrol(desk, ada, PASSWORD)
    app = App(enrolment.secret, clock)
    app.recovery_codes = await mfa.confirm(desk, ada, app.code())
    clock.pass_by(PERIOD)
    return app


@pytest.fixture
async def root(people: People) -> Actor:
    await people.add("root", "user.admin")
    return await people.sign_in("root")


async def reason(work: Awaitable[object]) -> str:
    """Why something is refused; OK when it is not."""
    try:
        await work
    except errors.Error as failure:
        return failure.reason
    return "OK"


def enter(desk: Desk, client: Client = CLIENT, password: str = PASSWORD, **code: str) -> Awaitable[object]:
    return sign_in(desk, Credentials("ada", password, Code(**code)), client)


Guess = Callable[[Desk, Actor, App, Client], Awaitable[object]]
GUESSES: dict[str, Guess] = {
    "sign_in": lambda desk, ada, app, client: enter(desk, client, totp=app.wrong()),
    "step_up": lambda desk, ada, app, client: step_up(desk, replace(ada, client=client), "", Code(totp=app.wrong())),
    "disable": lambda desk, ada, app, client: mfa.disable(
        desk, replace(ada, client=client), PASSWORD, Code(totp=app.wrong())
    ),
}


async def test_codes_are_guessed_five_times_however_guesses_are_spread(
    desk: Desk, ada: Actor, app: App, people: People
) -> None:
    """Over ways, sessions, addresses and instances, and all at once."""
    sessions = [ada, await people.sign_in("ada", recovery=app.recovery_codes[0])]
    desks = [desk, replace(desk, guard=Guard(desk.store.attempts))]
    ways = list(GUESSES.values())
    guesses = [ways[n % 3](desks[n % 2], sessions[n % 2], app, from_address(n)) for n in range(50)]
    found = Counter(await asyncio.gather(*(reason(guess) for guess in guesses)))
    assert found == {"MFA_CODE_WRONG": 5, "SIGN_IN_LOCKED": 45}
    assert await reason(enter(desk, totp=app.code())) == "SIGN_IN_LOCKED"


Reset = Callable[[Desk, Actor, Actor, App], Awaitable[object]]


async def _change_password(desk: Desk, ada: Actor, root: Actor, app: App) -> None:
    await profile.change_password(desk, ada, PASSWORD, NEW)
    await profile.change_password(desk, ada, NEW, PASSWORD)


async def _reset_by_administrator(desk: Desk, ada: Actor, root: Actor, app: App) -> None:
    reset = await administration.reset_password(desk, root, ada.account_id, disable_totp=False)
    await registration.set_password(desk, reset.token, PASSWORD, CLIENT)


async def _refresh(desk: Desk, ada: Actor, root: Actor, app: App) -> None:
    tokens = await sign_in(desk, Credentials("ada", PASSWORD, Code(recovery=app.recovery_codes[9])), CLIENT)
    await refresh(desk, tokens.refresh_token, CLIENT)


async def _enrol_again(desk: Desk, ada: Actor, root: Actor, app: App) -> None:
    with pytest.raises(errors.FailedPrecondition):
        await mfa.enrol(desk, ada, PASSWORD)


async def _wrong_password(desk: Desk, ada: Actor, root: Actor, app: App) -> None:
    assert await reason(enter(desk, password="wrong")) == "CREDENTIALS_WRONG"


RESETS: dict[str, Reset] = {
    "password changed": _change_password,
    "password reset": _reset_by_administrator,
    "asked for a code": lambda desk, ada, root, app: reason(enter(desk)),
    "signed in elsewhere by a recovery code": lambda desk, ada, root, app: enter(
        desk, from_address(7), recovery=app.recovery_codes[8]
    ),
    "session refreshed": _refresh,
    "enrolled again": _enrol_again,
    "password guessed": _wrong_password,
}


@pytest.mark.parametrize("reset", RESETS.values(), ids=RESETS)
async def test_nothing_but_a_right_code_clears_the_counter_of_codes(
    desk: Desk, ada: Actor, root: Actor, app: App, reset: Reset
) -> None:
    for _ in range(4):
        assert await reason(enter(desk, totp=app.wrong())) == "MFA_CODE_WRONG"
    await reset(desk, ada, root, app)
    assert await reason(enter(desk, totp=app.wrong())) == "MFA_CODE_WRONG"
    assert await reason(enter(desk, totp=app.wrong())) == "SIGN_IN_LOCKED"


async def test_a_right_code_clears_its_counter_and_no_other(desk: Desk, ada: Actor, app: App, clock: Clock) -> None:
    for _ in range(4):
        assert await reason(enter(desk, totp=app.wrong())) == "MFA_CODE_WRONG"
        assert await reason(enter(desk, recovery="a" * 16)) == "MFA_CODE_WRONG"
        assert await reason(profile.change_password(desk, ada, "wrong", NEW)) == "CREDENTIALS_WRONG"
    assert await reason(enter(desk, totp=app.code())) == "OK"
    for _ in range(5):
        assert await reason(enter(desk, totp=app.wrong())) == "MFA_CODE_WRONG"
    for _ in range(2):
        end = await reason(enter(desk, recovery="a" * 16))
        again = await reason(profile.change_password(desk, ada, "wrong", NEW))
    assert (end, again) == ("SIGN_IN_LOCKED", "SIGN_IN_LOCKED")


async def test_passwords_are_guessed_five_times_from_anywhere_and_five_times_at_home(desk: Desk) -> None:
    strangers = [reason(enter(desk, from_address(n), "wrong")) for n in range(50)]
    assert Counter(await asyncio.gather(*strangers)) == {"CREDENTIALS_WRONG": 5, "SIGN_IN_LOCKED": 45}
    at_home = [reason(enter(desk, CLIENT, "wrong")) for _ in range(50)]
    assert Counter(await asyncio.gather(*at_home)) == {"CREDENTIALS_WRONG": 5, "SIGN_IN_LOCKED": 45}


async def test_one_who_knows_a_name_does_not_lock_out_its_owner(
    desk: Desk, ada: Actor, people: People, clock: Clock
) -> None:
    """Not where the owner signs in from, nor where the owner is signed in."""
    for day in range(3):
        for number in range(9):
            await reason(enter(desk, from_address(number), "wrong"))
        assert await reason(enter(desk, from_address(day))) == "SIGN_IN_LOCKED"
        assert await reason(enter(desk, CLIENT)) == "OK"
        # Which does not clear the counter of strangers.
        assert await reason(enter(desk, from_address(day))) == "SIGN_IN_LOCKED"
        await step_up(desk, ada, PASSWORD, Code())
        clock.pass_by(timedelta(days=1))


async def test_neighbours_of_an_owner_do_not_lock_out_the_owner(desk: Desk, people: People) -> None:
    """Those behind the same address who try other names."""
    for number in range(60):
        await reason(sign_in(desk, Credentials(f"name{number}", "wrong"), CLIENT))
    assert await reason(sign_in(desk, Credentials("name99", "wrong"), CLIENT)) == "SIGN_IN_LOCKED"
    assert await reason(enter(desk, CLIENT)) == "OK"


async def test_a_network_is_the_owners_for_90_days_after_a_whole_sign_in(
    desk: Desk, ada: Actor, app: App, clock: Clock
) -> None:
    cafe = Client("2001:db8::7", "a browser")
    assert await reason(enter(desk, cafe)) == "MFA_REQUIRED"
    assert await desk.store.accounts.networks(ada.account_id, clock()) == [CLIENT.address]
    await enter(desk, cafe, totp=app.code())
    assert set(await desk.store.accounts.networks(ada.account_id, clock())) == {CLIENT.address, "2001:db8::/64"}
    clock.pass_by(timedelta(days=90))
    assert await desk.store.accounts.networks(ada.account_id, clock()) == []


async def test_the_old_password_is_no_new_one(desk: Desk, ada: Actor) -> None:
    accented = "caf\u00e9 au lait, please"
    assert await reason(profile.change_password(desk, ada, PASSWORD, PASSWORD)) == "PASSWORD_UNCHANGED"
    await profile.change_password(desk, ada, PASSWORD, accented)
    typed_elsewhere = accented.replace("\u00e9", "e\u0301")
    assert await reason(profile.change_password(desk, ada, accented, typed_elsewhere)) == "PASSWORD_UNCHANGED"


async def test_tokens_that_are_none_are_counted_and_right_ones_pass(
    desk: Desk, ada: Actor, root: Actor, audit: KeptAudit
) -> None:
    shown, _ = await api_keys.create(desk, ada, api_keys.Wish("k", ("video.process",)))
    tokens = await sign_in(desk, Credentials("ada", PASSWORD), CLIENT)
    invitation, _ = await registration.invite(desk, root, registration.Guest(()))
    reset = await administration.reset_password(desk, root, root.account_id, disable_totp=False)
    guest = registration.Wish("guest", "some long words")
    wrong_key = shown[:-1] + ("0" if shown[-1] != "0" else "1")
    guesses: dict[str, Callable[[], Awaitable[object]]] = {
        "API_KEY_INVALID": lambda: api_keys.exchange(desk, wrong_key, CLIENT),
        "REFRESH_TOKEN_INVALID": lambda: refresh(desk, "guess", CLIENT),
        "INVITATION_INVALID": lambda: registration.register(desk, replace(guest, invitation_token="guess"), CLIENT),
        "RESET_TOKEN_INVALID": lambda: registration.set_password(desk, "guess", NEW, CLIENT),
    }
    for why, guess in guesses.items():
        found = Counter(await asyncio.gather(*(reason(guess()) for _ in range(60))))
        assert found == {why: 50, "SIGN_IN_LOCKED": 10}
    assert await reason(api_keys.exchange(desk, shown, CLIENT)) == "OK"
    assert await reason(refresh(desk, tokens.refresh_token, CLIENT)) == "OK"
    assert await reason(registration.register(desk, replace(guest, invitation_token=invitation), CLIENT)) == "OK"
    assert await reason(registration.set_password(desk, reset.token, NEW, CLIENT)) == "OK"


async def test_a_machine_of_an_administrator_does_not_unlock_its_owner(desk: Desk, people: People) -> None:
    await people.add("boss", "user.admin")
    boss = await people.sign_in("boss")
    shown, _ = await api_keys.create(desk, boss, api_keys.Wish("k", ("user.admin",)))
    machine = actor((await api_keys.exchange(desk, shown, CLIENT)).access_token)
    assert await reason(administration.unlock(desk, machine, boss.account_id)) == "SESSION_REQUIRED"


async def test_a_stolen_token_does_not_unlock_the_guesses_of_codes(
    desk: Desk, people: People, clock: Clock, root: Actor
) -> None:
    """An administrator's own: unlocking takes a proof, which takes a code."""
    app = App((await mfa.enrol(desk, root, PASSWORD)).secret, clock)
    await mfa.confirm(desk, root, app.code())
    clock.pass_by(timedelta(minutes=6))
    for _ in range(5):
        guess = sign_in(desk, Credentials("root", PASSWORD, Code(totp=app.wrong())), CLIENT)
        assert await reason(guess) == "MFA_CODE_WRONG"
    assert await reason(administration.unlock(desk, root, root.account_id)) == "STEP_UP_REQUIRED"
    assert await reason(step_up(desk, root, PASSWORD, Code())) == "MFA_REQUIRED"
    assert await reason(step_up(desk, root, PASSWORD, Code(totp=app.wrong()))) == "SIGN_IN_LOCKED"

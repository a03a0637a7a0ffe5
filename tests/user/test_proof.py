"""What a stolen token is not enough for: it takes a password or a code of the last five minutes, and no API key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from services.user import administration, api_keys, mfa, profile, registration, security_events
from services.user.api_keys import Wish
from services.user.desk import Actor, Desk
from services.user.memory import MemoryTrail
from services.user.profile import Changes
from services.user.proof import PROOF_LIFE, Code, step_up
from services.user.registration import Guest
from services.user.sessions import refresh
from services.user.trail import Event, Trail
from tests.user.conftest import CLIENT, PASSWORD, START, Clock, KeptAudit, People, actor
from tests.user.test_guessing import reason
from tests.user.test_mfa import App

NEW = "another long one"
KEY = Wish("k", ("user.admin",))


@pytest.fixture
async def root(people: People) -> Actor:
    await people.add("root", "user.admin", "video.process")
    return await people.sign_in("root")


@pytest.fixture
async def eve(people: People) -> str:
    return (await people.add("eve", "video.process")).id


Action = Callable[[Desk, Actor, str], Awaitable[object]]
ACTIONS: dict[str, Action] = {
    "make a key": lambda desk, who, eve: api_keys.create(desk, who, KEY),
    "change the address": lambda desk, who, eve: profile.update(desk, who, Changes(email="x@example.com")),
    "give roles": lambda desk, who, eve: administration.set_roles(desk, who, eve, ("user.admin",)),
    "disable": lambda desk, who, eve: administration.disable(desk, who, eve),
    "enable": lambda desk, who, eve: administration.enable(desk, who, eve),
    "unlock": lambda desk, who, eve: administration.unlock(desk, who, eve),
    "end sessions": lambda desk, who, eve: administration.end_sessions(desk, who, eve, True),
    "reset a password": lambda desk, who, eve: administration.reset_password(desk, who, eve, True),
    "reset one's own": lambda desk, who, eve: administration.reset_password(desk, who, who.account_id, True),
    "invite": lambda desk, who, eve: registration.invite(desk, who, Guest(("user.admin",))),
}
WITH_CODES: dict[str, Action] = {
    "change the password": lambda desk, who, eve: profile.change_password(desk, who, PASSWORD, NEW),
    "close": lambda desk, who, eve: profile.close(desk, who, PASSWORD),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
async def test_it_takes_a_proof_of_the_last_five_minutes(
    desk: Desk, root: Actor, eve: str, clock: Clock, action: Action
) -> None:
    clock.pass_by(PROOF_LIFE + timedelta(seconds=1))
    assert await reason(action(desk, root, eve)) == "STEP_UP_REQUIRED"
    assert await reason(step_up(desk, root, "wrong", Code())) == "CREDENTIALS_WRONG"
    assert await reason(step_up(desk, root, "", Code(totp="123456"))) == "REQUEST_INVALID"
    assert await reason(action(desk, root, eve)) == "STEP_UP_REQUIRED"
    assert await step_up(desk, root, PASSWORD, Code()) == clock() + PROOF_LIFE
    clock.pass_by(PROOF_LIFE)
    assert await reason(action(desk, root, eve)) == "OK"


async def test_a_fresh_sign_in_is_a_proof_and_a_refreshed_token_is_none(
    desk: Desk, root: Actor, eve: str, people: People, clock: Clock
) -> None:
    await people.add("boss", "user.admin")
    boss = await people.sign_in("boss")
    tokens = await people.tokens("boss")
    assert await reason(api_keys.create(desk, boss, KEY)) == "OK"
    clock.pass_by(timedelta(minutes=6))
    renewed = actor((await refresh(desk, tokens.refresh_token, CLIENT)).access_token)
    assert await reason(api_keys.create(desk, renewed, KEY)) == "STEP_UP_REQUIRED"
    # The proof of one session is none of another.
    await step_up(desk, boss, PASSWORD, Code())
    assert await reason(api_keys.create(desk, renewed, KEY)) == "STEP_UP_REQUIRED"
    assert await reason(api_keys.create(desk, boss, KEY)) == "OK"


@pytest.mark.parametrize("action", [*ACTIONS.values(), *WITH_CODES.values()], ids=[*ACTIONS, *WITH_CODES])
async def test_where_an_account_asks_for_codes_the_proof_is_one(
    desk: Desk, root: Actor, eve: str, people: People, clock: Clock, action: Action
) -> None:
    await people.add("boss", "user.admin")
    app = App((await mfa.enrol(desk, root, PASSWORD)).secret, clock)
    codes = await mfa.confirm(desk, root, app.code())
    clock.pass_by(timedelta(minutes=6))
    assert await reason(action(desk, root, eve)) == "STEP_UP_REQUIRED"
    assert await reason(step_up(desk, root, PASSWORD, Code())) == "MFA_REQUIRED"
    assert await reason(step_up(desk, root, "wrong", Code(totp=app.code()))) == "CREDENTIALS_WRONG"
    assert await reason(step_up(desk, root, "", Code(totp=app.wrong()))) == "MFA_CODE_WRONG"
    assert await reason(action(desk, root, eve)) == "STEP_UP_REQUIRED"
    assert await reason(step_up(desk, root, "", Code(totp=app.code()))) == "OK"
    assert await reason(step_up(desk, root, "", Code(totp=app.code()))) == "MFA_CODE_WRONG"
    assert await reason(step_up(desk, root, "", Code(recovery=codes[0]))) == "OK"
    assert await reason(action(desk, root, eve)) == "OK"


async def test_the_rest_of_a_profile_takes_no_proof(desk: Desk, root: Actor, clock: Clock) -> None:
    clock.pass_by(timedelta(minutes=6))
    await profile.update(desk, root, Changes(display_name="Root", locale="en", email=""))
    assert await reason(api_keys.revoke(desk, root, "key_0000000000000000")) == "API_KEY_NOT_FOUND"


@pytest.fixture
async def machine(desk: Desk, root: Actor) -> Actor:
    """A program with an administrator's key of all roles."""
    shown, _ = await api_keys.create(desk, root, Wish("k", ("user.admin", "video.process")))
    return actor((await api_keys.exchange(desk, shown, CLIENT)).access_token)


BY_MACHINES: dict[str, Action] = {
    **{name: ACTIONS[name] for name in ("make a key", "change the address", "reset a password", "reset one's own")},
    **WITH_CODES,
    "prove itself": lambda desk, who, eve: step_up(desk, who, PASSWORD, Code()),
    "read what its owner reads": lambda desk, who, eve: security_events.listed(desk, trail(), who, 0, ""),
    "enrol": lambda desk, who, eve: mfa.enrol(desk, who, PASSWORD),
    "make an administrator": lambda desk, who, eve: administration.set_roles(desk, who, eve, ("user.admin",)),
    "invite an administrator": lambda desk, who, eve: registration.invite(desk, who, Guest(("user.admin",))),
    **{
        f"{name} its owner": action
        for name, action in {
            "give roles to": lambda desk, who, eve: administration.set_roles(desk, who, who.account_id, ()),
            "disable": lambda desk, who, eve: administration.disable(desk, who, who.account_id),
            "enable": lambda desk, who, eve: administration.enable(desk, who, who.account_id),
            "unlock": lambda desk, who, eve: administration.unlock(desk, who, who.account_id),
            "end the sessions of": lambda desk, who, eve: administration.end_sessions(desk, who, who.account_id, True),
        }.items()
    },
}


@pytest.mark.parametrize("action", BY_MACHINES.values(), ids=BY_MACHINES)
async def test_a_key_acts_on_no_identity_of_its_owner_and_makes_no_administrators(
    desk: Desk, root: Actor, machine: Actor, eve: str, people: People, action: Action
) -> None:
    await people.add("boss", "user.admin")
    assert await reason(action(desk, machine, eve)) == "SESSION_REQUIRED"


async def test_a_key_leaves_other_administrators_alone(desk: Desk, machine: Actor, people: People) -> None:
    boss = (await people.add("boss", "user.admin")).id
    for work in (
        administration.set_roles(desk, machine, boss, ()),
        administration.disable(desk, machine, boss),
        administration.unlock(desk, machine, boss),
        administration.end_sessions(desk, machine, boss, True),
    ):
        assert await reason(work) == "SESSION_REQUIRED"


async def test_a_key_of_an_administrator_looks_after_others(desk: Desk, machine: Actor, eve: str) -> None:
    for work in (
        administration.get(desk, machine, eve),
        administration.set_roles(desk, machine, eve, ("content.manage",)),
        administration.disable(desk, machine, eve),
        administration.enable(desk, machine, eve),
        administration.unlock(desk, machine, eve),
        administration.end_sessions(desk, machine, eve, True),
        registration.invite(desk, machine, Guest(("video.process",))),
    ):
        assert await reason(work) == "OK"


def trail() -> Trail:
    return Trail(MemoryTrail(), bytes(32))


async def test_security_events_are_what_was_done_with_ones_account(
    desk: Desk, root: Actor, eve: str, people: People, audit: KeptAudit
) -> None:
    who = await people.sign_in("eve")
    kept = trail()
    await api_keys.create(desk, who, Wish("k", ("video.process",)))
    assert await reason(profile.change_password(desk, who, "wrong", NEW)) == "CREDENTIALS_WRONG"
    await administration.set_roles(desk, root, eve, ("content.manage",))
    await profile.get(desk, who)
    events = [
        Event(
            f"{n:032x}", START, "user", e.action, e.actor, e.result, target=e.target, address=e.address,
            details=e.details,
        )
        for n, e in enumerate(audit.events)
    ]  # fmt: skip
    # One that another service claims is none of this.
    events.append(replace(events[0], id="f" * 32, service="storage", actor=eve))
    await kept.append(events)
    found, token = await security_events.listed(desk, kept, who, 0, "")
    assert [(record.event.action, record.event.actor, record.event.result) for record in found] == [
        ("account.set_roles", root.account_id, "OK"),
        ("password.change", eve, "CREDENTIALS_WRONG"),
        ("api_key.create", eve, "OK"),
        ("sign_in", eve, "OK"),
    ]
    assert token == ""
    first, token = await security_events.listed(desk, kept, who, 3, "")
    rest, _ = await security_events.listed(desk, kept, who, 3, token)
    assert [*first, *rest] == found
    assert "expire_time" in found[2].event.details


async def test_disabling_codes_is_a_proof_by_itself(desk: Desk, root: Actor, clock: Clock) -> None:
    app = App((await mfa.enrol(desk, root, PASSWORD)).secret, clock)
    await mfa.confirm(desk, root, app.code())
    clock.pass_by(timedelta(minutes=6))
    assert await reason(mfa.disable(desk, root, PASSWORD, Code(totp=app.code()))) == "OK"

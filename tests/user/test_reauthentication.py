"""Reauthentication: sensitive actions require a password or a code of the last five minutes, and no API key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from services.user.accounts.administration import (
    disable_account,
    enable_account,
    end_account_sessions,
    get_account,
    set_roles,
    unlock_account,
)
from services.user.accounts.invitations import InvitationRequest, create_invitation
from services.user.accounts.password_reset import reset_password
from services.user.accounts.profile import ProfileChanges, change_password, close_account, get_profile, update_profile
from services.user.api_keys.exchange import exchange_api_key
from services.user.api_keys.lifecycle import ApiKeyRequest, create_api_key, revoke_api_key
from services.user.audit.audit_log import AuditLog
from services.user.audit.model import Event
from services.user.audit.security_events import list_security_events
from services.user.authentication.reauthentication import SecondFactorCode, step_up
from services.user.authorization import REAUTHENTICATION_LIFETIME
from services.user.context import Actor, Context
from services.user.mfa.enrollment import confirm_totp, disable_totp, enroll_totp
from services.user.sessions.lifecycle import refresh_tokens
from tests.user.conftest import CLIENT, PASSWORD, START, AuditRecording, Clock, People, actor
from tests.user.memory import MemoryAuditLogStore
from tests.user.test_guessing import reason
from tests.user.test_mfa import App

NEW = "another long one"
KEY = ApiKeyRequest("k", ("user.admin",))


@pytest.fixture
async def root(people: People) -> Actor:
    await people.add("root", "user.admin", "video.process")
    return await people.sign_in("root")


@pytest.fixture
async def eve(people: People) -> str:
    return (await people.add("eve", "video.process")).id


Action = Callable[[Context, Actor, str], Awaitable[object]]
ACTIONS: dict[str, Action] = {
    "make a key": lambda context, actor, eve: create_api_key(context, actor, KEY),
    "change the address": lambda context, actor, eve: update_profile(
        context, actor, ProfileChanges(email="x@example.com")
    ),
    "give roles": lambda context, actor, eve: set_roles(context, actor, eve, ("user.admin",)),
    "disable": lambda context, actor, eve: disable_account(context, actor, eve),
    "enable": lambda context, actor, eve: enable_account(context, actor, eve),
    "unlock": lambda context, actor, eve: unlock_account(context, actor, eve),
    "end sessions": lambda context, actor, eve: end_account_sessions(context, actor, eve, True),
    "reset a password": lambda context, actor, eve: reset_password(context, actor, eve, True),
    "reset one's own": lambda context, actor, eve: reset_password(context, actor, actor.account_id, True),
    "invite": lambda context, actor, eve: create_invitation(context, actor, InvitationRequest(("user.admin",))),
}
WITH_CODES: dict[str, Action] = {
    "change the password": lambda context, actor, eve: change_password(context, actor, PASSWORD, NEW),
    "close": lambda context, actor, eve: close_account(context, actor, PASSWORD),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
async def test_sensitive_actions_require_a_proof_of_the_last_five_minutes(
    context: Context, root: Actor, eve: str, clock: Clock, action: Action
) -> None:
    clock.pass_by(REAUTHENTICATION_LIFETIME + timedelta(seconds=1))
    assert await reason(action(context, root, eve)) == "STEP_UP_REQUIRED"
    assert await reason(step_up(context, root, "wrong", SecondFactorCode())) == "CREDENTIALS_WRONG"
    assert await reason(step_up(context, root, "", SecondFactorCode(totp="123456"))) == "REQUEST_INVALID"
    assert await reason(action(context, root, eve)) == "STEP_UP_REQUIRED"
    assert await step_up(context, root, PASSWORD, SecondFactorCode()) == clock() + REAUTHENTICATION_LIFETIME
    clock.pass_by(REAUTHENTICATION_LIFETIME)
    assert await reason(action(context, root, eve)) == "OK"


async def test_a_sign_in_is_a_proof_and_a_refreshed_token_is_not(
    context: Context, root: Actor, eve: str, people: People, clock: Clock
) -> None:
    await people.add("boss", "user.admin")
    boss = await people.sign_in("boss")
    tokens = await people.tokens("boss")
    assert await reason(create_api_key(context, boss, KEY)) == "OK"
    clock.pass_by(timedelta(minutes=6))
    renewed = actor((await refresh_tokens(context, tokens.refresh_token, CLIENT)).access_token)
    assert await reason(create_api_key(context, renewed, KEY)) == "STEP_UP_REQUIRED"
    # The proof of one session is none of another.
    await step_up(context, boss, PASSWORD, SecondFactorCode())
    assert await reason(create_api_key(context, renewed, KEY)) == "STEP_UP_REQUIRED"
    assert await reason(create_api_key(context, boss, KEY)) == "OK"


@pytest.mark.parametrize("action", [*ACTIONS.values(), *WITH_CODES.values()], ids=[*ACTIONS, *WITH_CODES])
async def test_with_mfa_the_proof_is_a_code(
    context: Context, root: Actor, eve: str, people: People, clock: Clock, action: Action
) -> None:
    await people.add("boss", "user.admin")
    app = App((await enroll_totp(context, root, PASSWORD)).secret, clock)
    codes = await confirm_totp(context, root, app.code())
    clock.pass_by(timedelta(minutes=6))
    assert await reason(action(context, root, eve)) == "STEP_UP_REQUIRED"
    assert await reason(step_up(context, root, PASSWORD, SecondFactorCode())) == "MFA_REQUIRED"
    assert await reason(step_up(context, root, "wrong", SecondFactorCode(totp=app.code()))) == "CREDENTIALS_WRONG"
    assert await reason(step_up(context, root, "", SecondFactorCode(totp=app.wrong()))) == "MFA_CODE_WRONG"
    assert await reason(action(context, root, eve)) == "STEP_UP_REQUIRED"
    assert await reason(step_up(context, root, "", SecondFactorCode(totp=app.code()))) == "OK"
    assert await reason(step_up(context, root, "", SecondFactorCode(totp=app.code()))) == "MFA_CODE_WRONG"
    assert await reason(step_up(context, root, "", SecondFactorCode(recovery=codes[0]))) == "OK"
    assert await reason(action(context, root, eve)) == "OK"


async def test_other_fields_of_a_profile_require_no_proof(context: Context, root: Actor, clock: Clock) -> None:
    clock.pass_by(timedelta(minutes=6))
    await update_profile(context, root, ProfileChanges(display_name="Root", locale="en", email=""))
    assert await reason(revoke_api_key(context, root, "key_0000000000000000")) == "API_KEY_NOT_FOUND"


@pytest.fixture
async def machine(context: Context, root: Actor) -> Actor:
    """A program with an administrator's key of all roles."""
    shown, _ = await create_api_key(context, root, ApiKeyRequest("k", ("user.admin", "video.process")))
    return actor((await exchange_api_key(context, shown, CLIENT)).access_token)


BY_MACHINES: dict[str, Action] = {
    **{name: ACTIONS[name] for name in ("make a key", "change the address", "reset a password", "reset one's own")},
    **WITH_CODES,
    "prove itself": lambda context, actor, eve: step_up(context, actor, PASSWORD, SecondFactorCode()),
    "read what its owner reads": lambda context, actor, eve: list_security_events(
        context, create_audit_log(), actor, 0, ""
    ),
    "enrol": lambda context, actor, eve: enroll_totp(context, actor, PASSWORD),
    "make an administrator": lambda context, actor, eve: set_roles(context, actor, eve, ("user.admin",)),
    "invite an administrator": lambda context, actor, eve: create_invitation(
        context, actor, InvitationRequest(("user.admin",))
    ),
    **{
        f"{name} its owner": action
        for name, action in {
            "give roles to": lambda context, actor, eve: set_roles(context, actor, actor.account_id, ()),
            "disable": lambda context, actor, eve: disable_account(context, actor, actor.account_id),
            "enable": lambda context, actor, eve: enable_account(context, actor, actor.account_id),
            "unlock": lambda context, actor, eve: unlock_account(context, actor, actor.account_id),
            "end the sessions of": lambda context, actor, eve: end_account_sessions(
                context, actor, actor.account_id, True
            ),
        }.items()
    },
}


@pytest.mark.parametrize("action", BY_MACHINES.values(), ids=BY_MACHINES)
async def test_an_api_key_neither_changes_its_owners_identity_nor_creates_administrators(
    context: Context, root: Actor, machine: Actor, eve: str, people: People, action: Action
) -> None:
    await people.add("boss", "user.admin")
    assert await reason(action(context, machine, eve)) == "SESSION_REQUIRED"


async def test_an_api_key_cannot_change_other_administrators(context: Context, machine: Actor, people: People) -> None:
    boss = (await people.add("boss", "user.admin")).id
    for work in (
        set_roles(context, machine, boss, ()),
        disable_account(context, machine, boss),
        unlock_account(context, machine, boss),
        end_account_sessions(context, machine, boss, True),
    ):
        assert await reason(work) == "SESSION_REQUIRED"


async def test_an_api_key_of_an_administrator_manages_other_users(context: Context, machine: Actor, eve: str) -> None:
    for work in (
        get_account(context, machine, eve),
        set_roles(context, machine, eve, ("content.manage",)),
        disable_account(context, machine, eve),
        enable_account(context, machine, eve),
        unlock_account(context, machine, eve),
        end_account_sessions(context, machine, eve, True),
        create_invitation(context, machine, InvitationRequest(("video.process",))),
    ):
        assert await reason(work) == "OK"


def create_audit_log() -> AuditLog:
    return AuditLog(MemoryAuditLogStore(), bytes(32))


async def test_security_events_are_the_records_of_ones_account(
    context: Context, root: Actor, eve: str, people: People, audit: AuditRecording
) -> None:
    user = await people.sign_in("eve")
    audit_log = create_audit_log()
    await create_api_key(context, user, ApiKeyRequest("k", ("video.process",)))
    assert await reason(change_password(context, user, "wrong", NEW)) == "CREDENTIALS_WRONG"
    await set_roles(context, root, eve, ("content.manage",))
    await get_profile(context, user)
    events = [
        Event(
            f"{n:032x}", START, "user", e.action, e.actor, e.result, target=e.target, address=e.address,
            details=e.details,
        )
        for n, e in enumerate(audit.events)
    ]  # fmt: skip
    # An event that another service reports does not belong to them.
    events.append(replace(events[0], id="f" * 32, service="storage", actor=eve))
    await audit_log.append(events)
    found, token = await list_security_events(context, audit_log, user, 0, "")
    assert [(record.event.action, record.event.actor, record.event.result) for record in found] == [
        ("account.set_roles", root.account_id, "OK"),
        ("password.change", eve, "CREDENTIALS_WRONG"),
        ("api_key.create", eve, "OK"),
        ("sign_in", eve, "OK"),
    ]
    assert token == ""
    first, token = await list_security_events(context, audit_log, user, 3, "")
    rest, _ = await list_security_events(context, audit_log, user, 3, token)
    assert [*first, *rest] == found
    assert "expire_time" in found[2].event.details


async def test_disabling_codes_needs_no_other_proof(context: Context, root: Actor, clock: Clock) -> None:
    app = App((await enroll_totp(context, root, PASSWORD)).secret, clock)
    await confirm_totp(context, root, app.code())
    clock.pass_by(timedelta(minutes=6))
    assert await reason(disable_totp(context, root, PASSWORD, SecondFactorCode(totp=app.code()))) == "OK"

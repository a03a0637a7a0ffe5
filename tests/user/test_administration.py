"""Administration of other users' accounts, and changes of the own account."""

from __future__ import annotations

from datetime import timedelta

import pytest

from moneyprinter import errors
from services.runtime.pagination import PageRequest
from services.user.accounts.administration import (
    disable_account,
    enable_account,
    end_account_sessions,
    get_account,
    list_accounts,
    set_roles,
    unlock_account,
)
from services.user.accounts.model import Profile
from services.user.accounts.password_reset import reset_password
from services.user.accounts.profile import ProfileChanges, change_password, close_account, get_profile, update_profile
from services.user.context import Actor, Context
from services.user.sessions.lifecycle import refresh_tokens
from services.user.sessions.sign_in import Credentials, sign_in
from tests.user.conftest import CLIENT, PASSWORD, AuditRecording, Clock, People, actor, elsewhere

NEW = "another long one"


@pytest.fixture
async def root(people: People) -> Actor:
    await people.add("root", "user.admin")
    return await people.sign_in("root")


@pytest.fixture
async def ada(people: People) -> Actor:
    await people.add("ada", "video.process")
    return await people.sign_in("ada")


async def test_accounts_are_listed_in_pages(context: Context, root: Actor, people: People) -> None:
    made = [root.account_id, *[(await people.add(f"name{number}")).id for number in range(4)]]
    first = await list_accounts(context, root, PageRequest(3))
    rest = await list_accounts(context, root, PageRequest(3, first.next_token))
    assert [account.id for account in (*first.items, *rest.items)] == made[::-1]
    assert rest.next_token == ""
    assert len((await list_accounts(context, root, PageRequest())).items) == 5


@pytest.mark.parametrize("token", ["x", "eHg=", "\u00e9", "MjAyNi0xMS0yMyB4", "MjAyNi0xMS0yM1QxMDowMDowMCB4", "===="])
async def test_an_invented_page_token_is_refused(context: Context, root: Actor, token: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="page_token"):
        await list_accounts(context, root, PageRequest(3, token))


async def test_only_administrators_reach_other_accounts(context: Context, root: Actor, ada: Actor) -> None:
    for attempt in (
        list_accounts(context, ada, PageRequest()),
        get_account(context, ada, root.account_id),
        set_roles(context, ada, ada.account_id, ("user.admin",)),
        disable_account(context, ada, root.account_id),
        enable_account(context, ada, root.account_id),
        unlock_account(context, ada, root.account_id),
        end_account_sessions(context, ada, root.account_id, True),
        reset_password(context, ada, root.account_id, True),
    ):
        with pytest.raises(errors.PermissionDenied) as refused:
            await attempt
        assert refused.value.reason == "ROLE_MISSING"
    assert (await get_account(context, root, root.account_id)).account.password_hash


async def test_an_unknown_account_is_not_found(context: Context, root: Actor) -> None:
    for attempt in (
        get_account(context, root, "user_x"),
        set_roles(context, root, "user_x", ()),
        disable_account(context, root, "user_x"),
        enable_account(context, root, "user_x"),
        unlock_account(context, root, "user_x"),
        end_account_sessions(context, root, "user_x", False),
        reset_password(context, root, "user_x", False),
    ):
        with pytest.raises(errors.NotFound) as refused:
            await attempt
        assert refused.value.reason == "ACCOUNT_NOT_FOUND"


async def test_an_administrator_without_the_role_cannot_restore_it(
    context: Context, root: Actor, people: People
) -> None:
    """The access token contains `user.admin` until it expires."""
    await people.add("boss", "user.admin")
    boss = await people.sign_in("boss")
    await set_roles(context, boss, root.account_id, ())
    with pytest.raises(errors.PermissionDenied) as refused:
        await set_roles(context, root, root.account_id, ("user.admin",))
    assert refused.value.reason == "ROLE_MISSING"


async def test_the_last_administrator_keeps_the_role(context: Context, root: Actor) -> None:
    for attempt in (
        set_roles(context, root, root.account_id, ("video.process",)),
        disable_account(context, root, root.account_id),
        close_account(context, root, PASSWORD),
    ):
        with pytest.raises(errors.FailedPrecondition) as refused:
            await attempt
        assert refused.value.reason == "LAST_ADMINISTRATOR"
    assert (await get_profile(context, root)).roles == ("user.admin",)


async def test_an_account_is_disabled_and_enabled(context: Context, root: Actor, ada: Actor, clock: Clock) -> None:
    disabled = await disable_account(context, root, ada.account_id)
    first = clock()
    clock.pass_by(timedelta(minutes=1))
    assert disabled.disable_time == first
    assert (await disable_account(context, root, ada.account_id)).disable_time == first
    with pytest.raises(errors.Unauthenticated):
        await get_profile(context, ada)
    assert (await enable_account(context, root, ada.account_id)).disable_time is None
    with pytest.raises(errors.Unauthenticated):
        await get_profile(context, ada)


async def test_every_action_is_recorded(context: Context, root: Actor, ada: Actor, audit: AuditRecording) -> None:
    audit.events.clear()
    await set_roles(context, root, ada.account_id, ("content.manage", "audio.generate"))
    with pytest.raises(errors.FailedPrecondition):
        await disable_account(context, root, root.account_id)
    with pytest.raises(errors.PermissionDenied):
        await unlock_account(context, ada, root.account_id)
    recorded = [(event.action, event.actor, event.target, event.result, event.details) for event in audit.events]
    assert recorded == [
        ("account.set_roles", root.account_id, ada.account_id, "OK", {"roles": "content.manage audio.generate"}),
        ("account.disable", root.account_id, root.account_id, "LAST_ADMINISTRATOR", {}),
        ("account.unlock", ada.account_id, root.account_id, "ROLE_MISSING", {}),
    ]


async def test_a_profile_is_changed_field_by_field(context: Context, ada: Actor) -> None:
    await update_profile(context, ada, ProfileChanges("Ada L.", "ada@example.com", "en-GB"))
    changed = await update_profile(context, ada, ProfileChanges(email="", locale="de-DE"))
    assert changed.profile == Profile("Ada L.", "", "de-DE")
    assert (await get_profile(context, ada)).profile == changed.profile


async def test_changing_the_password_ends_every_other_session(context: Context, ada: Actor, people: People) -> None:
    there = await sign_in(context, Credentials("ada", PASSWORD), CLIENT)
    with pytest.raises(errors.InvalidArgument) as weak:
        await change_password(context, ada, PASSWORD, "adaadaadaada")
    assert weak.value.reason == "PASSWORD_WEAK"
    with pytest.raises(errors.PermissionDenied) as wrong:
        await change_password(context, ada, "wrong", NEW)
    assert wrong.value.reason == "CREDENTIALS_WRONG"
    await change_password(context, ada, PASSWORD, NEW)
    assert (await get_profile(context, ada)).username == "ada"
    with pytest.raises(errors.Unauthenticated):
        await get_profile(context, actor(there.access_token))
    with pytest.raises(errors.Unauthenticated):
        await refresh_tokens(context, there.refresh_token, CLIENT)
    with pytest.raises(errors.Unauthenticated):
        await sign_in(context, Credentials("ada", PASSWORD), CLIENT)
    await sign_in(context, Credentials("ada", NEW), CLIENT)


async def test_a_stolen_token_does_not_allow_guessing_the_password(context: Context, ada: Actor) -> None:
    for _ in range(5):
        with pytest.raises(errors.PermissionDenied):
            await change_password(context, ada, "guess", NEW)
    for attempt in (change_password(context, elsewhere(ada), PASSWORD, NEW), close_account(context, ada, PASSWORD)):
        with pytest.raises(errors.ResourceExhausted) as refused:
            await attempt
        assert refused.value.reason == "SIGN_IN_LOCKED"


async def test_users_close_their_own_account(context: Context, root: Actor, ada: Actor) -> None:
    with pytest.raises(errors.PermissionDenied):
        await close_account(context, ada, "wrong")
    await close_account(context, ada, PASSWORD)
    with pytest.raises(errors.Unauthenticated):
        await get_profile(context, ada)
    with pytest.raises(errors.PermissionDenied) as refused:
        await sign_in(context, Credentials("ada", PASSWORD), CLIENT)
    assert refused.value.reason == "ACCOUNT_DISABLED"
    await enable_account(context, root, ada.account_id)
    await sign_in(context, Credentials("ada", PASSWORD), CLIENT)

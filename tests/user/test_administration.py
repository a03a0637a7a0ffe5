"""What administrators do with other people's accounts, and what people do with their own."""

from __future__ import annotations

from datetime import timedelta

import pytest

from moneyprinter import errors
from services.user import administration, profile
from services.user.accounts import Profile
from services.user.desk import Actor, Desk
from services.user.pages import Wanted
from services.user.profile import Changes
from services.user.sessions import Credentials, refresh, sign_in
from tests.user.conftest import CLIENT, PASSWORD, Clock, KeptAudit, People, actor, elsewhere

NEW = "another long one"


@pytest.fixture
async def root(people: People) -> Actor:
    await people.add("root", "user.admin")
    return await people.sign_in("root")


@pytest.fixture
async def ada(people: People) -> Actor:
    await people.add("ada", "video.process")
    return await people.sign_in("ada")


async def test_accounts_are_listed_in_pages(desk: Desk, root: Actor, people: People) -> None:
    made = [root.account_id, *[(await people.add(f"name{number}")).id for number in range(4)]]
    first = await administration.accounts(desk, root, Wanted(3))
    rest = await administration.accounts(desk, root, Wanted(3, first.next_token))
    assert [account.id for account in (*first.items, *rest.items)] == made[::-1]
    assert rest.next_token == ""
    assert len((await administration.accounts(desk, root, Wanted())).items) == 5


@pytest.mark.parametrize("token", ["x", "eHg=", "\u00e9", "MjAyNi0xMS0yMyB4", "MjAyNi0xMS0yM1QxMDowMDowMCB4", "===="])
async def test_a_page_token_of_ones_own_making_is_refused(desk: Desk, root: Actor, token: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="page_token"):
        await administration.accounts(desk, root, Wanted(3, token))


async def test_only_administrators_reach_other_accounts(desk: Desk, root: Actor, ada: Actor) -> None:
    for attempt in (
        administration.accounts(desk, ada, Wanted()),
        administration.get(desk, ada, root.account_id),
        administration.set_roles(desk, ada, ada.account_id, ("user.admin",)),
        administration.disable(desk, ada, root.account_id),
        administration.enable(desk, ada, root.account_id),
        administration.unlock(desk, ada, root.account_id),
        administration.end_sessions(desk, ada, root.account_id, True),
        administration.reset_password(desk, ada, root.account_id, True),
    ):
        with pytest.raises(errors.PermissionDenied) as refused:
            await attempt
        assert refused.value.reason == "ROLE_MISSING"
    assert (await administration.get(desk, root, root.account_id)).account.password_hash


async def test_an_account_that_is_not_there_is_not_found(desk: Desk, root: Actor) -> None:
    for attempt in (
        administration.get(desk, root, "user_x"),
        administration.set_roles(desk, root, "user_x", ()),
        administration.disable(desk, root, "user_x"),
        administration.enable(desk, root, "user_x"),
        administration.unlock(desk, root, "user_x"),
        administration.end_sessions(desk, root, "user_x", False),
        administration.reset_password(desk, root, "user_x", False),
    ):
        with pytest.raises(errors.NotFound) as refused:
            await attempt
        assert refused.value.reason == "ACCOUNT_NOT_FOUND"


async def test_one_who_lost_the_role_cannot_take_it_back(desk: Desk, root: Actor, people: People) -> None:
    """The access token says `user.admin` for a while yet."""
    await people.add("boss", "user.admin")
    boss = await people.sign_in("boss")
    await administration.set_roles(desk, boss, root.account_id, ())
    with pytest.raises(errors.PermissionDenied) as refused:
        await administration.set_roles(desk, root, root.account_id, ("user.admin",))
    assert refused.value.reason == "ROLE_MISSING"


async def test_the_last_administrator_stays(desk: Desk, root: Actor) -> None:
    for attempt in (
        administration.set_roles(desk, root, root.account_id, ("video.process",)),
        administration.disable(desk, root, root.account_id),
        profile.close(desk, root, PASSWORD),
    ):
        with pytest.raises(errors.FailedPrecondition) as refused:
            await attempt
        assert refused.value.reason == "LAST_ADMINISTRATOR"
    assert (await profile.get(desk, root)).roles == ("user.admin",)


async def test_an_account_is_disabled_and_enabled(desk: Desk, root: Actor, ada: Actor, clock: Clock) -> None:
    disabled = await administration.disable(desk, root, ada.account_id)
    first = clock()
    clock.pass_by(timedelta(minutes=1))
    assert disabled.disable_time == first
    assert (await administration.disable(desk, root, ada.account_id)).disable_time == first
    with pytest.raises(errors.Unauthenticated):
        await profile.get(desk, ada)
    assert (await administration.enable(desk, root, ada.account_id)).disable_time is None
    with pytest.raises(errors.Unauthenticated):
        await profile.get(desk, ada)


async def test_every_action_is_told(desk: Desk, root: Actor, ada: Actor, audit: KeptAudit) -> None:
    audit.events.clear()
    await administration.set_roles(desk, root, ada.account_id, ("content.manage", "audio.generate"))
    with pytest.raises(errors.FailedPrecondition):
        await administration.disable(desk, root, root.account_id)
    with pytest.raises(errors.PermissionDenied):
        await administration.unlock(desk, ada, root.account_id)
    told = [(event.action, event.actor, event.target, event.result, event.details) for event in audit.events]
    assert told == [
        ("account.set_roles", root.account_id, ada.account_id, "OK", {"roles": "content.manage audio.generate"}),
        ("account.disable", root.account_id, root.account_id, "LAST_ADMINISTRATOR", {}),
        ("account.unlock", ada.account_id, root.account_id, "ROLE_MISSING", {}),
    ]


async def test_a_profile_is_changed_field_by_field(desk: Desk, ada: Actor) -> None:
    await profile.update(desk, ada, Changes("Ada L.", "ada@example.com", "en-GB"))
    changed = await profile.update(desk, ada, Changes(email="", locale="de-DE"))
    assert changed.profile == Profile("Ada L.", "", "de-DE")
    assert (await profile.get(desk, ada)).profile == changed.profile


async def test_a_changed_password_ends_every_other_session(desk: Desk, ada: Actor, people: People) -> None:
    there = await sign_in(desk, Credentials("ada", PASSWORD), CLIENT)
    with pytest.raises(errors.InvalidArgument) as weak:
        await profile.change_password(desk, ada, PASSWORD, "adaadaadaada")
    assert weak.value.reason == "PASSWORD_WEAK"
    with pytest.raises(errors.PermissionDenied) as wrong:
        await profile.change_password(desk, ada, "wrong", NEW)
    assert wrong.value.reason == "CREDENTIALS_WRONG"
    await profile.change_password(desk, ada, PASSWORD, NEW)
    assert (await profile.get(desk, ada)).username == "ada"
    with pytest.raises(errors.Unauthenticated):
        await profile.get(desk, actor(there.access_token))
    with pytest.raises(errors.Unauthenticated):
        await refresh(desk, there.refresh_token, CLIENT)
    with pytest.raises(errors.Unauthenticated):
        await sign_in(desk, Credentials("ada", PASSWORD), CLIENT)
    await sign_in(desk, Credentials("ada", NEW), CLIENT)


async def test_a_stolen_token_does_not_help_to_guess_the_password(desk: Desk, ada: Actor) -> None:
    for _ in range(5):
        with pytest.raises(errors.PermissionDenied):
            await profile.change_password(desk, ada, "guess", NEW)
    for attempt in (profile.change_password(desk, elsewhere(ada), PASSWORD, NEW), profile.close(desk, ada, PASSWORD)):
        with pytest.raises(errors.ResourceExhausted) as refused:
            await attempt
        assert refused.value.reason == "SIGN_IN_LOCKED"


async def test_people_close_their_own_account(desk: Desk, root: Actor, ada: Actor) -> None:
    with pytest.raises(errors.PermissionDenied):
        await profile.close(desk, ada, "wrong")
    await profile.close(desk, ada, PASSWORD)
    with pytest.raises(errors.Unauthenticated):
        await profile.get(desk, ada)
    with pytest.raises(errors.PermissionDenied) as refused:
        await sign_in(desk, Credentials("ada", PASSWORD), CLIENT)
    assert refused.value.reason == "ACCOUNT_DISABLED"
    await administration.enable(desk, root, ada.account_id)
    await sign_in(desk, Credentials("ada", PASSWORD), CLIENT)

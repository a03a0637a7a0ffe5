"""How accounts are made, and how a lost password is replaced."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from moneyprinter import errors
from services.user import administration, registration
from services.user.accounts import Account, Profile
from services.user.desk import Actor, Desk, Policy, Registration, sha256
from services.user.pages import Wanted
from services.user.proof import sign_in_proofs
from services.user.registration import Guest, Wish
from services.user.sessions import Credentials, sign_in
from services.user.store import Client
from tests.user.conftest import CLIENT, PASSWORD, Clock, KeptAudit, People

ADA = Wish("Ada", "some long words", profile=Profile("Ada L.", "ada@example.com", "en-GB"))
EVERYBODY = Client("192.0.2.1", "a browser")


@pytest.fixture
async def root(people: People) -> Actor:
    await people.add("root", "user.admin")
    return await people.sign_in("root")


def under(desk: Desk, registration: Registration) -> Desk:
    return replace(desk, policy=Policy(registration))


async def reason(desk: Desk, wish: Wish, client: Client = CLIENT) -> str:
    """Why a registration is refused."""
    with pytest.raises(errors.Error) as refused:
        await registration.register(desk, wish, client)
    return refused.value.reason


async def test_who_is_invited_makes_an_account_once(desk: Desk, root: Actor, clock: Clock, audit: KeptAudit) -> None:
    token, invitation = await registration.invite(desk, root, Guest(("audio.generate",), "for Ada"))
    made = await registration.register(desk, replace(ADA, invitation_token=token), CLIENT)
    assert (made.username, made.roles, made.profile) == ("ada", ("audio.generate",), ADA.profile)
    assert await desk.store.accounts.find(made.id) == made
    await sign_in(desk, Credentials("ada", ADA.password), CLIENT)
    assert await reason(desk, replace(ADA, username="eve", invitation_token=token)) == "INVITATION_INVALID"
    told = next(event for event in audit.events if event.action == "account.register")
    assert (told.target, told.details) == (made.id, {"roles": "audio.generate", "invitation": invitation.id})
    for secret in (token, ADA.password):
        assert secret not in str(audit.events) + repr(replace(ADA, invitation_token=token)) + repr(invitation)


@pytest.mark.parametrize("token", ["", "guessed"])
async def test_without_a_good_invitation_nobody_learns_which_names_there_are(
    desk: Desk, root: Actor, token: str
) -> None:
    for name in ("root", "ada", "?"):
        assert await reason(desk, replace(ADA, username=name, invitation_token=token)) == "INVITATION_INVALID"


async def test_an_open_platform_takes_everybody_but_makes_nobody_an_administrator(desk: Desk, root: Actor) -> None:
    made = await registration.register(under(desk, "open"), ADA, CLIENT)
    assert made.roles == ("video.process", "audio.generate", "content.manage")
    token, _ = await registration.invite(desk, root, Guest(("user.admin",)))
    invited = await registration.register(
        under(desk, "open"), replace(ADA, username="bob", invitation_token=token), CLIENT
    )
    assert invited.roles == ("user.admin",)
    assert await reason(under(desk, "open"), replace(ADA, invitation_token="wrong")) == "INVITATION_INVALID"


async def test_a_closed_platform_takes_nobody(desk: Desk, root: Actor) -> None:
    token, _ = await registration.invite(desk, root, Guest(()))
    for wish in (ADA, replace(ADA, invitation_token=token)):
        assert await reason(under(desk, "closed"), wish) == "REGISTRATION_CLOSED"
    with pytest.raises(errors.FailedPrecondition):
        await registration.invite(under(desk, "closed"), root, Guest(()))


async def test_what_will_not_do_does_not_use_the_invitation_up(desk: Desk, root: Actor) -> None:
    token, _ = await registration.invite(desk, root, Guest(()))
    wish = replace(ADA, invitation_token=token)
    assert await reason(desk, replace(wish, username="ROOT")) == "USERNAME_TAKEN"
    assert await reason(desk, replace(wish, username="ада")) == "REQUEST_INVALID"
    assert await reason(desk, replace(wish, password="password1234")) == "PASSWORD_WEAK"
    assert await reason(desk, replace(wish, username="adalovelace", password="AdaLovelace1")) == "PASSWORD_WEAK"
    await registration.register(desk, wish, CLIENT)


async def test_one_address_cannot_register_without_end(desk: Desk, root: Actor, clock: Clock) -> None:
    desk = under(desk, "open")
    for number in range(10):
        await registration.register(desk, replace(ADA, username=f"name{number}"), EVERYBODY)
    assert await reason(desk, replace(ADA, username="one.more"), EVERYBODY) == "SIGN_IN_LOCKED"
    await registration.register(desk, replace(ADA, username="another"), CLIENT)
    token, _ = await registration.invite(desk, root, Guest(()))
    await registration.register(desk, replace(ADA, username="invited", invitation_token=token), EVERYBODY)
    clock.pass_by(timedelta(hours=1))
    await registration.register(desk, replace(ADA, username="one.more"), EVERYBODY)


async def test_of_many_who_want_one_name_at_once_one_gets_it(desk: Desk, root: Actor) -> None:
    desk = under(desk, "open")
    ends = await asyncio.gather(*(registration.register(desk, ADA, CLIENT) for _ in range(6)), return_exceptions=True)
    assert len([end for end in ends if isinstance(end, Account)]) == 1
    assert {end.reason for end in ends if isinstance(end, errors.Error)} == {"USERNAME_TAKEN"}


async def test_invitations_are_listed_and_taken_back_by_administrators(
    desk: Desk, root: Actor, people: People, clock: Clock
) -> None:
    made = []
    for number in range(5):
        clock.pass_by(timedelta(seconds=1))
        made.append(await registration.invite(desk, root, Guest((), f"guest {number}")))
    first = await registration.invitations(desk, root, Wanted(3))
    rest = await registration.invitations(desk, root, Wanted(3, first.next_token))
    assert [*first.items, *rest.items] == [invitation for _, invitation in reversed(made)]
    assert rest.next_token == ""
    await registration.disinvite(desk, root, made[0][1].id)
    with pytest.raises(errors.NotFound) as refused:
        await registration.disinvite(desk, root, made[0][1].id)
    assert refused.value.reason == "INVITATION_NOT_FOUND"
    assert await reason(desk, replace(ADA, invitation_token=made[0][0])) == "INVITATION_INVALID"
    await people.add("eve", "video.process")
    eve = await people.sign_in("eve")
    for attempt in (
        registration.invite(desk, eve, Guest(("user.admin",))),
        registration.invitations(desk, eve, Wanted()),
        registration.disinvite(desk, eve, made[1][1].id),
    ):
        with pytest.raises(errors.PermissionDenied) as refusal:
            await attempt
        assert refusal.value.reason == "ROLE_MISSING"


async def test_an_invitation_is_good_as_long_as_it_says(desk: Desk, root: Actor, clock: Clock) -> None:
    usual, _ = await registration.invite(desk, root, Guest(()))
    short, _ = await registration.invite(desk, root, Guest((), valid_for=timedelta(minutes=5)))
    clock.pass_by(timedelta(minutes=5))
    assert await reason(desk, replace(ADA, invitation_token=short)) == "INVITATION_INVALID"
    clock.pass_by(timedelta(days=7) - timedelta(minutes=6))
    await registration.register(desk, replace(ADA, invitation_token=usual), CLIENT)


async def test_an_invitation_is_as_good_as_who_made_it(desk: Desk, root: Actor, people: People) -> None:
    await people.add("boss", "user.admin")
    boss = await people.sign_in("boss")
    token, _ = await registration.invite(desk, root, Guest(("user.admin",)))
    wish = replace(ADA, invitation_token=token)
    for leave in (
        administration.set_roles(desk, boss, root.account_id, ("video.process",)),
        administration.disable(desk, boss, root.account_id),
    ):
        await leave
        assert await reason(desk, wish) == "INVITATION_INVALID"
        account = replace(await people.add(f"guest{desk.random(2).hex()}"), id="user_x", username="late")
        with pytest.raises(errors.PermissionDenied):
            await desk.store.accounts.register(account, sha256(token))
        assert (await registration.invitations(desk, boss, Wanted())).items == []
    await administration.enable(desk, boss, root.account_id)
    await administration.set_roles(desk, boss, root.account_id, ("user.admin",))
    await registration.register(desk, wish, CLIENT)


async def test_a_reset_password_is_replaced_once_by_its_owner(
    desk: Desk, root: Actor, people: People, audit: KeptAudit
) -> None:
    eve = await people.add("eve")
    await people.sign_in("eve")
    for _ in range(5):
        with pytest.raises(errors.Unauthenticated):
            await sign_in(desk, Credentials("eve", "forgotten"), CLIENT)
    reset = await administration.reset_password(desk, root, eve.id, disable_totp=False)
    assert reset.expire_time - desk.now() == timedelta(hours=24)
    assert await desk.store.sessions.listed(eve.id, desk.now()) == []
    await desk.guard.unlock(await sign_in_proofs(desk, eve))
    for password in (PASSWORD, "", "None"):
        with pytest.raises(errors.Unauthenticated, match="do not belong together"):
            await sign_in(desk, Credentials("eve", password), CLIENT)
    with pytest.raises(errors.InvalidArgument):
        await registration.set_password(desk, reset.token, "password1234", CLIENT)
    for _ in range(2):
        with pytest.raises(errors.Unauthenticated):
            await sign_in(desk, Credentials("eve", "forgotten"), CLIENT)
    await registration.set_password(desk, reset.token, "a new long one", CLIENT)
    # The failures of former times are forgotten.
    await sign_in(desk, Credentials("eve", "a new long one"), CLIENT)
    for token in (reset.token, "unknown", ""):
        with pytest.raises(errors.PermissionDenied) as refused:
            await registration.set_password(desk, token, "a new long one", CLIENT)
        assert refused.value.reason == "RESET_TOKEN_INVALID"
    for secret in (reset.token, "a new long one"):
        assert secret not in str(audit.events) + repr(reset)


async def test_leave_to_set_a_password_expires_and_ends_with_a_change(
    desk: Desk, root: Actor, people: People, clock: Clock
) -> None:
    eve = await people.add("eve")
    reset = await administration.reset_password(desk, root, eve.id, disable_totp=False)
    clock.pass_by(timedelta(hours=24))
    with pytest.raises(errors.PermissionDenied):
        await registration.set_password(desk, reset.token, "a new long one", CLIENT)

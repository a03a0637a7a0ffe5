"""Registration with and without invitations, and the reset of a lost password."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from moneyprinter import errors
from services.runtime.pagination import PageRequest
from services.user.accounts.administration import disable_account, enable_account, set_roles
from services.user.accounts.invitations import InvitationRequest, create_invitation, delete_invitation, list_invitations
from services.user.accounts.model import Account, Profile
from services.user.accounts.password_reset import reset_password, set_password
from services.user.accounts.registration import RegistrationRequest, register_account
from services.user.authentication.reauthentication import sign_in_counters
from services.user.client import Client
from services.user.context import Actor, Context, Policy, RegistrationPolicy
from services.user.sessions.sign_in import Credentials, sign_in
from services.user.tokens.opaque_tokens import hash_token
from tests.user.conftest import CLIENT, PASSWORD, AuditRecording, Clock, People

ADA = RegistrationRequest("Ada", "some long words", profile=Profile("Ada L.", "ada@example.com", "en-GB"))
UNINVITED = Client("192.0.2.1", "a browser")


@pytest.fixture
async def root(people: People) -> Actor:
    await people.add("root", "user.admin")
    return await people.sign_in("root")


def with_policy(context: Context, registration: RegistrationPolicy) -> Context:
    return replace(context, policy=Policy(registration))


async def reason(context: Context, request: RegistrationRequest, client: Client = CLIENT) -> str:
    """Return the reason for which a registration is refused."""
    with pytest.raises(errors.Error) as refused:
        await register_account(context, request, client)
    return refused.value.reason


async def test_an_invitation_creates_one_account(
    context: Context, root: Actor, clock: Clock, audit: AuditRecording
) -> None:
    token, invitation = await create_invitation(context, root, InvitationRequest(("audio.generate",), "for Ada"))
    made = await register_account(context, replace(ADA, invitation_token=token), CLIENT)
    assert (made.username, made.roles, made.profile) == ("ada", ("audio.generate",), ADA.profile)
    assert await context.store.accounts.find(made.id) == made
    await sign_in(context, Credentials("ada", ADA.password), CLIENT)
    assert await reason(context, replace(ADA, username="eve", invitation_token=token)) == "INVITATION_INVALID"
    recorded = next(event for event in audit.events if event.action == "account.register")
    assert (recorded.target, recorded.details) == (made.id, {"roles": "audio.generate", "invitation": invitation.id})
    for secret in (token, ADA.password):
        assert secret not in str(audit.events) + repr(replace(ADA, invitation_token=token)) + repr(invitation)


@pytest.mark.parametrize("token", ["", "guessed"])
async def test_without_a_valid_invitation_usernames_are_not_disclosed(
    context: Context, root: Actor, token: str
) -> None:
    for name in ("root", "ada", "?"):
        assert await reason(context, replace(ADA, username=name, invitation_token=token)) == "INVITATION_INVALID"


async def test_an_open_platform_registers_everybody_but_not_as_administrators(context: Context, root: Actor) -> None:
    made = await register_account(with_policy(context, "open"), ADA, CLIENT)
    assert made.roles == ("video.process", "audio.generate", "content.manage")
    token, _ = await create_invitation(context, root, InvitationRequest(("user.admin",)))
    invited = await register_account(
        with_policy(context, "open"), replace(ADA, username="bob", invitation_token=token), CLIENT
    )
    assert invited.roles == ("user.admin",)
    assert await reason(with_policy(context, "open"), replace(ADA, invitation_token="wrong")) == "INVITATION_INVALID"


async def test_a_closed_platform_registers_nobody(context: Context, root: Actor) -> None:
    token, _ = await create_invitation(context, root, InvitationRequest(()))
    for request in (ADA, replace(ADA, invitation_token=token)):
        assert await reason(with_policy(context, "closed"), request) == "REGISTRATION_CLOSED"
    with pytest.raises(errors.FailedPrecondition):
        await create_invitation(with_policy(context, "closed"), root, InvitationRequest(()))


async def test_a_refused_registration_does_not_use_up_the_invitation(context: Context, root: Actor) -> None:
    token, _ = await create_invitation(context, root, InvitationRequest(()))
    request = replace(ADA, invitation_token=token)
    assert await reason(context, replace(request, username="ROOT")) == "USERNAME_TAKEN"
    assert await reason(context, replace(request, username="ада")) == "REQUEST_INVALID"
    assert await reason(context, replace(request, password="password1234")) == "PASSWORD_WEAK"
    assert await reason(context, replace(request, username="adalovelace", password="AdaLovelace1")) == "PASSWORD_WEAK"
    await register_account(context, request, CLIENT)


async def test_registrations_of_one_address_are_limited(context: Context, root: Actor, clock: Clock) -> None:
    context = with_policy(context, "open")
    for number in range(10):
        await register_account(context, replace(ADA, username=f"name{number}"), UNINVITED)
    assert await reason(context, replace(ADA, username="one.more"), UNINVITED) == "SIGN_IN_LOCKED"
    await register_account(context, replace(ADA, username="another"), CLIENT)
    token, _ = await create_invitation(context, root, InvitationRequest(()))
    await register_account(context, replace(ADA, username="invited", invitation_token=token), UNINVITED)
    clock.pass_by(timedelta(hours=1))
    await register_account(context, replace(ADA, username="one.more"), UNINVITED)


async def test_one_of_many_concurrent_registrations_gets_the_username(context: Context, root: Actor) -> None:
    context = with_policy(context, "open")
    ends = await asyncio.gather(*(register_account(context, ADA, CLIENT) for _ in range(6)), return_exceptions=True)
    assert len([end for end in ends if isinstance(end, Account)]) == 1
    assert {end.reason for end in ends if isinstance(end, errors.Error)} == {"USERNAME_TAKEN"}


async def test_administrators_list_and_delete_invitations(
    context: Context, root: Actor, people: People, clock: Clock
) -> None:
    made = []
    for number in range(5):
        clock.pass_by(timedelta(seconds=1))
        made.append(await create_invitation(context, root, InvitationRequest((), f"guest {number}")))
    first = await list_invitations(context, root, PageRequest(3))
    rest = await list_invitations(context, root, PageRequest(3, first.next_token))
    assert [*first.items, *rest.items] == [invitation for _, invitation in reversed(made)]
    assert rest.next_token == ""
    await delete_invitation(context, root, made[0][1].id)
    with pytest.raises(errors.NotFound) as refused:
        await delete_invitation(context, root, made[0][1].id)
    assert refused.value.reason == "INVITATION_NOT_FOUND"
    assert await reason(context, replace(ADA, invitation_token=made[0][0])) == "INVITATION_INVALID"
    await people.add("eve", "video.process")
    eve = await people.sign_in("eve")
    for attempt in (
        create_invitation(context, eve, InvitationRequest(("user.admin",))),
        list_invitations(context, eve, PageRequest()),
        delete_invitation(context, eve, made[1][1].id),
    ):
        with pytest.raises(errors.PermissionDenied) as refusal:
            await attempt
        assert refusal.value.reason == "ROLE_MISSING"


async def test_an_invitation_is_valid_for_the_requested_time(context: Context, root: Actor, clock: Clock) -> None:
    usual, _ = await create_invitation(context, root, InvitationRequest(()))
    short, _ = await create_invitation(context, root, InvitationRequest((), valid_for=timedelta(minutes=5)))
    clock.pass_by(timedelta(minutes=5))
    assert await reason(context, replace(ADA, invitation_token=short)) == "INVITATION_INVALID"
    clock.pass_by(timedelta(days=7) - timedelta(minutes=6))
    await register_account(context, replace(ADA, invitation_token=usual), CLIENT)


async def test_an_invitation_is_valid_while_its_creator_is_an_administrator(
    context: Context, root: Actor, people: People
) -> None:
    await people.add("boss", "user.admin")
    boss = await people.sign_in("boss")
    token, _ = await create_invitation(context, root, InvitationRequest(("user.admin",)))
    request = replace(ADA, invitation_token=token)
    for leave in (
        set_roles(context, boss, root.account_id, ("video.process",)),
        disable_account(context, boss, root.account_id),
    ):
        await leave
        assert await reason(context, request) == "INVITATION_INVALID"
        account = replace(await people.add(f"guest{context.random(2).hex()}"), id="user_x", username="late")
        with pytest.raises(errors.PermissionDenied):
            await context.store.accounts.register(account, hash_token(token))
        assert (await list_invitations(context, boss, PageRequest())).items == []
    await enable_account(context, boss, root.account_id)
    await set_roles(context, boss, root.account_id, ("user.admin",))
    await register_account(context, request, CLIENT)


async def test_the_owner_replaces_a_reset_password_once(
    context: Context, root: Actor, people: People, audit: AuditRecording
) -> None:
    eve = await people.add("eve")
    await people.sign_in("eve")
    for _ in range(5):
        with pytest.raises(errors.Unauthenticated):
            await sign_in(context, Credentials("eve", "forgotten"), CLIENT)
    reset = await reset_password(context, root, eve.id, disable_totp=False)
    assert reset.expire_time - context.now() == timedelta(hours=24)
    assert await context.store.sessions.list_active(eve.id, context.now()) == []
    await context.throttle.unlock(await sign_in_counters(context, eve))
    for password in (PASSWORD, "", "None"):
        with pytest.raises(errors.Unauthenticated, match="do not belong together"):
            await sign_in(context, Credentials("eve", password), CLIENT)
    with pytest.raises(errors.InvalidArgument):
        await set_password(context, reset.token, "password1234", CLIENT)
    for _ in range(2):
        with pytest.raises(errors.Unauthenticated):
            await sign_in(context, Credentials("eve", "forgotten"), CLIENT)
    await set_password(context, reset.token, "a new long one", CLIENT)
    # The earlier failures are cleared.
    await sign_in(context, Credentials("eve", "a new long one"), CLIENT)
    for token in (reset.token, "unknown", ""):
        with pytest.raises(errors.PermissionDenied) as refused:
            await set_password(context, token, "a new long one", CLIENT)
        assert refused.value.reason == "RESET_TOKEN_INVALID"
    for secret in (reset.token, "a new long one"):
        assert secret not in str(audit.events) + repr(reset)


async def test_a_password_reset_expires_and_ends_with_a_change(
    context: Context, root: Actor, people: People, clock: Clock
) -> None:
    eve = await people.add("eve")
    reset = await reset_password(context, root, eve.id, disable_totp=False)
    clock.pass_by(timedelta(hours=24))
    with pytest.raises(errors.PermissionDenied):
        await set_password(context, reset.token, "a new long one", CLIENT)

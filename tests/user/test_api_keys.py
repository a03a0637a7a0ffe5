"""API keys: made, shown once, traded for access tokens, revoked."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from moneyprinter import errors
from services.runtime.pagination import PageRequest
from services.user.accounts.administration import (
    EndedAccess,
    end_account_sessions,
    get_account,
    list_accounts,
    set_roles,
)
from services.user.accounts.invitations import InvitationRequest, create_invitation
from services.user.accounts.profile import ProfileChanges, change_password, close_account, get_profile, update_profile
from services.user.accounts.registration import RegistrationRequest, register_account
from services.user.api_keys.exchange import exchange_api_key
from services.user.api_keys.lifecycle import ApiKeyRequest, create_api_key, list_api_keys, revoke_api_key
from services.user.api_keys.model import MAX_INACTIVE_KEYS
from services.user.authentication.reauthentication import SecondFactorCode
from services.user.context import Actor, Context, Policy
from services.user.mfa.enrollment import confirm_totp, disable_totp, enroll_totp
from services.user.sessions.lifecycle import end_session, end_sessions, list_sessions
from tests.user.conftest import CLIENT, PASSWORD, AuditRecording, Clock, People, actor, claims

WISH = ApiKeyRequest("the cutting machine", ("video.process",))


@pytest.fixture
async def ada(people: People) -> Actor:
    await people.add("ada", "video.process", "user.admin")
    return await people.sign_in("ada")


async def refused(context: Context, shown: str) -> bool:
    """Whether a key is refused."""
    try:
        await exchange_api_key(context, shown, CLIENT)
    except errors.Unauthenticated as failure:
        assert (failure.reason, failure.message) == (
            "API_KEY_INVALID",
            "the API key is unknown, expired, or revoked",
        )
        return True
    return False


async def test_a_key_is_traded_for_a_token_with_its_part_of_the_roles(
    context: Context, ada: Actor, clock: Clock
) -> None:
    shown, key = await create_api_key(context, ada, WISH)
    clock.pass_by(timedelta(days=80))
    tokens = await exchange_api_key(context, shown, CLIENT)
    found = claims(tokens.access_token)
    assert (found["sub"], found["sid"], found["roles"]) == (ada.account_id, key.id, ["video.process"])
    assert found["exp"] - found["iat"] == 900
    assert tokens.refresh_token == ""
    [kept] = await context.store.api_keys.list_by_account(ada.account_id)
    assert kept == replace(key, use_time=clock(), use_address=CLIENT.address)


async def test_only_the_hash_of_a_key_is_kept(context: Context, ada: Actor, audit: AuditRecording) -> None:
    shown, key = await create_api_key(context, ada, WISH)
    await exchange_api_key(context, shown, CLIENT)
    prefix, number, secret = shown.split("_")
    assert (prefix, f"key_{number}", len(secret)) == ("mpk", key.id, 64)
    assert key.sha256 == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(key) + str(audit.events)
    assert str(key.sha256) not in repr(key)
    assert audit.results("api_key.create") + audit.results("api_key.exchange") == ["OK", "OK"]


async def test_a_key_that_is_not_whole_is_refused_in_the_same_words(
    context: Context, ada: Actor, audit: AuditRecording
) -> None:
    shown, key = await create_api_key(context, ada, WISH)
    _, number, secret = shown.split("_")
    other = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    for wrong in (
        *("", "x", "mpk", shown[:-1], shown + "0", shown.upper(), f" {shown}", f"{shown}\n", "mpk__" + secret),
        *(f"mpk_{number}_{other}", f"mpk_{'0' * 16}_{secret}", f"mpk_{number}_", "mpk_%_" + secret),
    ):
        assert await refused(context, wrong)
    assert {event.target for event in audit.events if event.result == "API_KEY_INVALID"} == {"", key.id}
    assert not await refused(context, shown)


async def test_a_key_expires(context: Context, ada: Actor, clock: Clock) -> None:
    shown, _ = await create_api_key(context, ada, replace(WISH, valid_for=timedelta(hours=1)))
    clock.pass_by(timedelta(minutes=59))
    tokens = await exchange_api_key(context, shown, CLIENT)
    # Nothing is longer good than what it was made for.
    assert claims(tokens.access_token)["exp"] == int((clock() + timedelta(minutes=1)).timestamp())
    assert tokens.access_lifetime == timedelta(minutes=1)
    clock.pass_by(timedelta(minutes=1))
    assert await refused(context, shown)


async def test_a_key_ends_after_90_days_and_is_not_made_for_longer_than_a_year(
    context: Context, ada: Actor, clock: Clock
) -> None:
    _, usual = await create_api_key(context, ada, WISH)
    assert usual.expire_time == clock() + timedelta(days=90)
    _, longest = await create_api_key(context, ada, replace(WISH, valid_for=timedelta(days=365)))
    assert longest.expire_time == clock() + timedelta(days=365)
    with pytest.raises(errors.InvalidArgument, match="at most 365 days"):
        await create_api_key(context, ada, replace(WISH, valid_for=timedelta(days=365, seconds=1)))


async def test_a_key_is_revoked_for_good_by_its_owner_only(
    context: Context, ada: Actor, people: People, clock: Clock
) -> None:
    await people.add("eve")
    eve = await people.sign_in("eve")
    shown, key = await create_api_key(context, ada, WISH)
    machine = actor((await exchange_api_key(context, shown, CLIENT)).access_token)
    assert (await get_profile(context, machine)).id == ada.account_id
    for who, key_id in ((eve, key.id), (ada, "key_0000000000000000")):
        with pytest.raises(errors.NotFound) as refusal:
            await revoke_api_key(context, who, key_id)
        assert refusal.value.reason == "API_KEY_NOT_FOUND"
    assert await list_api_keys(context, eve) == []
    await revoke_api_key(context, ada, key.id)
    revoked_at = clock()
    clock.pass_by(timedelta(hours=1))
    await revoke_api_key(context, ada, key.id)
    assert [kept.revoke_time for kept in await list_api_keys(context, ada)] == [revoked_at]
    assert await refused(context, shown)
    # Here even the access token is refused at once.
    with pytest.raises(errors.Unauthenticated):
        await get_profile(context, machine)


async def test_a_key_can_do_no_more_than_its_owner(context: Context, ada: Actor, people: People) -> None:
    with pytest.raises(errors.PermissionDenied) as refusal:
        await create_api_key(context, ada, ApiKeyRequest("too much", ("video.process", "audio.generate")))
    assert refusal.value.reason == "ROLE_MISSING"
    shown, _ = await create_api_key(context, ada, ApiKeyRequest("all", ("video.process", "user.admin")))
    machine = actor((await exchange_api_key(context, shown, CLIENT)).access_token)
    await get_account(context, machine, ada.account_id)
    await people.add("root", "user.admin")
    root = await people.sign_in("root")
    await set_roles(context, root, ada.account_id, ("user.admin", "content.manage"))
    assert claims((await exchange_api_key(context, shown, CLIENT)).access_token)["roles"] == ["user.admin"]
    await set_roles(context, root, ada.account_id, ())
    # Its token is not yet old, and says otherwise.
    with pytest.raises(errors.PermissionDenied) as refusal:
        await get_account(context, machine, ada.account_id)
    assert refusal.value.reason == "ROLE_MISSING"


async def test_a_key_without_a_role_of_its_owner_does_not_have_it(context: Context, ada: Actor) -> None:
    shown, _ = await create_api_key(context, ada, WISH)
    machine = actor((await exchange_api_key(context, shown, CLIENT)).access_token)
    with pytest.raises(errors.PermissionDenied):
        await list_accounts(context, machine, PageRequest())


async def test_the_keys_of_a_disabled_account_stop(context: Context, ada: Actor, people: People, clock: Clock) -> None:
    await people.add("root", "user.admin")
    shown, _ = await create_api_key(context, ada, WISH)
    machine = actor((await exchange_api_key(context, shown, CLIENT)).access_token)
    await context.store.accounts.disable(ada.account_id, clock())
    assert await refused(context, shown)
    with pytest.raises(errors.Unauthenticated):
        await get_profile(context, machine)
    await context.store.accounts.enable(ada.account_id)
    assert not await refused(context, shown)


async def test_a_machine_cannot_change_the_account_or_make_keys(context: Context, ada: Actor) -> None:
    shown, key = await create_api_key(context, ada, ApiKeyRequest("all", ("video.process", "user.admin")))
    machine = actor((await exchange_api_key(context, shown, CLIENT)).access_token)
    for attempt in (
        create_api_key(context, machine, WISH),
        revoke_api_key(context, machine, key.id),
        update_profile(context, machine, ProfileChanges(email="x@example.com")),
        change_password(context, machine, PASSWORD, "another long one"),
        close_account(context, machine, PASSWORD),
        list_sessions(context, machine),
        end_session(context, machine, ada.session_id),
        end_sessions(context, machine, keep_current=False),
        enroll_totp(context, machine, PASSWORD),
        confirm_totp(context, machine, "123456"),
        disable_totp(context, machine, PASSWORD, SecondFactorCode()),
    ):
        with pytest.raises(errors.PermissionDenied) as refusal:
            await attempt
        assert refusal.value.reason == "SESSION_REQUIRED"
    assert [kept.id for kept in await list_api_keys(context, machine)] == [key.id]


async def test_a_token_names_the_account_of_its_key(context: Context, ada: Actor, people: People) -> None:
    await people.add("eve")
    eve = await people.sign_in("eve")
    _, key = await create_api_key(context, ada, WISH)
    for mixed in (
        replace(eve, session_id=key.id),
        replace(eve, session_id=ada.session_id),
        replace(eve, session_id=""),
    ):
        with pytest.raises(errors.Unauthenticated):
            await get_profile(context, mixed)


async def test_nobody_has_more_keys_than_allowed(context: Context, ada: Actor) -> None:
    context = replace(context, policy=Policy(max_api_keys=3))
    made = [(await create_api_key(context, ada, WISH))[1] for _ in range(3)]
    with pytest.raises(errors.ResourceExhausted) as refusal:
        await create_api_key(context, ada, WISH)
    assert refusal.value.reason == "API_KEYS_EXHAUSTED"
    await revoke_api_key(context, ada, made[0].id)
    await create_api_key(context, ada, WISH)


async def test_of_many_keys_at_once_only_as_many_are_made_as_are_allowed(context: Context, ada: Actor) -> None:
    _, key = await create_api_key(context, ada, WISH)
    keys = [replace(key, id=f"key_{number:016x}") for number in range(24)]
    added = await asyncio.gather(*(context.store.api_keys.add(key, 3) for key in keys))
    assert sorted(added) == [False] * 22 + [True] * 2


async def test_of_dead_keys_only_so_many_are_remembered(context: Context, ada: Actor, clock: Clock) -> None:
    first, _ = await create_api_key(context, ada, WISH)
    for number in range(MAX_INACTIVE_KEYS + 3):
        clock.pass_by(timedelta(seconds=1))
        key = replace(
            (await context.store.api_keys.list_by_account(ada.account_id))[-1],
            id=f"key_{number:016x}",
            create_time=clock(),
        )
        await context.store.api_keys.add(key, 9)
        await context.store.api_keys.revoke(ada.account_id, key.id, clock())
    clock.pass_by(timedelta(seconds=1))
    await create_api_key(context, ada, WISH)
    listed = await list_api_keys(context, ada)
    assert len(listed) == MAX_INACTIVE_KEYS + 2
    assert not await refused(context, first)


async def test_an_administrator_ends_everything_of_an_account(context: Context, ada: Actor, people: People) -> None:
    await people.add("root", "user.admin")
    root = await people.sign_in("root")
    shown, _ = await create_api_key(context, ada, WISH)
    assert await end_account_sessions(context, root, ada.account_id, False) == EndedAccess(1, 0)
    assert not await refused(context, shown)
    assert await end_account_sessions(context, root, ada.account_id, True) == EndedAccess(0, 1)
    assert await end_account_sessions(context, root, ada.account_id, True) == EndedAccess(0, 0)
    assert await refused(context, shown)


async def test_a_machine_of_an_administrator_invites(context: Context, ada: Actor) -> None:
    shown, _ = await create_api_key(context, ada, ApiKeyRequest("inviter", ("user.admin",)))
    machine = actor((await exchange_api_key(context, shown, CLIENT)).access_token)
    token, invitation = await create_invitation(context, machine, InvitationRequest(("content.manage",)))
    made = await register_account(context, RegistrationRequest("guest", "some long words", token), CLIENT)
    assert (made.roles, invitation.creator_id) == (("content.manage",), ada.account_id)

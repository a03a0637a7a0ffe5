"""API keys: created, exchanged for access tokens, revoked."""

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

REQUEST = ApiKeyRequest("the cutting machine", ("video.process",))


@pytest.fixture
async def ada(people: People) -> Actor:
    await people.add("ada", "video.process", "user.admin")
    return await people.sign_in("ada")


async def refused(context: Context, api_key: str) -> bool:
    """Return whether a key is refused."""
    try:
        await exchange_api_key(context, api_key, CLIENT)
    except errors.Unauthenticated as failure:
        assert (failure.reason, failure.message) == (
            "API_KEY_INVALID",
            "the API key is unknown, expired, or revoked",
        )
        return True
    return False


async def test_a_key_is_exchanged_for_a_token_with_the_roles_of_the_key(
    context: Context, ada: Actor, clock: Clock
) -> None:
    api_key, key = await create_api_key(context, ada, REQUEST)
    clock.pass_by(timedelta(days=80))
    tokens = await exchange_api_key(context, api_key, CLIENT)
    found = claims(tokens.access_token)
    assert (found["sub"], found["sid"], found["roles"]) == (ada.account_id, key.id, ["video.process"])
    assert found["exp"] - found["iat"] == 900
    assert tokens.refresh_token == ""
    [stored] = await context.store.api_keys.list_by_account(ada.account_id)
    assert stored == replace(key, use_time=clock(), use_address=CLIENT.address)


async def test_only_the_hash_of_a_key_is_stored(context: Context, ada: Actor, audit: AuditRecording) -> None:
    api_key, key = await create_api_key(context, ada, REQUEST)
    await exchange_api_key(context, api_key, CLIENT)
    prefix, number, secret = api_key.split("_")
    assert (prefix, f"key_{number}", len(secret)) == ("mpk", key.id, 64)
    assert key.sha256 == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(key) + str(audit.events)
    assert str(key.sha256) not in repr(key)
    assert audit.results("api_key.create") + audit.results("api_key.exchange") == ["OK", "OK"]


async def test_every_invalid_key_is_refused_with_the_same_message(
    context: Context, ada: Actor, audit: AuditRecording
) -> None:
    api_key, key = await create_api_key(context, ada, REQUEST)
    _, number, secret = api_key.split("_")
    other = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    for wrong in (
        *(
            "",
            "x",
            "mpk",
            api_key[:-1],
            api_key + "0",
            api_key.upper(),
            f" {api_key}",
            f"{api_key}\n",
            "mpk__" + secret,
        ),
        *(f"mpk_{number}_{other}", f"mpk_{'0' * 16}_{secret}", f"mpk_{number}_", "mpk_%_" + secret),
    ):
        assert await refused(context, wrong)
    assert {event.target for event in audit.events if event.result == "API_KEY_INVALID"} == {"", key.id}
    assert not await refused(context, api_key)


async def test_a_key_expires(context: Context, ada: Actor, clock: Clock) -> None:
    api_key, _ = await create_api_key(context, ada, replace(REQUEST, valid_for=timedelta(hours=1)))
    clock.pass_by(timedelta(minutes=59))
    tokens = await exchange_api_key(context, api_key, CLIENT)
    # A token expires with the credential that it was issued for.
    assert claims(tokens.access_token)["exp"] == int((clock() + timedelta(minutes=1)).timestamp())
    assert tokens.access_lifetime == timedelta(minutes=1)
    clock.pass_by(timedelta(minutes=1))
    assert await refused(context, api_key)


async def test_a_key_is_valid_for_90_days_by_default_and_a_year_at_most(
    context: Context, ada: Actor, clock: Clock
) -> None:
    _, usual = await create_api_key(context, ada, REQUEST)
    assert usual.expire_time == clock() + timedelta(days=90)
    _, longest = await create_api_key(context, ada, replace(REQUEST, valid_for=timedelta(days=365)))
    assert longest.expire_time == clock() + timedelta(days=365)
    with pytest.raises(errors.InvalidArgument, match="at most 365 days"):
        await create_api_key(context, ada, replace(REQUEST, valid_for=timedelta(days=365, seconds=1)))


async def test_only_the_owner_revokes_a_key_for_good(
    context: Context, ada: Actor, people: People, clock: Clock
) -> None:
    await people.add("eve")
    eve = await people.sign_in("eve")
    api_key, key = await create_api_key(context, ada, REQUEST)
    machine = actor((await exchange_api_key(context, api_key, CLIENT)).access_token)
    assert (await get_profile(context, machine)).id == ada.account_id
    for other, key_id in ((eve, key.id), (ada, "key_0000000000000000")):
        with pytest.raises(errors.NotFound) as refusal:
            await revoke_api_key(context, other, key_id)
        assert refusal.value.reason == "API_KEY_NOT_FOUND"
    assert await list_api_keys(context, eve) == []
    await revoke_api_key(context, ada, key.id)
    revoked_at = clock()
    clock.pass_by(timedelta(hours=1))
    await revoke_api_key(context, ada, key.id)
    assert [key.revoke_time for key in await list_api_keys(context, ada)] == [revoked_at]
    assert await refused(context, api_key)
    # This service also refuses the access token at once.
    with pytest.raises(errors.Unauthenticated):
        await get_profile(context, machine)


async def test_a_key_can_do_no_more_than_its_owner(context: Context, ada: Actor, people: People) -> None:
    with pytest.raises(errors.PermissionDenied) as refusal:
        await create_api_key(context, ada, ApiKeyRequest("too much", ("video.process", "audio.generate")))
    assert refusal.value.reason == "ROLE_MISSING"
    api_key, _ = await create_api_key(context, ada, ApiKeyRequest("all", ("video.process", "user.admin")))
    machine = actor((await exchange_api_key(context, api_key, CLIENT)).access_token)
    await get_account(context, machine, ada.account_id)
    await people.add("root", "user.admin")
    root = await people.sign_in("root")
    await set_roles(context, root, ada.account_id, ("user.admin", "content.manage"))
    assert claims((await exchange_api_key(context, api_key, CLIENT)).access_token)["roles"] == ["user.admin"]
    await set_roles(context, root, ada.account_id, ())
    # The token has not expired, and still names the role.
    with pytest.raises(errors.PermissionDenied) as refusal:
        await get_account(context, machine, ada.account_id)
    assert refusal.value.reason == "ROLE_MISSING"


async def test_a_key_lacks_the_roles_that_it_was_not_given(context: Context, ada: Actor) -> None:
    api_key, _ = await create_api_key(context, ada, REQUEST)
    machine = actor((await exchange_api_key(context, api_key, CLIENT)).access_token)
    with pytest.raises(errors.PermissionDenied):
        await list_accounts(context, machine, PageRequest())


async def test_the_keys_of_a_disabled_account_are_refused(
    context: Context, ada: Actor, people: People, clock: Clock
) -> None:
    await people.add("root", "user.admin")
    api_key, _ = await create_api_key(context, ada, REQUEST)
    machine = actor((await exchange_api_key(context, api_key, CLIENT)).access_token)
    await context.store.accounts.disable(ada.account_id, clock())
    assert await refused(context, api_key)
    with pytest.raises(errors.Unauthenticated):
        await get_profile(context, machine)
    await context.store.accounts.enable(ada.account_id)
    assert not await refused(context, api_key)


async def test_a_machine_cannot_change_the_account_or_make_keys(context: Context, ada: Actor) -> None:
    api_key, key = await create_api_key(context, ada, ApiKeyRequest("all", ("video.process", "user.admin")))
    machine = actor((await exchange_api_key(context, api_key, CLIENT)).access_token)
    for attempt in (
        create_api_key(context, machine, REQUEST),
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
    assert [found.id for found in await list_api_keys(context, machine)] == [key.id]


async def test_a_token_names_the_account_of_its_key(context: Context, ada: Actor, people: People) -> None:
    await people.add("eve")
    eve = await people.sign_in("eve")
    _, key = await create_api_key(context, ada, REQUEST)
    for mixed in (
        replace(eve, session_id=key.id),
        replace(eve, session_id=ada.session_id),
        replace(eve, session_id=""),
    ):
        with pytest.raises(errors.Unauthenticated):
            await get_profile(context, mixed)


async def test_an_account_has_a_limited_number_of_active_keys(context: Context, ada: Actor) -> None:
    context = replace(context, policy=Policy(max_api_keys=3))
    made = [(await create_api_key(context, ada, REQUEST))[1] for _ in range(3)]
    with pytest.raises(errors.ResourceExhausted) as refusal:
        await create_api_key(context, ada, REQUEST)
    assert refusal.value.reason == "API_KEYS_EXHAUSTED"
    await revoke_api_key(context, ada, made[0].id)
    await create_api_key(context, ada, REQUEST)


async def test_concurrent_creations_respect_the_limit_of_keys(context: Context, ada: Actor) -> None:
    _, key = await create_api_key(context, ada, REQUEST)
    keys = [replace(key, id=f"key_{number:016x}") for number in range(24)]
    added = await asyncio.gather(*(context.store.api_keys.add(key, 3) for key in keys))
    assert sorted(added) == [False] * 22 + [True] * 2


async def test_a_limited_number_of_inactive_keys_is_kept(context: Context, ada: Actor, clock: Clock) -> None:
    first, _ = await create_api_key(context, ada, REQUEST)
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
    await create_api_key(context, ada, REQUEST)
    listed = await list_api_keys(context, ada)
    assert len(listed) == MAX_INACTIVE_KEYS + 2
    assert not await refused(context, first)


async def test_an_administrator_ends_the_sessions_and_keys_of_an_account(
    context: Context, ada: Actor, people: People
) -> None:
    await people.add("root", "user.admin")
    root = await people.sign_in("root")
    api_key, _ = await create_api_key(context, ada, REQUEST)
    assert await end_account_sessions(context, root, ada.account_id, False) == EndedAccess(1, 0)
    assert not await refused(context, api_key)
    assert await end_account_sessions(context, root, ada.account_id, True) == EndedAccess(0, 1)
    assert await end_account_sessions(context, root, ada.account_id, True) == EndedAccess(0, 0)
    assert await refused(context, api_key)


async def test_an_api_key_of_an_administrator_creates_invitations(context: Context, ada: Actor) -> None:
    api_key, _ = await create_api_key(context, ada, ApiKeyRequest("inviter", ("user.admin",)))
    machine = actor((await exchange_api_key(context, api_key, CLIENT)).access_token)
    token, invitation = await create_invitation(context, machine, InvitationRequest(("content.manage",)))
    made = await register_account(context, RegistrationRequest("guest", "some long words", token), CLIENT)
    assert (made.roles, invitation.creator_id) == (("content.manage",), ada.account_id)

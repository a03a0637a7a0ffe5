"""API keys: made, shown once, traded for access tokens, revoked."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from moneyprinter import errors
from services.user import administration, api_keys, mfa, profile, registration, sessions
from services.user.api_keys import Wish
from services.user.desk import Actor, Desk, Policy
from services.user.pages import Wanted
from services.user.proof import Code
from services.user.store import DEAD_KEYS_AT_MOST
from tests.user.conftest import CLIENT, PASSWORD, Clock, KeptAudit, People, actor, claims

WISH = Wish("the cutting machine", ("video.process",))


@pytest.fixture
async def ada(people: People) -> Actor:
    await people.add("ada", "video.process", "user.admin")
    return await people.sign_in("ada")


async def refused(desk: Desk, shown: str) -> bool:
    """Whether a key is refused."""
    try:
        await api_keys.exchange(desk, shown, CLIENT)
    except errors.Unauthenticated as failure:
        assert (failure.reason, failure.message) == (
            "API_KEY_INVALID",
            "the API key is unknown, expired, or revoked",
        )
        return True
    return False


async def test_a_key_is_traded_for_a_token_with_its_part_of_the_roles(desk: Desk, ada: Actor, clock: Clock) -> None:
    shown, key = await api_keys.create(desk, ada, WISH)
    clock.pass_by(timedelta(days=80))
    tokens = await api_keys.exchange(desk, shown, CLIENT)
    found = claims(tokens.access_token)
    assert (found["sub"], found["sid"], found["roles"]) == (ada.account_id, key.id, ["video.process"])
    assert found["exp"] - found["iat"] == 900
    assert tokens.refresh_token == ""
    [kept] = await desk.store.keys.listed(ada.account_id)
    assert kept == replace(key, use_time=clock(), use_address=CLIENT.address)


async def test_only_the_hash_of_a_key_is_kept(desk: Desk, ada: Actor, audit: KeptAudit) -> None:
    shown, key = await api_keys.create(desk, ada, WISH)
    await api_keys.exchange(desk, shown, CLIENT)
    prefix, number, secret = shown.split("_")
    assert (prefix, f"key_{number}", len(secret)) == ("mpk", key.id, 64)
    assert key.sha256 == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(key) + str(audit.events)
    assert str(key.sha256) not in repr(key)
    assert audit.told("api_key.create") + audit.told("api_key.exchange") == ["OK", "OK"]


async def test_a_key_that_is_not_whole_is_refused_in_the_same_words(desk: Desk, ada: Actor, audit: KeptAudit) -> None:
    shown, key = await api_keys.create(desk, ada, WISH)
    _, number, secret = shown.split("_")
    other = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    for wrong in (
        *("", "x", "mpk", shown[:-1], shown + "0", shown.upper(), f" {shown}", f"{shown}\n", "mpk__" + secret),
        *(f"mpk_{number}_{other}", f"mpk_{'0' * 16}_{secret}", f"mpk_{number}_", "mpk_%_" + secret),
    ):
        assert await refused(desk, wrong)
    assert {event.target for event in audit.events if event.result == "API_KEY_INVALID"} == {"", key.id}
    assert not await refused(desk, shown)


async def test_a_key_expires(desk: Desk, ada: Actor, clock: Clock) -> None:
    shown, _ = await api_keys.create(desk, ada, replace(WISH, valid_for=timedelta(hours=1)))
    clock.pass_by(timedelta(minutes=59))
    tokens = await api_keys.exchange(desk, shown, CLIENT)
    # Nothing is longer good than what it was made for.
    assert claims(tokens.access_token)["exp"] == int((clock() + timedelta(minutes=1)).timestamp())
    assert tokens.access_life == timedelta(minutes=1)
    clock.pass_by(timedelta(minutes=1))
    assert await refused(desk, shown)


async def test_a_key_ends_after_90_days_and_is_not_made_for_longer_than_a_year(
    desk: Desk, ada: Actor, clock: Clock
) -> None:
    _, usual = await api_keys.create(desk, ada, WISH)
    assert usual.expire_time == clock() + timedelta(days=90)
    _, longest = await api_keys.create(desk, ada, replace(WISH, valid_for=timedelta(days=365)))
    assert longest.expire_time == clock() + timedelta(days=365)
    with pytest.raises(errors.InvalidArgument, match="at most 365 days"):
        await api_keys.create(desk, ada, replace(WISH, valid_for=timedelta(days=365, seconds=1)))


async def test_a_key_is_revoked_for_good_by_its_owner_only(
    desk: Desk, ada: Actor, people: People, clock: Clock
) -> None:
    await people.add("eve")
    eve = await people.sign_in("eve")
    shown, key = await api_keys.create(desk, ada, WISH)
    machine = actor((await api_keys.exchange(desk, shown, CLIENT)).access_token)
    assert (await profile.get(desk, machine)).id == ada.account_id
    for who, key_id in ((eve, key.id), (ada, "key_0000000000000000")):
        with pytest.raises(errors.NotFound) as refusal:
            await api_keys.revoke(desk, who, key_id)
        assert refusal.value.reason == "API_KEY_NOT_FOUND"
    assert await api_keys.listed(desk, eve) == []
    await api_keys.revoke(desk, ada, key.id)
    revoked_at = clock()
    clock.pass_by(timedelta(hours=1))
    await api_keys.revoke(desk, ada, key.id)
    assert [kept.revoke_time for kept in await api_keys.listed(desk, ada)] == [revoked_at]
    assert await refused(desk, shown)
    # Here even the access token is refused at once.
    with pytest.raises(errors.Unauthenticated):
        await profile.get(desk, machine)


async def test_a_key_can_do_no_more_than_its_owner(desk: Desk, ada: Actor, people: People) -> None:
    with pytest.raises(errors.PermissionDenied) as refusal:
        await api_keys.create(desk, ada, Wish("too much", ("video.process", "audio.generate")))
    assert refusal.value.reason == "ROLE_MISSING"
    shown, _ = await api_keys.create(desk, ada, Wish("all", ("video.process", "user.admin")))
    machine = actor((await api_keys.exchange(desk, shown, CLIENT)).access_token)
    await administration.get(desk, machine, ada.account_id)
    await people.add("root", "user.admin")
    root = await people.sign_in("root")
    await administration.set_roles(desk, root, ada.account_id, ("user.admin", "content.manage"))
    assert claims((await api_keys.exchange(desk, shown, CLIENT)).access_token)["roles"] == ["user.admin"]
    await administration.set_roles(desk, root, ada.account_id, ())
    # Its token is not yet old, and says otherwise.
    with pytest.raises(errors.PermissionDenied) as refusal:
        await administration.get(desk, machine, ada.account_id)
    assert refusal.value.reason == "ROLE_MISSING"


async def test_a_key_without_a_role_of_its_owner_does_not_have_it(desk: Desk, ada: Actor) -> None:
    shown, _ = await api_keys.create(desk, ada, WISH)
    machine = actor((await api_keys.exchange(desk, shown, CLIENT)).access_token)
    with pytest.raises(errors.PermissionDenied):
        await administration.accounts(desk, machine, Wanted())


async def test_the_keys_of_a_disabled_account_stop(desk: Desk, ada: Actor, people: People, clock: Clock) -> None:
    await people.add("root", "user.admin")
    shown, _ = await api_keys.create(desk, ada, WISH)
    machine = actor((await api_keys.exchange(desk, shown, CLIENT)).access_token)
    await desk.store.accounts.disable(ada.account_id, clock())
    assert await refused(desk, shown)
    with pytest.raises(errors.Unauthenticated):
        await profile.get(desk, machine)
    await desk.store.accounts.enable(ada.account_id)
    assert not await refused(desk, shown)


async def test_a_machine_cannot_change_the_account_or_make_keys(desk: Desk, ada: Actor) -> None:
    shown, key = await api_keys.create(desk, ada, Wish("all", ("video.process", "user.admin")))
    machine = actor((await api_keys.exchange(desk, shown, CLIENT)).access_token)
    for attempt in (
        api_keys.create(desk, machine, WISH),
        api_keys.revoke(desk, machine, key.id),
        profile.update(desk, machine, profile.Changes(email="x@example.com")),
        profile.change_password(desk, machine, PASSWORD, "another long one"),
        profile.close(desk, machine, PASSWORD),
        sessions.listed(desk, machine),
        sessions.end(desk, machine, ada.session_id),
        sessions.end_all(desk, machine, keep_current=False),
        mfa.enrol(desk, machine, PASSWORD),
        mfa.confirm(desk, machine, "123456"),
        mfa.disable(desk, machine, PASSWORD, Code()),
    ):
        with pytest.raises(errors.PermissionDenied) as refusal:
            await attempt
        assert refusal.value.reason == "SESSION_REQUIRED"
    assert [kept.id for kept in await api_keys.listed(desk, machine)] == [key.id]


async def test_a_token_names_the_account_of_its_key(desk: Desk, ada: Actor, people: People) -> None:
    await people.add("eve")
    eve = await people.sign_in("eve")
    _, key = await api_keys.create(desk, ada, WISH)
    for mixed in (
        replace(eve, session_id=key.id),
        replace(eve, session_id=ada.session_id),
        replace(eve, session_id=""),
    ):
        with pytest.raises(errors.Unauthenticated):
            await profile.get(desk, mixed)


async def test_nobody_has_more_keys_than_allowed(desk: Desk, ada: Actor) -> None:
    desk = replace(desk, policy=Policy(keys_at_most=3))
    made = [(await api_keys.create(desk, ada, WISH))[1] for _ in range(3)]
    with pytest.raises(errors.ResourceExhausted) as refusal:
        await api_keys.create(desk, ada, WISH)
    assert refusal.value.reason == "API_KEYS_EXHAUSTED"
    await api_keys.revoke(desk, ada, made[0].id)
    await api_keys.create(desk, ada, WISH)


async def test_of_many_keys_at_once_only_as_many_are_made_as_are_allowed(desk: Desk, ada: Actor) -> None:
    _, key = await api_keys.create(desk, ada, WISH)
    keys = [replace(key, id=f"key_{number:016x}") for number in range(24)]
    added = await asyncio.gather(*(desk.store.keys.add(key, 3) for key in keys))
    assert sorted(added) == [False] * 22 + [True] * 2


async def test_of_dead_keys_only_so_many_are_remembered(desk: Desk, ada: Actor, clock: Clock) -> None:
    first, _ = await api_keys.create(desk, ada, WISH)
    for number in range(DEAD_KEYS_AT_MOST + 3):
        clock.pass_by(timedelta(seconds=1))
        key = replace((await desk.store.keys.listed(ada.account_id))[-1], id=f"key_{number:016x}", create_time=clock())
        await desk.store.keys.add(key, 9)
        await desk.store.keys.revoke(ada.account_id, key.id, clock())
    clock.pass_by(timedelta(seconds=1))
    await api_keys.create(desk, ada, WISH)
    listed = await api_keys.listed(desk, ada)
    assert len(listed) == DEAD_KEYS_AT_MOST + 2
    assert not await refused(desk, first)


async def test_an_administrator_ends_everything_of_an_account(desk: Desk, ada: Actor, people: People) -> None:
    await people.add("root", "user.admin")
    root = await people.sign_in("root")
    shown, _ = await api_keys.create(desk, ada, WISH)
    assert await administration.end_sessions(desk, root, ada.account_id, False) == administration.Ended(1, 0)
    assert not await refused(desk, shown)
    assert await administration.end_sessions(desk, root, ada.account_id, True) == administration.Ended(0, 1)
    assert await administration.end_sessions(desk, root, ada.account_id, True) == administration.Ended(0, 0)
    assert await refused(desk, shown)


async def test_a_machine_of_an_administrator_invites(desk: Desk, ada: Actor) -> None:
    shown, _ = await api_keys.create(desk, ada, Wish("inviter", ("user.admin",)))
    machine = actor((await api_keys.exchange(desk, shown, CLIENT)).access_token)
    token, invitation = await registration.invite(desk, machine, registration.Guest(("content.manage",)))
    made = await registration.register(desk, registration.Wish("guest", "some long words", token), CLIENT)
    assert (made.roles, invitation.creator_id) == (("content.manage",), ada.account_id)

"""Sign-in, refresh, and the list of sessions."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import timedelta

import jwt
import pytest
from argon2 import PasswordHasher

from moneyprinter import errors
from services.runtime.admission import FairSemaphore
from services.user.accounts.administration import get_account, unlock_account
from services.user.accounts.profile import get_profile
from services.user.authentication.passwords import Argon2Hasher
from services.user.client import Client
from services.user.context import Actor, Context
from services.user.sessions.lifecycle import end_session, end_sessions, list_sessions, refresh_tokens, sign_out
from services.user.sessions.model import MAX_SESSIONS, IssuedTokens, RefreshToken, Session
from services.user.sessions.sign_in import Credentials, sign_in
from services.user.tokens.access_tokens import JwtTokens
from services.user.tokens.opaque_tokens import encode_token, hash_token
from tests.user.conftest import CLIENT, PASSWORD, AuditRecording, Clock, People, actor, claims

OTHER = Client("198.51.100.9", "another browser")
ADA = Credentials("ada", PASSWORD)


@pytest.fixture(autouse=True)
async def ada(people: People) -> str:
    """The id of the account `ada`."""
    return (await people.add("ada", "video.process")).id


async def test_the_access_token_names_account_session_and_roles(context: Context, clock: Clock, ada: str) -> None:
    tokens = await sign_in(context, ADA, CLIENT)
    assert isinstance(context.tokens, JwtTokens)
    [public] = context.tokens.public_keys(clock())
    options: dict[str, bool] = {"verify_exp": False, "verify_iat": False}
    found = jwt.decode(
        tokens.access_token,
        jwt.PyJWK(public),
        algorithms=["ES256"],
        audience="aud",
        issuer="iss",
        options=options,  # type: ignore[arg-type]
    )
    now = int(clock().timestamp())
    assert found.pop("jti")
    assert found.pop("sid").startswith("ses_")
    assert found == {
        "iss": "iss",
        "aud": "aud",
        "sub": ada,
        "iat": now,
        "exp": now + 900,
        "roles": ["video.process"],
    }
    assert tokens.access_lifetime == timedelta(minutes=15)
    assert tokens.access_token not in repr(tokens)
    assert tokens.refresh_token not in repr(tokens)
    assert PASSWORD not in repr(ADA)


@pytest.mark.parametrize("username", ["ada", "Ada", "ADA", "ＡＤＡ"])
async def test_usernames_are_case_insensitive(context: Context, username: str, ada: str) -> None:
    tokens = await sign_in(context, Credentials(username, PASSWORD), CLIENT)
    assert claims(tokens.access_token)["sub"] == ada


@pytest.mark.parametrize(
    ("username", "password"),
    [("ada", "wrong"), ("ada", ""), ("eve", PASSWORD), ("a\0", "x"), ("ada", "x\0"), ("ada ", PASSWORD)],
)
async def test_a_wrong_username_and_a_wrong_password_get_the_same_response(
    context: Context, audit: AuditRecording, username: str, password: str
) -> None:
    with pytest.raises(errors.Unauthenticated, match=r"^name and password do not belong together$") as refused:
        await sign_in(context, Credentials(username, password), CLIENT)
    assert refused.value.reason == "CREDENTIALS_WRONG"
    assert audit.results("sign_in") == ["CREDENTIALS_WRONG"]


async def test_an_unknown_username_takes_as_long_as_a_wrong_password(context: Context) -> None:
    class Counting(Argon2Hasher):
        checks = 0

        async def verify(self, password_hash: str | None, password: str) -> bool:
            Counting.checks += 1
            return await super().verify(password_hash, password)

    hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    context = replace(context, passwords=Counting(FairSemaphore(2, str).acquire, hasher))
    for number, name in enumerate(("ada", "nobody"), 1):
        with pytest.raises(errors.Unauthenticated):
            await sign_in(context, Credentials(name, "wrong"), CLIENT)
        assert Counting.checks == number


@pytest.mark.parametrize("username", ["ada", "nobody"])
async def test_after_five_failures_a_username_is_locked_whatever_the_password(
    context: Context, clock: Clock, people: People, username: str
) -> None:
    for _ in range(5):
        with pytest.raises(errors.Unauthenticated):
            await sign_in(context, Credentials(username, "wrong"), CLIENT)
    messages = set()
    for password in (PASSWORD, "wrong"):
        with pytest.raises(errors.ResourceExhausted) as refused:
            await sign_in(context, Credentials(username, password), OTHER)
        assert (refused.value.reason, refused.value.retry_after_seconds) == ("SIGN_IN_LOCKED", 900.0)
        messages.add(refused.value.message)
    assert len(messages) == 1
    clock.pass_by(timedelta(minutes=15))
    with pytest.raises(errors.Unauthenticated):
        await sign_in(context, Credentials(username, "wrong"), CLIENT)


async def test_a_successful_sign_in_clears_earlier_failures(context: Context) -> None:
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(errors.Unauthenticated):
                await sign_in(context, Credentials("ada", "wrong"), CLIENT)
        await sign_in(context, ADA, CLIENT)


async def test_many_concurrent_sign_ins_of_one_account_succeed(context: Context) -> None:
    found = await asyncio.gather(*(sign_in(context, ADA, CLIENT) for _ in range(20)))
    assert len({claims(tokens.access_token)["sid"] for tokens in found}) == 20


async def test_only_the_correct_password_discloses_that_an_account_is_disabled(
    context: Context, people: People, clock: Clock, ada: str
) -> None:
    tokens = await sign_in(context, ADA, CLIENT)
    await people.add("root", "user.admin")
    await context.store.accounts.disable(ada, clock())
    with pytest.raises(errors.PermissionDenied) as refused:
        await sign_in(context, ADA, CLIENT)
    assert refused.value.reason == "ACCOUNT_DISABLED"
    with pytest.raises(errors.Unauthenticated, match="do not belong together"):
        await sign_in(context, Credentials("ada", "wrong"), CLIENT)
    with pytest.raises(errors.Unauthenticated):
        await refresh_tokens(context, tokens.refresh_token, CLIENT)
    with pytest.raises(errors.Unauthenticated):
        await get_profile(context, actor(tokens.access_token))
    await context.store.accounts.enable(ada)
    with pytest.raises(errors.Unauthenticated):
        await refresh_tokens(context, tokens.refresh_token, CLIENT)
    await sign_in(context, ADA, CLIENT)


async def test_a_sign_in_updates_a_hash_with_former_parameters(context: Context, ada: str) -> None:
    stronger = Argon2Hasher(FairSemaphore(2, str).acquire, PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    before = await context.store.accounts.find(ada)
    await sign_in(replace(context, passwords=stronger), ADA, CLIENT)
    after = await context.store.accounts.find(ada)
    assert before is not None
    assert after is not None
    assert before.password_hash != after.password_hash
    assert after.password_hash is not None
    assert not stronger.needs_rehash(after.password_hash)
    await sign_in(replace(context, passwords=stronger), ADA, CLIENT)
    assert await context.store.accounts.find(ada) == after


async def test_no_session_is_created_with_a_password_that_was_changed_meanwhile(
    context: Context, clock: Clock, ada: str
) -> None:
    before = await context.store.accounts.find(ada)
    assert before is not None
    assert before.password_hash is not None
    await context.store.accounts.replace_password(ada, before.password_hash, "new", "")
    session = Session("ses_1", ada, clock(), clock(), CLIENT)
    token = RefreshToken(bytes(32), clock() + timedelta(days=1))
    assert not await context.store.sessions.add(session, token, before.password_hash)
    assert await context.store.sessions.list_active(ada, clock()) == []


async def test_a_session_continues_with_refresh_tokens(context: Context, clock: Clock, ada: str) -> None:
    tokens = await sign_in(context, ADA, CLIENT)
    session = claims(tokens.access_token)["sid"]
    for _ in range(3):
        clock.pass_by(timedelta(days=29))
        tokens = await refresh_tokens(context, tokens.refresh_token, CLIENT)
        assert (claims(tokens.access_token)["sub"], claims(tokens.access_token)["sid"]) == (ada, session)
    clock.pass_by(timedelta(days=30))
    with pytest.raises(errors.Unauthenticated):
        await refresh_tokens(context, tokens.refresh_token, CLIENT)


async def refused(context: Context, token: str, client: Client = CLIENT) -> bool:
    """Return whether a refresh token is refused."""
    try:
        await refresh_tokens(context, token, client)
    except errors.Unauthenticated as failure:
        assert failure.reason == "REFRESH_TOKEN_INVALID"
        return True
    return False


async def test_concurrent_refreshes_get_the_same_token(context: Context) -> None:
    first = await sign_in(context, ADA, CLIENT)
    found = await asyncio.gather(*(refresh_tokens(context, first.refresh_token, CLIENT) for _ in range(8)))
    assert len({tokens.refresh_token for tokens in found}) == 1
    assert len({tokens.access_token for tokens in found}) == 8
    second = await refresh_tokens(context, found[0].refresh_token, CLIENT)
    assert not await refused(context, second.refresh_token)


async def test_a_replayed_token_ends_its_session_and_no_other(
    context: Context, clock: Clock, audit: AuditRecording
) -> None:
    first = await sign_in(context, ADA, CLIENT)
    other = await sign_in(context, ADA, CLIENT)
    second = await refresh_tokens(context, first.refresh_token, CLIENT)
    clock.pass_by(timedelta(seconds=11))
    assert await refused(context, first.refresh_token)
    assert audit.events[-1].details["replayed"] == "true"
    for token in (second.refresh_token, first.refresh_token, "unknown"):
        assert await refused(context, token)
    with pytest.raises(errors.Unauthenticated):
        await get_profile(context, actor(second.access_token))
    assert not await refused(context, other.refresh_token)


async def test_a_token_used_by_another_client_ends_the_session(context: Context) -> None:
    for thief in (OTHER, replace(CLIENT, user_agent="curl"), replace(CLIENT, address="")):
        first = await sign_in(context, ADA, CLIENT)
        second = await refresh_tokens(context, first.refresh_token, CLIENT)
        assert await refused(context, first.refresh_token, thief)
        assert await refused(context, second.refresh_token)


async def test_a_token_whose_successor_was_used_ends_the_session(context: Context) -> None:
    first = await sign_in(context, ADA, CLIENT)
    second = await refresh_tokens(context, first.refresh_token, CLIENT)
    third = await refresh_tokens(context, second.refresh_token, CLIENT)
    assert await refused(context, first.refresh_token)
    assert await refused(context, third.refresh_token)


async def test_a_session_that_is_continued_by_two_clients_ends(context: Context, clock: Clock) -> None:
    """Both clients have the same address and user agent, and came within the grace; the next use detects them."""
    first = await sign_in(context, ADA, CLIENT)
    owner = await refresh_tokens(context, first.refresh_token, CLIENT)
    thief = await refresh_tokens(context, first.refresh_token, CLIENT)
    thief = await refresh_tokens(context, thief.refresh_token, CLIENT)
    clock.pass_by(timedelta(minutes=15))
    assert await refused(context, owner.refresh_token)
    assert await refused(context, thief.refresh_token)


async def test_the_stored_data_does_not_reveal_the_next_token(context: Context) -> None:
    first = await sign_in(context, ADA, CLIENT)
    salts = []

    def random(size: int) -> bytes:
        salts.append(secrets.token_bytes(size))
        return salts[-1]

    second = await refresh_tokens(replace(context, random=random), first.refresh_token, CLIENT)
    stored = (*salts, hash_token(first.refresh_token), hash_token(second.refresh_token))
    assert not any(second.refresh_token in (value.hex(), encode_token(value)) for value in stored)


async def test_changed_roles_are_in_the_next_token(context: Context, ada: str) -> None:
    first = await sign_in(context, ADA, CLIENT)
    await context.store.accounts.set_roles(ada, ("content.manage",))
    second = await refresh_tokens(context, first.refresh_token, CLIENT)
    assert claims(second.access_token)["roles"] == ["content.manage"]


async def test_sessions_are_listed_with_time_and_client_of_their_last_use(
    context: Context, people: People, clock: Clock
) -> None:
    here = await people.sign_in("ada")
    clock.pass_by(timedelta(hours=1))
    there = await sign_in(context, ADA, OTHER)
    clock.pass_by(timedelta(hours=1))
    moved = Client("192.0.2.1", "another browser")
    await refresh_tokens(context, there.refresh_token, moved)
    newest, oldest = await list_sessions(context, here)
    assert (newest.client, newest.use_time - newest.create_time) == (moved, timedelta(hours=1))
    assert (oldest.id, oldest.client, oldest.use_time) == (here.session_id, CLIENT, oldest.create_time)
    clock.pass_by(timedelta(days=30) - timedelta(hours=2))
    assert [session.id for session in await list_sessions(context, actor(there.access_token))] == [newest.id]


async def test_only_the_owner_ends_a_session(context: Context, people: People) -> None:
    await people.add("eve")
    here, there, eve = [await people.sign_in(name) for name in ("ada", "ada", "eve")]
    with pytest.raises(errors.NotFound) as refusal:
        await end_session(context, eve, there.session_id)
    assert refusal.value.reason == "SESSION_NOT_FOUND"
    await end_session(context, here, there.session_id)
    with pytest.raises(errors.NotFound):
        await end_session(context, here, there.session_id)
    with pytest.raises(errors.Unauthenticated):
        await list_sessions(context, there)
    assert len(await list_sessions(context, here)) == 1


@pytest.mark.parametrize("keep_current", [True, False])
async def test_all_sessions_are_ended_in_one_call(context: Context, people: People, keep_current: bool) -> None:
    await people.add("eve")
    signed_in: list[Actor] = [await people.sign_in("ada") for _ in range(4)]
    eve = await people.sign_in("eve")
    assert await end_sessions(context, signed_in[0], keep_current) == (3 if keep_current else 4)
    left = [actor for actor in signed_in if await context.store.sessions.find_holder(actor.session_id, context.now())]
    assert left == (signed_in[:1] if keep_current else [])
    assert len(await list_sessions(context, eve)) == 1


async def test_signing_out_with_any_of_its_tokens_ends_the_session(context: Context, audit: AuditRecording) -> None:
    first = await sign_in(context, ADA, CLIENT)
    second: IssuedTokens = await refresh_tokens(context, first.refresh_token, CLIENT)
    await sign_out(context, first.refresh_token, CLIENT)
    assert await refused(context, second.refresh_token)
    await sign_out(context, second.refresh_token, CLIENT)
    await sign_out(context, "unknown", CLIENT)
    assert [bool(event.actor) for event in audit.events if event.action == "sign_out"] == [True, False, False]


async def test_a_new_session_ends_the_least_recently_used_one(
    context: Context, people: People, clock: Clock, ada: str
) -> None:
    account = await context.store.accounts.find(ada)
    assert account is not None
    first = await sign_in(context, ADA, CLIENT)
    for number in range(MAX_SESSIONS - 1):
        clock.pass_by(timedelta(seconds=1))
        session = Session(f"ses_{number}", ada, clock(), clock(), CLIENT)
        token = RefreshToken(hash_token(session.id), clock() + timedelta(days=1))
        assert await context.store.sessions.add(session, token, account.password_hash or "")
    clock.pass_by(timedelta(seconds=1))
    await refresh_tokens(context, first.refresh_token, CLIENT)
    here = await people.sign_in("ada")
    left = {session.id for session in await list_sessions(context, here)}
    assert len(left) == MAX_SESSIONS
    assert claims(first.access_token)["sid"] in left
    assert "ses_0" not in left


async def test_every_sign_in_and_refresh_is_recorded_without_secrets(
    context: Context, audit: AuditRecording, ada: str
) -> None:
    tokens = await sign_in(context, ADA, CLIENT)
    await refresh_tokens(context, tokens.refresh_token, OTHER)
    with pytest.raises(errors.Unauthenticated):
        await sign_in(context, Credentials("hunter2 typed as a name", "hunter3"), CLIENT)
    recorded = [(event.action, event.actor, event.target, event.result, event.address) for event in audit.events]
    assert recorded == [
        ("sign_in", ada, ada, "OK", CLIENT.address),
        ("session.refresh", ada, ada, "OK", OTHER.address),
        ("sign_in", "", "", "CREDENTIALS_WRONG", CLIENT.address),
    ]
    for secret in (PASSWORD, tokens.access_token, tokens.refresh_token, "hunter"):
        assert secret not in str(audit.events)


async def test_an_administrator_sees_and_removes_a_lock(
    context: Context, people: People, clock: Clock, ada: str
) -> None:
    await people.add("root", "user.admin")
    root = await people.sign_in("root")
    assert (await get_account(context, root, ada)).lock_end is None
    for _ in range(5):
        with pytest.raises(errors.Unauthenticated):
            await sign_in(context, Credentials("ada", "wrong"), OTHER)
    assert (await get_account(context, root, ada)).lock_end == clock() + timedelta(minutes=15)
    await unlock_account(context, root, ada)
    assert (await get_account(context, root, ada)).lock_end is None
    await sign_in(context, ADA, OTHER)

"""Signing in, and staying signed in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count

import jwt
import pytest

from moneyprinter import errors
from services.user.accounts import Account, AccountStore
from services.user.argon import ArgonPasswords
from services.user.sessions import Desk, refresh, sign_in
from services.user.tokens import JwtTokens, new_key
from tests.user.conftest import Clock


@pytest.fixture
async def desk(store: AccountStore, passwords: ArgonPasswords, clock: Clock) -> Desk:
    """A desk at which `ada` may sign in with `correct horse`."""
    await store.add_first(
        Account("user_ada", "ada", await passwords.hash("correct horse"), ("video.process",)), clock()
    )
    numbers = count(1)
    random: Callable[[], str] = lambda: f"random {next(numbers)}"  # noqa: E731
    return Desk(store, passwords, JwtTokens(new_key(), "iss", "aud"), now=clock, random=random)


def claims(desk: Desk, token: str) -> dict[str, object]:
    assert isinstance(desk.tokens, JwtTokens)
    key = jwt.PyJWK(desk.tokens.public_key)
    options: dict[str, bool] = {"verify_exp": False, "verify_iat": False}
    found: dict[str, object] = jwt.decode(
        token,
        key,
        algorithms=["ES256"],
        audience="aud",
        issuer="iss",
        options=options,  # type: ignore[arg-type]
    )
    return found


async def test_the_access_token_says_who_and_what(desk: Desk, clock: Clock) -> None:
    session = await sign_in(desk, "ada", "correct horse")
    found = claims(desk, session.access_token)
    now = int(clock().timestamp())
    assert found.pop("jti")
    assert found == {
        "iss": "iss",
        "aud": "aud",
        "sub": "user_ada",
        "iat": now,
        "exp": now + 900,
        "roles": ["video.process"],
    }
    assert session.access_life == timedelta(minutes=15)
    assert session.access_token not in repr(session)
    assert session.refresh_token not in repr(session)


@pytest.mark.parametrize(
    ("username", "password"),
    [("ada", "wrong"), ("ada", ""), ("Ada", "correct horse"), ("eve", "correct horse"), ("a\0", "x"), ("ada", "x\0")],
)
async def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(desk: Desk, username: str, password: str) -> None:
    with pytest.raises(errors.Unauthenticated, match=r"^name and password do not belong together$") as refused:
        await sign_in(desk, username, password)
    assert refused.value.reason == "CREDENTIALS_WRONG"


@pytest.mark.parametrize("username", ["ada", "nobody"])
async def test_a_name_that_is_tried_too_often_has_to_wait(desk: Desk, clock: Clock, username: str) -> None:
    for _ in range(10):
        with pytest.raises(errors.Unauthenticated):
            await sign_in(desk, username, "wrong")
    with pytest.raises(errors.ResourceExhausted) as refused:
        await sign_in(desk, username, "correct horse")
    assert refused.value.reason == "BUSY"
    assert refused.value.retry_after_seconds == 300.0
    clock.pass_by(timedelta(minutes=5))
    with pytest.raises(errors.Unauthenticated):
        await sign_in(desk, username, "wrong")


async def test_a_good_sign_in_clears_the_failures_before_it(desk: Desk) -> None:
    for _ in range(3):
        for _ in range(9):
            with pytest.raises(errors.Unauthenticated):
                await sign_in(desk, "ada", "wrong")
        await sign_in(desk, "ada", "correct horse")


async def test_a_session_goes_on_with_refresh_tokens(desk: Desk, clock: Clock) -> None:
    session = await sign_in(desk, "ada", "correct horse")
    for _ in range(3):
        clock.pass_by(timedelta(days=29))
        session = await refresh(desk, session.refresh_token)
        assert claims(desk, session.access_token)["sub"] == "user_ada"
    clock.pass_by(timedelta(days=30))
    with pytest.raises(errors.Unauthenticated):
        await refresh(desk, session.refresh_token)


async def test_a_refresh_token_that_is_used_twice_ends_the_session(desk: Desk) -> None:
    first = await sign_in(desk, "ada", "correct horse")
    other = await sign_in(desk, "ada", "correct horse")
    second = await refresh(desk, first.refresh_token)
    for token in (first.refresh_token, second.refresh_token, "unknown"):
        with pytest.raises(errors.Unauthenticated) as refused:
            await refresh(desk, token)
        assert refused.value.reason == "REFRESH_TOKEN_INVALID"
    await refresh(desk, other.refresh_token)

"""One suite for every store of accounts, and the making of the first one."""

from __future__ import annotations

import asyncio
import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from services.runtime.config import ConfigError
from services.user.accounts import ALL_ROLES, Account, AccountStore, Draft, RefreshToken, Throttle, make_first
from services.user.argon import HASHER, ArgonPasswords
from services.user.first_account import PrivateFile
from tests.user.conftest import Clock

ADA = Account("user_ada", "ada", "a hash", ("video.process",))
BOB = Account("user_bob", "bob", "another hash", ("user.admin",))
THROTTLE = Throttle(attempts=3, window=timedelta(minutes=5))
DRAFT = Draft("user_1", "correct horse")


async def test_the_first_account_is_the_only_first_one(store: AccountStore, clock: Clock) -> None:
    assert await store.empty()
    assert await store.add_first(ADA, clock())
    assert not await store.add_first(BOB, clock())
    assert not await store.empty()
    assert await store.named("ada") == ADA
    assert await store.named("bob") is None


async def test_of_many_first_accounts_at_once_one_is_made(store: AccountStore, clock: Clock) -> None:
    made = await asyncio.gather(
        *(store.add_first(Account(f"user_{n}", f"name {n}", "h", ()), clock()) for n in range(12))
    )
    assert sorted(made) == [False] * 11 + [True]


@pytest.mark.parametrize("name", ["Ada", "ada ", "", "x\0y", "ада", "' OR 1=1 --", "%"])
async def test_only_the_very_name_finds_an_account(store: AccountStore, clock: Clock, name: str) -> None:
    await store.add_first(ADA, clock())
    assert await store.named(name) is None


async def test_too_many_attempts_have_to_wait_until_the_oldest_is_over(store: AccountStore, clock: Clock) -> None:
    for _ in range(3):
        assert await store.attempt("ada", THROTTLE, clock()) is None
        clock.pass_by(timedelta(minutes=1))
    assert await store.attempt("ada", THROTTLE, clock()) == timedelta(minutes=2)
    assert await store.attempt("bob", THROTTLE, clock()) is None
    clock.pass_by(timedelta(minutes=2))
    assert await store.attempt("ada", THROTTLE, clock()) is None
    assert await store.attempt("ada", THROTTLE, clock()) == timedelta(minutes=1)


async def test_attempts_at_once_are_all_counted(store: AccountStore, clock: Clock) -> None:
    waits = await asyncio.gather(*(store.attempt("ada\0", THROTTLE, clock()) for _ in range(20)))
    assert waits.count(None) == 3


async def test_attempts_are_forgotten(store: AccountStore, clock: Clock) -> None:
    for _ in range(4):
        await store.attempt("ada", THROTTLE, clock())
    await store.forget_attempts("ada")
    assert await store.attempt("ada", THROTTLE, clock()) is None


def token(clock: Clock, name: bytes, days: int = 30) -> RefreshToken:
    return RefreshToken(name.ljust(32), clock() + timedelta(days=days))


async def test_a_refresh_token_is_good_once(store: AccountStore, clock: Clock) -> None:
    await store.add_first(ADA, clock())
    await store.begin("user_ada", "family", token(clock, b"1"), clock())
    assert await store.rotate(token(clock, b"1").sha256, token(clock, b"2"), clock()) == ADA
    assert await store.rotate(token(clock, b"2").sha256, token(clock, b"3"), clock()) == ADA
    assert await store.rotate(token(clock, b"none").sha256, token(clock, b"4"), clock()) is None


async def test_a_second_use_ends_the_family_and_no_other(store: AccountStore, clock: Clock) -> None:
    await store.add_first(ADA, clock())
    await store.begin("user_ada", "stolen", token(clock, b"1"), clock())
    await store.begin("user_ada", "other", token(clock, b"other"), clock())
    await store.rotate(token(clock, b"1").sha256, token(clock, b"2"), clock())
    assert await store.rotate(token(clock, b"1").sha256, token(clock, b"evil"), clock()) is None
    for name in (b"2", b"evil", b"1"):
        assert await store.rotate(token(clock, name).sha256, token(clock, b"x"), clock()) is None
    assert await store.rotate(token(clock, b"other").sha256, token(clock, b"y"), clock()) == ADA


async def test_of_two_uses_at_once_at_most_one_succeeds_and_the_family_ends(store: AccountStore, clock: Clock) -> None:
    await store.add_first(ADA, clock())
    await store.begin("user_ada", "family", token(clock, b"1"), clock())
    found = await asyncio.gather(
        *(store.rotate(token(clock, b"1").sha256, token(clock, b"next %d" % n), clock()) for n in range(2))
    )
    assert found.count(None) == 1
    for number in range(2):
        assert await store.rotate(token(clock, b"next %d" % number).sha256, token(clock, b"x"), clock()) is None


async def test_a_refresh_token_expires(store: AccountStore, clock: Clock) -> None:
    await store.add_first(ADA, clock())
    await store.begin("user_ada", "family", token(clock, b"1"), clock())
    first = token(clock, b"1").sha256
    clock.pass_by(timedelta(days=30))
    assert await store.rotate(first, token(clock, b"2"), clock()) is None


async def test_the_first_account_is_told_in_a_private_file(
    store: AccountStore, passwords: ArgonPasswords, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "first-account"
    assert await make_first(store, passwords, PrivateFile(path), DRAFT, clock())
    assert json.loads(path.read_text()) == {"username": "admin", "password": "correct horse"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    made = await store.named("admin")
    assert made is not None
    assert (made.id, made.roles) == ("user_1", ALL_ROLES)
    assert await passwords.verify(made.password_hash, "correct horse")
    assert "correct horse" not in repr(made) + repr(DRAFT)


async def test_there_is_no_second_first_account(
    store: AccountStore, passwords: ArgonPasswords, clock: Clock, tmp_path: Path
) -> None:
    await store.add_first(ADA, clock())
    assert not await make_first(store, passwords, PrivateFile(tmp_path / "file"), DRAFT, clock())
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("own_files", [False, True])
async def test_replicas_that_start_at_once_make_one_account_that_a_file_opens(
    store: AccountStore, passwords: ArgonPasswords, clock: Clock, tmp_path: Path, own_files: bool
) -> None:
    paths = [tmp_path / (f"file-{n}" if own_files else "file") for n in range(6)]
    made = await asyncio.gather(
        *(
            make_first(store, passwords, PrivateFile(path), Draft(f"user_{n}", f"password {n}"), clock())
            for n, path in enumerate(paths)
        )
    )
    assert sorted(made) == [False] * 5 + [True]
    [left] = tmp_path.iterdir()
    account = await store.named("admin")
    assert account is not None
    assert await passwords.verify(account.password_hash, json.loads(left.read_text())["password"])


async def test_a_start_after_one_that_died_takes_the_password_that_was_told(
    store: AccountStore, passwords: ArgonPasswords, clock: Clock, tmp_path: Path
) -> None:
    file = PrivateFile(tmp_path / "file")
    file.claim("admin", "told before")
    assert await make_first(store, passwords, file, DRAFT, clock())
    account = await store.named("admin")
    assert account is not None
    assert await passwords.verify(account.password_hash, "told before")


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"username": "admin"}', '{"password": ""}'])
async def test_a_file_of_something_else_stops_the_start(
    store: AccountStore, passwords: ArgonPasswords, clock: Clock, tmp_path: Path, text: str
) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ConfigError, match="remove the file"):
        await make_first(store, passwords, PrivateFile(tmp_path / "file"), DRAFT, clock())


def test_passwords_are_hashed_as_they_should_be() -> None:
    assert HASHER.hash("x").startswith("$argon2id$v=19$m=47104,t=2,p=1$")

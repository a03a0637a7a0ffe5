"""Accounts in every store, the rules of usernames and passwords, and the creation of the first account."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from moneyprinter import errors
from services.runtime.admission import FairSemaphore
from services.runtime.config import ConfigError
from services.user.accounts.credential_rules import validate_new_password, validate_username
from services.user.accounts.first_account import FirstAccountDraft, create_first_account
from services.user.accounts.first_account_file import PrivateFile
from services.user.accounts.model import ALL_ROLES, Account, Invitation, PasswordReset, Profile
from services.user.authentication.passwords import HASHER, Argon2Hasher
from services.user.store import Store
from tests.stored import wait_until
from tests.user.conftest import START, Clock

ADA = Account("user_ada", "ada", "a hash", ("video.process",), START)
BOB = Account("user_bob", "bob", "another hash", ("user.admin",), START)
DRAFT = FirstAccountDraft("user_1", "correct horse")


async def test_only_one_first_account_is_added(store: Store) -> None:
    assert await store.accounts.is_empty()
    assert await store.accounts.add_first(ADA)
    assert not await store.accounts.add_first(BOB)
    assert not await store.accounts.is_empty()
    assert await store.accounts.find_by_username("ada") == ADA
    assert await store.accounts.find_by_username("bob") is None


async def test_concurrent_starts_add_one_first_account(store: Store) -> None:
    created = await asyncio.gather(
        *(store.accounts.add_first(Account(f"user_{n}", f"name {n}", "h", (), START)) for n in range(12))
    )
    assert sorted(created) == [False] * 11 + [True]


@pytest.mark.parametrize("name", ["Ada", "ada ", "", "x\0y", "ада", "' OR 1=1 --", "%"])
async def test_an_account_is_found_by_its_exact_username_only(store: Store, name: str) -> None:
    await store.accounts.add_first(ADA)
    assert await store.accounts.find_by_username(name) is None


async def test_concurrent_registrations_of_one_username_create_one_account(store: Store) -> None:
    async def register(number: int) -> bool:
        try:
            await store.accounts.register(replace(ADA, id=f"user_{number}"), None)
        except errors.Conflict as taken:
            assert taken.reason == "USERNAME_TAKEN"
            return False
        return True

    assert sorted(await asyncio.gather(*(register(number) for number in range(8)))) == [False] * 7 + [True]


def invitation(token: bytes, days: int = 1) -> Invitation:
    return Invitation("inv_" + token.hex(), token.ljust(32), (), "", BOB.id, START, START + timedelta(days=days))


async def test_concurrent_registrations_use_an_invitation_once(store: Store) -> None:
    await store.accounts.add_first(BOB)
    await store.invitations.add(invitation(b"1"))

    async def register(number: int) -> bool:
        try:
            await store.accounts.register(Account(f"user_{number}", f"guest{number}", "h", (), START), b"1".ljust(32))
        except errors.PermissionDenied as refused:
            assert refused.reason == "INVITATION_INVALID"
            return False
        return True

    assert sorted(await asyncio.gather(*(register(number) for number in range(8)))) == [False] * 7 + [True]


async def test_an_invitation_stays_valid_when_the_username_is_taken(store: Store) -> None:
    await store.accounts.add_first(BOB)
    await store.invitations.add(invitation(b"1"))
    with pytest.raises(errors.Conflict):
        await store.accounts.register(replace(ADA, username="bob"), b"1".ljust(32))
    await store.accounts.register(ADA, b"1".ljust(32))
    assert await store.accounts.find_by_username("ada") == ADA


async def test_an_invitation_expires(store: Store, clock: Clock) -> None:
    await store.accounts.add_first(BOB)
    await store.invitations.add(invitation(b"1"))
    assert await store.invitations.find(b"1".ljust(32), clock())
    clock.pass_by(timedelta(days=1))
    assert await store.invitations.find(b"1".ljust(32), clock()) is None
    assert await store.invitations.list_page(9, None, clock()) == []
    assert not await store.invitations.delete("inv_31", clock())
    with pytest.raises(errors.PermissionDenied):
        await store.accounts.register(replace(ADA, create_time=clock()), b"1".ljust(32))


async def test_accounts_are_listed_in_pages(store: Store) -> None:
    made = [Account(f"user_{n}", f"name{n}", "h", (), START + timedelta(seconds=n // 2)) for n in range(5)]
    for account in made:
        await store.accounts.register(account, None)
    first = await store.accounts.list_page(2, None)
    rest = await store.accounts.list_page(9, (first[-1].create_time, first[-1].id))
    assert [*first, *rest] == sorted(made, key=lambda a: (a.create_time, a.id), reverse=True)


async def test_a_profile_is_replaced(store: Store) -> None:
    await store.accounts.add_first(ADA)
    profile = Profile("Ada L.", "ada@example.com", "en-GB")
    assert (await store.accounts.set_profile(ADA.id, profile)).profile == profile
    assert await store.accounts.find(ADA.id) == replace(ADA, profile=profile)


async def test_the_last_administrator_cannot_be_removed(store: Store, clock: Clock) -> None:
    await store.accounts.add_first(BOB)
    await store.accounts.register(ADA, None)
    for attempt in (store.accounts.set_roles(BOB.id, ()), store.accounts.disable(BOB.id, clock())):
        with pytest.raises(errors.FailedPrecondition) as refused:
            await attempt
        assert refused.value.reason == "LAST_ADMINISTRATOR"
    await store.accounts.set_roles(ADA.id, ("user.admin",))
    assert (await store.accounts.disable(BOB.id, clock())).disable_time == clock()
    # A disabled administrator does not count.
    with pytest.raises(errors.FailedPrecondition):
        await store.accounts.set_roles(ADA.id, ())
    await store.accounts.enable(BOB.id)
    assert (await store.accounts.set_roles(ADA.id, ())).roles == ()


async def test_concurrent_removals_leave_one_administrator(store: Store, clock: Clock) -> None:
    everybody = [Account(f"user_{n}", f"name{n}", "h", ("user.admin",), START) for n in range(6)]
    for account in everybody:
        await store.accounts.register(account, None)

    async def leave(number: int) -> bool:
        try:
            if number % 2:
                await store.accounts.set_roles(f"user_{number}", ())
            else:
                await store.accounts.disable(f"user_{number}", clock())
        except errors.FailedPrecondition:
            return False
        return True

    assert sorted(await asyncio.gather(*(leave(number) for number in range(6)))) == [False] + [True] * 5
    left = await store.accounts.list_page(9, None)
    assert len([a for a in left if a.roles and a.disable_time is None]) == 1


async def test_an_unknown_account_is_not_found(store: Store, clock: Clock) -> None:
    await store.accounts.add_first(BOB)
    assert await store.accounts.find("user_x") is None
    reset = PasswordReset(b"x" * 32, clock() + timedelta(days=1))
    for attempt in (
        store.accounts.set_profile("user_x", Profile()),
        store.accounts.set_roles("user_x", ()),
        store.accounts.disable("user_x", clock()),
        store.accounts.enable("user_x"),
        store.accounts.start_reset("user_x", reset, disable_totp=False),
    ):
        with pytest.raises(errors.NotFound) as refused:
            await attempt
        assert refused.value.reason == "ACCOUNT_NOT_FOUND"


async def test_a_password_is_replaced_only_while_the_old_one_is_current(store: Store) -> None:
    await store.accounts.add_first(ADA)
    done = await asyncio.gather(
        *(store.accounts.replace_password(ADA.id, "a hash", f"hash {n}", "") for n in range(4)),
        *(store.accounts.replace_hash(ADA.id, "a hash", f"rehash {n}") for n in range(4)),
    )
    assert sorted(done) == [False] * 7 + [True]


async def test_a_password_reset_is_used_once_and_expires(store: Store, clock: Clock) -> None:
    await store.accounts.add_first(ADA)
    for token in (b"1", b"2"):
        reset = PasswordReset(token.ljust(32), clock() + timedelta(days=1))
        assert (await store.accounts.start_reset(ADA.id, reset, disable_totp=False)).password_hash is None
    # The second reset replaces the first.
    assert await store.accounts.complete_reset(b"1".ljust(32), "new", clock()) is None
    assert await store.accounts.find_by_reset_token(b"2".ljust(32), clock() + timedelta(days=1)) is None
    done = await asyncio.gather(*(store.accounts.complete_reset(b"2".ljust(32), f"new {n}", clock()) for n in range(4)))
    assert done.count(None) == 3
    assert await store.accounts.find_by_reset_token(b"2".ljust(32), clock()) is None


@pytest.mark.parametrize(
    ("typed", "normalized"),
    [
        ("Ada", "ada"),
        ("ＡＤＡ", "ada"),
        ("a.b_c-9", "a.b_c-9"),
        ("ﬁona", "fiona"),
        ("K\u0049M", "kim"),
        ("a" * 32,) * 2,
    ],
)
def test_usernames_are_normalized(typed: str, normalized: str) -> None:
    assert validate_username(typed) == normalized


@pytest.mark.parametrize(
    "typed", ["ab", "a" * 33, "аda", "ada lovelace", ".ada", "-ada", "a\0da", "ada\n", "İda", "ad\u200da", "@da", ""]
)
def test_ambiguous_usernames_are_refused(typed: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        validate_username(typed)
    assert [violation.field for violation in refused.value.violations] == ["username"]


@pytest.mark.parametrize(
    "password",
    [
        *("correct horse", "T0tally-Random", "пароль из слов", "ада ада лавлейс", "my admin password is long"),
        *("xK9#mQ2$vL5@", "\U0001f40e 12 gallops \U0001f40e"),
    ],
)
def test_strong_passwords_are_accepted(password: str) -> None:
    validate_new_password(password, "ada", "password")


@pytest.mark.parametrize(
    "password",
    [
        *("short", "elevenchars", "password1234", "Password2024!", "PASSWORDPASSWORD", "123456789012", "qwertyuiop123"),
        *("aaaaaaaaaaaa", "121212121212", "adalovelace1", "AdaLovelaceAdaLovelace", "ＰＡＳＳＷＯＲＤ１２３４"),
        *("iloveyou2026", "moneyprinter1", "admin-admin-admin"),
    ],
)
def test_weak_passwords_are_refused(password: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        validate_new_password(password, "adalovelace", "new_password")
    assert refused.value.reason == "PASSWORD_WEAK"
    assert [violation.field for violation in refused.value.violations] == ["new_password"]
    assert password not in refused.value.message


async def test_the_first_account_is_written_to_a_private_file(
    store: Store, passwords: Argon2Hasher, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "first-account"
    assert await create_first_account(store.accounts, passwords, PrivateFile(path), DRAFT, clock())
    assert json.loads(path.read_text()) == {"username": "admin", "password": "correct horse"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    made = await store.accounts.find_by_username("admin")
    assert made is not None
    assert (made.id, made.roles) == ("user_1", ALL_ROLES)
    assert await passwords.verify(made.password_hash, "correct horse")
    assert "correct horse" not in repr(made) + repr(DRAFT)


async def test_no_first_account_is_created_when_there_are_accounts(
    store: Store, passwords: Argon2Hasher, clock: Clock, tmp_path: Path
) -> None:
    await store.accounts.add_first(ADA)
    assert not await create_first_account(store.accounts, passwords, PrivateFile(tmp_path / "file"), DRAFT, clock())
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("own_files", [False, True])
async def test_replicas_that_start_concurrently_create_one_account_with_one_file(
    store: Store, passwords: Argon2Hasher, clock: Clock, tmp_path: Path, own_files: bool
) -> None:
    paths = [tmp_path / (f"file-{n}" if own_files else "file") for n in range(6)]
    created = await asyncio.gather(
        *(
            create_first_account(
                store.accounts, passwords, PrivateFile(path), FirstAccountDraft(f"user_{n}", f"password {n}"), clock()
            )
            for n, path in enumerate(paths)
        )
    )
    assert sorted(created) == [False] * 5 + [True]
    [left] = tmp_path.iterdir()
    account = await store.accounts.find_by_username("admin")
    assert account is not None
    assert await passwords.verify(account.password_hash, json.loads(left.read_text())["password"])


async def test_a_restart_after_a_crash_uses_the_password_in_the_file(
    store: Store, passwords: Argon2Hasher, clock: Clock, tmp_path: Path
) -> None:
    file = PrivateFile(tmp_path / "file")
    file.claim("admin", "written before")
    assert await create_first_account(store.accounts, passwords, file, DRAFT, clock())
    account = await store.accounts.find_by_username("admin")
    assert account is not None
    assert await passwords.verify(account.password_hash, "written before")


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"username": "admin"}', '{"password": ""}'])
async def test_the_start_fails_when_the_file_holds_something_else(
    store: Store, passwords: Argon2Hasher, clock: Clock, tmp_path: Path, text: str
) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ConfigError, match="remove the file"):
        await create_first_account(store.accounts, passwords, PrivateFile(tmp_path / "file"), DRAFT, clock())


def test_passwords_are_hashed_with_the_configured_parameters() -> None:
    assert HASHER.hash("x").startswith("$argon2id$v=19$m=47104,t=2,p=1$")


async def test_composed_and_decomposed_accents_are_the_same_password(passwords: Argon2Hasher) -> None:
    assert await passwords.verify(await passwords.hash("caf\u00e9 au lait"), "cafe\u0301 au lait")


class BlockingHasher(PasswordHasher):
    """Counts concurrent hashes; none ends before `release` is set."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.release = threading.Event()
        self.release.set()
        self._lock = threading.Lock()
        self.running = self.peak = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self._lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
        self.release.wait(10)
        with self._lock:
            self.running -= 1
        return super().hash(password, salt=salt)


async def test_a_cancelled_caller_does_not_free_the_slot_of_running_work() -> None:
    hasher = BlockingHasher()
    passwords = Argon2Hasher(FairSemaphore(2, str).acquire, hasher)
    hasher.release.clear()
    tasks = [asyncio.create_task(passwords.hash("x")) for _ in range(6)]
    await wait_until(lambda: hasher.running == 2)
    for task in tasks[:4]:
        task.cancel()
    await asyncio.wait(tasks[:4])
    hasher.release.set()
    assert len(await asyncio.gather(*tasks[4:])) == 2
    assert hasher.peak == 2

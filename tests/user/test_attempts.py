"""How often a name and an address may fail."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from moneyprinter import errors
from services.user.authentication.throttling import AttemptLimit, AttemptLimits, LoginThrottle
from services.user.store import Store
from tests.user.conftest import START, Clock

MINUTE = timedelta(minutes=1)
THROTTLE = AttemptLimit(3, 5 * MINUTE, 15 * MINUTE)


def minutes(*numbers: float) -> list[datetime]:
    return [START + number * MINUTE for number in numbers]


@pytest.mark.parametrize(
    ("before", "now", "wait"),
    [
        ((), 0, None),
        ((0, 1), 1, None),
        ((0, 1, 2), 2, 15),
        ((0, 1, 2), 16.5, 0.5),
        ((0, 1, 2), 17, None),
        # Not within five minutes.
        ((0, 1, 5), 5, None),
        ((0, 1, 4.9), 5, 14.9),
        # Those before a wait are too old to count after it.
        ((0, 1, 2, 17), 17, None),
        ((2, 17, 18), 18, None),
        ((17, 18, 19), 19, 15),
        # The clocks of instances differ.
        ((0, 1, 2), 1, 16),
    ],
)
def test_after_too_many_failures_within_the_window_the_next_waits(
    before: tuple[float, ...], now: float, wait: float | None
) -> None:
    kept, found = THROTTLE.admit(minutes(*before), START + now * MINUTE)
    assert (found / MINUTE if found else None) == (pytest.approx(wait) if wait else None)
    assert len(kept) <= max(3, len(before))


async def test_a_wait_is_as_long_as_it_says(store: Store, clock: Clock) -> None:
    for _ in range(3):
        assert await store.attempts.begin("ada", THROTTLE, clock()) is None
        clock.pass_by(MINUTE)
    assert await store.attempts.begin("ada", THROTTLE, clock()) == 14 * MINUTE
    assert await store.attempts.retry_delay("ada", THROTTLE, clock()) == 14 * MINUTE
    assert await store.attempts.begin("bob", THROTTLE, clock()) is None
    clock.pass_by(14 * MINUTE)
    assert await store.attempts.retry_delay("ada", THROTTLE, clock()) is None
    for _ in range(3):
        assert await store.attempts.begin("ada", THROTTLE, clock()) is None
    assert await store.attempts.begin("ada", THROTTLE, clock()) == 15 * MINUTE


async def test_attempts_at_once_are_all_counted(store: Store, clock: Clock) -> None:
    waits = await asyncio.gather(*(store.attempts.begin("ada\0", THROTTLE, clock()) for _ in range(20)))
    assert waits.count(None) == 3


async def test_attempts_are_forgotten_and_withdrawn(store: Store, clock: Clock) -> None:
    for _ in range(3):
        await store.attempts.begin("ada", THROTTLE, clock())
    await store.attempts.withdraw("ada", clock())
    assert await store.attempts.begin("ada", THROTTLE, clock()) is None
    assert await store.attempts.begin("ada", THROTTLE, clock())
    await store.attempts.withdraw("ada", clock() + MINUTE)
    assert await store.attempts.begin("ada", THROTTLE, clock())
    await store.attempts.clear("ada")
    assert await store.attempts.begin("ada", THROTTLE, clock()) is None
    await store.attempts.withdraw("nobody", clock())
    await store.attempts.clear("nobody")


async def fail(guard: LoginThrottle, clock: Clock, name: str, address: str) -> str:
    """Try a name and fail; returns the reason."""
    with pytest.raises(errors.Error) as refused:
        async with guard.attempt(name, address, clock):
            raise errors.Unauthenticated("wrong", reason="CREDENTIALS_WRONG")
    return refused.value.reason


async def test_an_address_that_tries_many_names_has_to_wait(store: Store, clock: Clock) -> None:
    guard = LoginThrottle(store.attempts, AttemptLimits(address=THROTTLE))
    for number in range(3):
        assert await fail(guard, clock, f"name{number}", "203.0.113.7") == "CREDENTIALS_WRONG"
    assert await fail(guard, clock, "name4", "203.0.113.7") == "SIGN_IN_LOCKED"
    assert await fail(guard, clock, "name4", "203.0.113.8") == "CREDENTIALS_WRONG"
    # One household has many addresses of IPv6.
    for number in range(3):
        assert await fail(guard, clock, f"other{number}", f"2001:db8::{number + 1}") == "CREDENTIALS_WRONG"
    assert await fail(guard, clock, "other4", "2001:db8::ffff:1") == "SIGN_IN_LOCKED"
    assert await fail(guard, clock, "other4", "2001:db8:0:1::1") == "CREDENTIALS_WRONG"
    clock.pass_by(15 * MINUTE)
    assert await fail(guard, clock, "name5", "203.0.113.7") == "CREDENTIALS_WRONG"


async def test_a_name_that_waits_costs_its_address_nothing(store: Store, clock: Clock) -> None:
    guard = LoginThrottle(
        store.attempts, AttemptLimits(account=AttemptLimit(1, MINUTE, MINUTE), address=AttemptLimit(2, MINUTE, MINUTE))
    )
    assert await fail(guard, clock, "ada", "203.0.113.7") == "CREDENTIALS_WRONG"
    for _ in range(5):
        assert await fail(guard, clock, "ada", "203.0.113.7") == "SIGN_IN_LOCKED"
    async with guard.attempt("bob", "203.0.113.7", clock):
        pass


async def test_many_right_attempts_at_once_are_all_let_through(store: Store, clock: Clock) -> None:
    guard = LoginThrottle(store.attempts)
    done = 0

    async def try_it(name: str) -> None:
        nonlocal done
        async with guard.attempt(name, "203.0.113.7", clock):
            await asyncio.sleep(0)
            done += 1

    await asyncio.gather(*(try_it("ada" if number % 2 else f"name{number}") for number in range(80)))
    assert done == 80


async def test_of_many_wrong_attempts_at_once_no_more_are_made_than_may_fail(store: Store, clock: Clock) -> None:
    # Two instances of the service.
    guards = [LoginThrottle(store.attempts), LoginThrottle(store.attempts)]
    made = 0

    async def try_it(number: int) -> None:
        nonlocal made
        async with guards[number % 2].attempt("ada", f"203.0.113.{number}", clock):
            made += 1
            raise errors.Unauthenticated("wrong", reason="CREDENTIALS_WRONG")

    ends = await asyncio.gather(*(try_it(number) for number in range(20)), return_exceptions=True)
    assert made == 5
    reasons = [end.reason for end in ends if isinstance(end, errors.Error)]
    assert sorted(reasons) == ["CREDENTIALS_WRONG"] * 5 + ["SIGN_IN_LOCKED"] * 15


async def test_an_attempt_that_is_cut_off_has_failed(store: Store, clock: Clock) -> None:
    guard = LoginThrottle(store.attempts, AttemptLimits(account=AttemptLimit(1, MINUTE, MINUTE)))

    async def hang() -> None:
        async with guard.attempt("ada", "", clock):
            started.set()
            await asyncio.Event().wait()

    started = asyncio.Event()
    task = asyncio.create_task(hang())
    await started.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await fail(guard, clock, "ada", "") == "SIGN_IN_LOCKED"

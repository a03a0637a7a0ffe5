"""Throttling: how often attempts at an account and from an address may fail."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from moneyprinter import errors
from services.user.authentication.throttling import AttemptLimit, AttemptLimits, LoginThrottle
from services.user.store import Store
from tests.user.conftest import START, Clock

MINUTE = timedelta(minutes=1)
LIMIT = AttemptLimit(3, 5 * MINUTE, 15 * MINUTE)


def minutes(*numbers: float) -> list[datetime]:
    return [START + number * MINUTE for number in numbers]


@pytest.mark.parametrize(
    ("before", "now", "delay"),
    [
        ((), 0, None),
        ((0, 1), 1, None),
        ((0, 1, 2), 2, 15),
        ((0, 1, 2), 16.5, 0.5),
        ((0, 1, 2), 17, None),
        # Not within five minutes.
        ((0, 1, 5), 5, None),
        ((0, 1, 4.9), 5, 14.9),
        # Attempts before a lock are too old to count after it.
        ((0, 1, 2, 17), 17, None),
        ((2, 17, 18), 18, None),
        ((17, 18, 19), 19, 15),
        # The clocks of instances differ.
        ((0, 1, 2), 1, 16),
    ],
)
def test_after_too_many_failures_within_the_window_the_next_attempt_waits(
    before: tuple[float, ...], now: float, delay: float | None
) -> None:
    times, found = LIMIT.admit(minutes(*before), START + now * MINUTE)
    assert (found / MINUTE if found else None) == (pytest.approx(delay) if delay else None)
    assert len(times) <= max(3, len(before))


async def test_an_attempt_is_admitted_after_the_announced_delay(store: Store, clock: Clock) -> None:
    for _ in range(3):
        assert await store.attempts.begin("ada", LIMIT, clock()) is None
        clock.pass_by(MINUTE)
    assert await store.attempts.begin("ada", LIMIT, clock()) == 14 * MINUTE
    assert await store.attempts.retry_delay("ada", LIMIT, clock()) == 14 * MINUTE
    assert await store.attempts.begin("bob", LIMIT, clock()) is None
    clock.pass_by(14 * MINUTE)
    assert await store.attempts.retry_delay("ada", LIMIT, clock()) is None
    for _ in range(3):
        assert await store.attempts.begin("ada", LIMIT, clock()) is None
    assert await store.attempts.begin("ada", LIMIT, clock()) == 15 * MINUTE


async def test_concurrent_attempts_are_all_counted(store: Store, clock: Clock) -> None:
    delays = await asyncio.gather(*(store.attempts.begin("ada\0", LIMIT, clock()) for _ in range(20)))
    assert delays.count(None) == 3


async def test_attempts_are_withdrawn_and_cleared(store: Store, clock: Clock) -> None:
    for _ in range(3):
        await store.attempts.begin("ada", LIMIT, clock())
    await store.attempts.withdraw("ada", clock())
    assert await store.attempts.begin("ada", LIMIT, clock()) is None
    assert await store.attempts.begin("ada", LIMIT, clock())
    await store.attempts.withdraw("ada", clock() + MINUTE)
    assert await store.attempts.begin("ada", LIMIT, clock())
    await store.attempts.clear("ada")
    assert await store.attempts.begin("ada", LIMIT, clock()) is None
    await store.attempts.withdraw("nobody", clock())
    await store.attempts.clear("nobody")


async def fail(throttle: LoginThrottle, clock: Clock, name: str, address: str) -> str:
    """Make an attempt that fails; return the reason of the refusal."""
    with pytest.raises(errors.Error) as refused:
        async with throttle.attempt(name, address, clock):
            raise errors.Unauthenticated("wrong", reason="CREDENTIALS_WRONG")
    return refused.value.reason


async def test_an_address_that_tries_many_usernames_is_locked(store: Store, clock: Clock) -> None:
    throttle = LoginThrottle(store.attempts, AttemptLimits(address=LIMIT))
    for number in range(3):
        assert await fail(throttle, clock, f"name{number}", "203.0.113.7") == "CREDENTIALS_WRONG"
    assert await fail(throttle, clock, "name4", "203.0.113.7") == "SIGN_IN_LOCKED"
    assert await fail(throttle, clock, "name4", "203.0.113.8") == "CREDENTIALS_WRONG"
    # A household has many IPv6 addresses.
    for number in range(3):
        assert await fail(throttle, clock, f"other{number}", f"2001:db8::{number + 1}") == "CREDENTIALS_WRONG"
    assert await fail(throttle, clock, "other4", "2001:db8::ffff:1") == "SIGN_IN_LOCKED"
    assert await fail(throttle, clock, "other4", "2001:db8:0:1::1") == "CREDENTIALS_WRONG"
    clock.pass_by(15 * MINUTE)
    assert await fail(throttle, clock, "name5", "203.0.113.7") == "CREDENTIALS_WRONG"


async def test_refused_attempts_do_not_count_for_the_address(store: Store, clock: Clock) -> None:
    throttle = LoginThrottle(
        store.attempts, AttemptLimits(account=AttemptLimit(1, MINUTE, MINUTE), address=AttemptLimit(2, MINUTE, MINUTE))
    )
    assert await fail(throttle, clock, "ada", "203.0.113.7") == "CREDENTIALS_WRONG"
    for _ in range(5):
        assert await fail(throttle, clock, "ada", "203.0.113.7") == "SIGN_IN_LOCKED"
    async with throttle.attempt("bob", "203.0.113.7", clock):
        pass


async def test_many_concurrent_correct_attempts_are_all_admitted(store: Store, clock: Clock) -> None:
    throttle = LoginThrottle(store.attempts)
    done = 0

    async def try_it(name: str) -> None:
        nonlocal done
        async with throttle.attempt(name, "203.0.113.7", clock):
            await asyncio.sleep(0)
            done += 1

    await asyncio.gather(*(try_it("ada" if number % 2 else f"name{number}") for number in range(80)))
    assert done == 80


async def test_of_many_concurrent_wrong_attempts_only_the_limit_is_admitted(store: Store, clock: Clock) -> None:
    # Two instances of the service.
    throttles = [LoginThrottle(store.attempts), LoginThrottle(store.attempts)]
    admitted = 0

    async def try_it(number: int) -> None:
        nonlocal admitted
        async with throttles[number % 2].attempt("ada", f"203.0.113.{number}", clock):
            admitted += 1
            raise errors.Unauthenticated("wrong", reason="CREDENTIALS_WRONG")

    ends = await asyncio.gather(*(try_it(number) for number in range(20)), return_exceptions=True)
    assert admitted == 5
    reasons = [end.reason for end in ends if isinstance(end, errors.Error)]
    assert sorted(reasons) == ["CREDENTIALS_WRONG"] * 5 + ["SIGN_IN_LOCKED"] * 15


async def test_a_cancelled_attempt_counts_as_failed(store: Store, clock: Clock) -> None:
    throttle = LoginThrottle(store.attempts, AttemptLimits(account=AttemptLimit(1, MINUTE, MINUTE)))

    async def hang() -> None:
        async with throttle.attempt("ada", "", clock):
            started.set()
            await asyncio.Event().wait()

    started = asyncio.Event()
    task = asyncio.create_task(hang())
    await started.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await fail(throttle, clock, "ada", "") == "SIGN_IN_LOCKED"

"""The circuit breaker of providers: it opens at 5 failures within 60 s, or at once, and probes with one call."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from services.providers.breaker import Breaker
from services.providers.failures import FailureKind, ProviderFailure
from tests.providers.provider_server import Clock


def failure(kind: FailureKind = FailureKind.UNAVAILABLE, seconds: float | None = None) -> ProviderFailure:
    retry_after = None if seconds is None else timedelta(seconds=seconds)
    return ProviderFailure("acme", kind, "acme does not work", retry_after)


def fail(breaker: Breaker, cause: ProviderFailure) -> None:
    with pytest.raises(ProviderFailure), breaker.attempt():
        raise cause


def test_the_fifth_failure_within_a_minute_opens_it() -> None:
    clock = Clock()
    breaker = Breaker("acme", clock)
    for seconds in (0, 15, 15, 15, 16):
        clock.now += seconds
        fail(breaker, failure())
    assert breaker.state == "closed", "the first failure was 61 s ago"
    clock.now += 14
    fail(breaker, failure(FailureKind.TIMEOUT))
    assert (breaker.state, breaker.wait) == ("open", timedelta(seconds=30))
    with pytest.raises(ProviderFailure, match="not called for now: acme does not work") as refused:
        breaker.check()
    assert (refused.value.kind, refused.value.retry_after) == (FailureKind.TIMEOUT, timedelta(seconds=30))


@pytest.mark.parametrize("works", [True, False])
def test_after_half_a_minute_exactly_one_call_probes(works: bool) -> None:
    clock = Clock()
    breaker = Breaker("acme", clock)
    for _ in range(5):
        fail(breaker, failure())
    clock.now += 29.9
    with pytest.raises(ProviderFailure):
        breaker.check()
    clock.now += 0.1
    ticket = breaker.check()
    assert breaker.state == "half_open"
    with pytest.raises(ProviderFailure):
        breaker.check()
    if works:
        breaker.record_success(ticket)
        assert (breaker.state, breaker.reason, breaker.kind) == ("closed", "", None)
        fail(breaker, failure())
        assert breaker.state == "closed", "earlier failures no longer count"
    else:
        breaker.record_failure(failure(), ticket)
        assert (breaker.state, breaker.wait) == ("open", timedelta(seconds=30))


@pytest.mark.parametrize("kind", [FailureKind.UNAUTHORIZED, FailureKind.QUOTA_EXHAUSTED])
def test_a_refused_key_and_an_exhausted_quota_open_it_at_once(kind: FailureKind) -> None:
    breaker = Breaker("acme", Clock())
    fail(breaker, failure(kind))
    assert (breaker.state, breaker.kind, breaker.reason) == ("open", kind, "acme does not work")


@pytest.mark.parametrize(("asked", "pause"), [(5, 30), (90, 90), (1e7, 3600)])
def test_retry_after_lengthens_the_pause_up_to_an_hour(asked: float, pause: float) -> None:
    clock = Clock()
    breaker = Breaker("acme", clock)
    fail(breaker, failure(seconds=asked))
    assert (breaker.state, breaker.wait) == ("open", timedelta(seconds=pause))
    clock.now += pause
    assert breaker.check()


def test_a_refused_request_is_no_failure_of_the_provider() -> None:
    clock = Clock()
    breaker = Breaker("acme", clock)
    for _ in range(20):
        fail(breaker, failure(FailureKind.REFUSED))
    assert breaker.state == "closed"
    for _ in range(5):
        fail(breaker, failure())
    clock.now += 30
    fail(breaker, failure(FailureKind.REFUSED))
    assert breaker.state == "closed", "the probe was answered"


def test_a_cancelled_probe_makes_room_for_another() -> None:
    clock = Clock()
    breaker = Breaker("acme", clock)
    for _ in range(5):
        fail(breaker, failure())
    clock.now += 30
    with pytest.raises(asyncio.CancelledError), breaker.attempt():
        raise asyncio.CancelledError
    with breaker.attempt():
        pass
    assert breaker.state == "closed"


def test_outcomes_of_calls_from_before_it_opened_are_ignored() -> None:
    clock = Clock()
    breaker = Breaker("acme", clock)
    early = [breaker.check() for _ in range(7)]
    for ticket in early[:5]:
        breaker.record_failure(failure(), ticket)
    clock.now += 30
    probe = breaker.check()
    breaker.record_success(early[5])
    assert breaker.state == "half_open"
    breaker.record_failure(failure(), early[6])
    assert breaker.state == "half_open"
    breaker.record_success(probe)
    assert breaker.state == "closed"


def test_new_keys_close_it() -> None:
    breaker = Breaker("acme", Clock())
    fail(breaker, failure(FailureKind.UNAUTHORIZED))
    breaker.reset()
    with breaker.attempt():
        pass
    assert breaker.state == "closed"

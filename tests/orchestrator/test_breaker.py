"""The circuit breaker: five failures within a minute open it, half a minute later it admits one call."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.webhooks.breaker import Breaker


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened() -> tuple[Clock, Breaker]:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(5):
        ticket = breaker.admit()
        assert ticket is not None
        breaker.record_failure(ticket)
    assert breaker.state == "open"
    return clock, breaker


def test_five_failures_within_a_minute_open_the_breaker() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for seconds in (0, 15, 15, 15, 16):
        clock.now += seconds
        ticket = breaker.admit()
        assert ticket is not None
        breaker.record_failure(ticket)
    assert breaker.state == "closed", "the first was 61 s ago"
    clock.now += 14
    ticket = breaker.admit()
    assert ticket is not None
    breaker.record_failure(ticket)
    assert breaker.state == "open"
    assert breaker.admit() is None
    assert breaker.wait_seconds == 30.0


def test_after_half_a_minute_one_call_is_admitted() -> None:
    clock, breaker = opened()
    clock.now += 29.9
    assert breaker.admit() is None
    clock.now += 0.1
    probe = breaker.admit()
    assert probe is not None
    assert (breaker.admit(), breaker.state) == (None, "half_open")
    assert breaker.wait_seconds == 1.0
    breaker.record_failure(probe)
    assert (breaker.state, breaker.wait_seconds) == ("open", 30.0)
    clock.now += 30
    probe = breaker.admit()
    assert probe is not None
    breaker.record_success(probe)
    assert (breaker.state, breaker.wait_seconds) == ("closed", 0.0)
    assert breaker.admit() is not None


def test_a_probe_without_an_outcome_makes_room_for_another() -> None:
    clock, breaker = opened()
    clock.now += 30
    probe = breaker.admit()
    assert probe is not None
    breaker.release(probe)
    assert breaker.admit() is not None
    assert breaker.state == "half_open"


def test_outcomes_of_calls_from_before_it_opened_are_ignored() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    early = [breaker.admit() for _ in range(7)]
    for ticket in early[:5]:
        assert ticket is not None
        breaker.record_failure(ticket)
    clock.now += 30
    probe = breaker.admit()
    late = early[5]
    assert late is not None
    breaker.record_success(late)
    assert breaker.state == "half_open"
    breaker.record_failure(late)
    assert breaker.state == "half_open"
    assert probe is not None
    breaker.record_success(probe)
    assert breaker.state == "closed"


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["admit", "succeed", "fail", "abandon"])), max_size=60))
def test_it_never_stays_open_and_never_admits_two_probes(steps: list[tuple[float, str]]) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    failures: list[float] = []
    running: list[int] = []
    probes: list[int] = []
    for seconds, action in steps:
        clock.now += seconds
        before = breaker.state
        if action == "admit":
            ticket = breaker.admit()
            if ticket is None:
                assert before != "closed"
            elif before == "open":
                assert breaker.state == "half_open"
                assert clock.now - failures[-1] >= 30
                probes = [ticket]
            if ticket is not None:
                running.append(ticket)
        elif running:
            ticket = running.pop(0)
            if action == "succeed":
                breaker.record_success(ticket)
            elif action == "fail":
                counted = breaker.state
                breaker.record_failure(ticket)
                if breaker.state == "open" and counted != "open":
                    failures.append(clock.now)
            else:
                breaker.release(ticket)
        assert len(probes) <= 1
        assert 0.0 <= breaker.wait_seconds <= 30.0
    clock.now += 30
    for ticket in running:
        breaker.release(ticket)
    assert breaker.admit() is not None, "after half a minute a call is admitted, whatever was before"

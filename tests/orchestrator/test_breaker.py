"""The breaker: five failures within a minute open it, half a minute later one call tries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.webhooks.breaker import Breaker


class Clock:
    """Shows what it is told to."""

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
        breaker.failed(ticket)
    assert breaker.state == "open"
    return clock, breaker


def test_five_failures_within_a_minute_open_it() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for seconds in (0, 15, 15, 15, 16):
        clock.now += seconds
        ticket = breaker.admit()
        assert ticket is not None
        breaker.failed(ticket)
    assert breaker.state == "closed", "the first was 61 s ago"
    clock.now += 14
    ticket = breaker.admit()
    assert ticket is not None
    breaker.failed(ticket)
    assert breaker.state == "open"
    assert breaker.admit() is None
    assert breaker.wait_seconds == 30.0


def test_after_half_a_minute_one_call_tries() -> None:
    clock, breaker = opened()
    clock.now += 29.9
    assert breaker.admit() is None
    clock.now += 0.1
    probe = breaker.admit()
    assert probe is not None
    assert (breaker.admit(), breaker.state) == (None, "half_open")
    assert breaker.wait_seconds == 1.0
    breaker.failed(probe)
    assert (breaker.state, breaker.wait_seconds) == ("open", 30.0)
    clock.now += 30
    probe = breaker.admit()
    assert probe is not None
    breaker.succeeded(probe)
    assert (breaker.state, breaker.wait_seconds) == ("closed", 0.0)
    assert breaker.admit() is not None


def test_a_probe_that_comes_to_nothing_makes_room_for_another() -> None:
    clock, breaker = opened()
    clock.now += 30
    probe = breaker.admit()
    assert probe is not None
    breaker.abandoned(probe)
    assert breaker.admit() is not None
    assert breaker.state == "half_open"


def test_calls_from_before_it_opened_say_nothing_any_more() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    early = [breaker.admit() for _ in range(7)]
    for ticket in early[:5]:
        assert ticket is not None
        breaker.failed(ticket)
    clock.now += 30
    probe = breaker.admit()
    late = early[5]
    assert late is not None
    breaker.succeeded(late)
    assert breaker.state == "half_open"
    breaker.failed(late)
    assert breaker.state == "half_open"
    assert probe is not None
    breaker.succeeded(probe)
    assert breaker.state == "closed"


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["admit", "succeed", "fail", "abandon"])), max_size=60))
def test_it_never_stays_open_and_never_lets_two_try(steps: list[tuple[float, str]]) -> None:
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
                breaker.succeeded(ticket)
            elif action == "fail":
                counted = breaker.state
                breaker.failed(ticket)
                if breaker.state == "open" and counted != "open":
                    failures.append(clock.now)
            else:
                breaker.abandoned(ticket)
        assert len(probes) <= 1
        assert 0.0 <= breaker.wait_seconds <= 30.0
    clock.now += 30
    for ticket in running:
        breaker.abandoned(ticket)
    assert breaker.admit() is not None, "after half a minute somebody may try, whatever was before"

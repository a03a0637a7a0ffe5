"""Watchdog: which long steps fail a test."""

from __future__ import annotations

import pytest

from tests.watchdog import Step, repeated_steps

LONG = Step(0.07, "a handler")
FAR_TOO_LONG = Step(0.3, "another handler")


@pytest.mark.parametrize(
    ("steps", "before", "failing"),
    [
        ([], [LONG], []),
        ([LONG], [], []),
        ([LONG], [FAR_TOO_LONG], []),
        ([LONG], [LONG], [LONG]),
        ([LONG, LONG], [], [LONG, LONG]),
        ([LONG, Step(0.04, "a handler")], [], []),
        ([FAR_TOO_LONG], [], [FAR_TOO_LONG]),
    ],
)
def test_only_a_repeated_or_far_too_long_step_fails(steps: list[Step], before: list[Step], failing: list[Step]) -> None:
    assert repeated_steps(steps, before) == failing

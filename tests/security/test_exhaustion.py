"""Exhaustion: whatever one user holds or sends, the calls of another user succeed quickly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.security.bystander import Scene, Times, scene
from tests.security.exhaustion import ATTACKS

# The maximum duration of a call on a busy machine, in seconds.
QUICK_SECONDS = 2.0
# The same for a call that starts a child process, for example for speech or a probe.
WORK_SECONDS = 8.0
SLOWER = 5


@pytest.fixture(scope="module", params=[(), ("--processes",)], ids=["one process", "processes"])
async def attacked(
    request: pytest.FixtureRequest, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("exhaustion"), certificates, *request.param) as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
async def test_another_user_hardly_notices(attacked: Scene, name: str) -> None:
    times = Times()
    bystander = attacked.bystander
    async with attacked.attacked(name) as answers:
        await bystander.make_calls(times, {**bystander.quick_calls, **bystander.media_calls})
    longest = {call: round(max(seconds), 3) for call, seconds in times.seconds.items()}
    outcome = (name, answers, longest)
    print(*outcome)
    # Refusals have a message, and are no internal errors.
    assert '"500"' not in answers, outcome
    assert "INTERNAL" not in answers, outcome
    assert times.failures == [], outcome
    for calls, seconds in ((bystander.quick_calls, QUICK_SECONDS), (bystander.media_calls, WORK_SECONDS)):
        if (slowest := max(longest[call] for call in calls)) >= seconds:
            # Allow for a machine that is busy even without an attack.
            calm = Times()
            await bystander.make_calls(calm, calls)
            assert slowest < SLOWER * max(calm.seconds[call][0] for call in calls), outcome

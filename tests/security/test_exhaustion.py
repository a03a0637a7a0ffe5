"""Exhaustion: whatever one user holds or sends, the calls of another one succeed, and soon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.security.bystander import Scene, Times, scene
from tests.security.exhaustion import ATTACKS

ROUNDS = 2
# What a call may take, on a machine that has other things to do, too.
QUICK_SECONDS = 2.0
# The same where a program is started, such as one that speaks or reads a clip.
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
    calm, times = Times(), Times()
    await attacked.bystander.round(calm)
    async with attacked.attacked(name) as answers:
        for _ in range(ROUNDS):
            await attacked.bystander.round(times)
    longest = {call: round(max(seconds), 3) for call, seconds in times.seconds.items()}
    told = (name, answers, longest)
    print(*told)
    # What is refused is refused in words, and no defect.
    assert '"500"' not in answers, told
    assert "INTERNAL" not in answers, told
    assert times.failures == [], told
    for calls, seconds in ((attacked.bystander.quick, QUICK_SECONDS), (attacked.bystander.works, WORK_SECONDS)):
        # A machine that is busy without any attack, too, is given its time.
        busy = SLOWER * max(calm.seconds[call][0] for call in calls)
        assert max(longest[call] for call in calls) < max(seconds, busy), told

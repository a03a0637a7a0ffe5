"""Exhaustion: whatever one user holds or sends, the calls of another one succeed, and soon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.security.bystander import Scene, Times, scene
from tests.security.exhaustion import ATTACKS

ROUNDS = 3
# What a call may take, on a machine that has other things to do, too.
QUICK_SECONDS = 2.0
# The same where a program is started, such as one that speaks or reads a clip.
WORK_SECONDS = 8.0


@pytest.fixture(scope="module", params=[(), ("--processes",)], ids=["one process", "processes"])
async def attacked(
    request: pytest.FixtureRequest, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("exhaustion"), certificates, *request.param) as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
async def test_another_user_hardly_notices(attacked: Scene, name: str) -> None:
    times = Times()
    async with attacked.attacked(name) as answers:
        for _ in range(ROUNDS):
            await attacked.bystander.round(times)
    longest = {call: round(max(seconds), 3) for call, seconds in times.seconds.items()}
    print(name, answers, longest)
    # What is refused is refused in words, and no defect.
    assert '"500"' not in answers
    assert "INTERNAL" not in answers
    assert times.failures == [], (answers, longest)
    quick = {call: longest[call] for call in attacked.bystander.quick}
    assert max(quick.values()) < QUICK_SECONDS, (answers, longest)
    assert max(longest.values()) < WORK_SECONDS, (answers, longest)

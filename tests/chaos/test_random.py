"""The random faults of a seed are deterministic, and cover every process. `scripts/chaos --random` injects them."""

from __future__ import annotations

from services.runtime.config import SERVICES
from tests.chaos.random_faults import CHILD, KINDS, SERVERS, schedule


def test_a_seed_gives_the_same_faults_again() -> None:
    assert list(schedule(7, 600)) == list(schedule(7, 600))
    assert list(schedule(7, 600)) != list(schedule(8, 600))


def test_the_faults_cover_every_process() -> None:
    faults = [fault for seed in range(10) for fault in schedule(seed, 180)]
    assert {fault.target for fault in faults} == {*SERVICES, *SERVERS, CHILD, "worker", "platform"}
    assert {fault.action for fault in faults} == {action for _, action in KINDS}
    assert all(5 <= fault.at_seconds < 180 for fault in faults)

"""The scrubber: it finds every damaged object, repairs what can be made again, and goes on where it stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moneyprinter import errors
from services.storage import objects
from services.storage.blobs import ObstoreBlobs
from services.storage.damage import DamageMonitor
from services.storage.scrubber import Scrubber
from tests.mesh import Mesh
from tests.storage.damage import DAMAGE
from tests.storage.test_objects import CIPHERS, content, put


class Pauses:
    """The pauses of a scrubber, which pass at once."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


def scrubber(blobs: ObstoreBlobs, pauses: Pauses | None = None) -> Scrubber:
    return Scrubber(blobs, CIPHERS, DamageMonitor(blobs), 1e9, lambda: 1000.0, (pauses or Pauses()).sleep)


KEYS = ["assets/ast_1", "cache/audio/a", "cache/audio/b", "jobs/vid_1", "jobs/vid_1/1/video.mp4", "x" * 256]


async def test_all_objects_of_every_store_are_verified(blobs: ObstoreBlobs) -> None:
    for key in KEYS:
        await put(blobs, content(300_000), key)
    pauses = Pauses()
    verifying = scrubber(blobs, pauses)
    for _ in range(2):
        await verifying.make_pass()
        assert (verifying.state.verified, verifying.state.damaged, verifying.state.position) == (6, [], "")
        assert verifying.state.end_time == 1000.0
    await verifying.check()


async def test_the_names_of_every_store_are_listed_once_in_pages(blobs: ObstoreBlobs) -> None:
    keys = sorted([*KEYS, *(f"jobs/vid_{number}/{number}/a" for number in range(12)), "a.b", "a/b", "a"])
    for key in keys:
        await put(blobs, b"x", key)
    seen: list[str] = []
    while page := await blobs.names_after(seen[-1] if seen else "", 5):
        assert len(page) <= 5
        seen += page
    assert sorted(map(objects.key_of_blob, seen)) == keys, "each once, in the order of the store"


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name != "deleted"])
async def test_every_damage_is_found(local: ObstoreBlobs, root: Path, damage: str) -> None:
    for key in KEYS:
        await put(local, content(600_000), key)
    for key in ("cache/audio/a", "jobs/vid_1/1/video.mp4"):
        DAMAGE[damage](root / f"{key}!")
    verifying = scrubber(local)
    await verifying.make_pass()
    assert verifying.state.damaged == ["jobs/vid_1/1/video.mp4"]
    assert verifying.state.removed == 1
    with pytest.raises(errors.NotFound):
        await objects.head(local, CIPHERS, "cache/audio/a")
    with pytest.raises(errors.DataLoss, match=r"jobs/vid_1/1/video\.mp4"):
        await verifying.check()
    await put(local, content(600_000), "jobs/vid_1/1/video.mp4")
    await verifying.make_pass()
    await verifying.check()


async def test_a_deleted_original_is_no_longer_reported(local: ObstoreBlobs, root: Path) -> None:
    await put(local, b"x", "assets/ast_1")
    DAMAGE["footer"](root / "assets" / "ast_1!")
    verifying = scrubber(local)
    await verifying.make_pass()
    assert verifying.state.damaged == ["assets/ast_1"]
    await objects.delete(local, "assets/ast_1")
    await verifying.make_pass()
    assert verifying.state.damaged == []


async def test_a_new_instance_continues_where_another_stopped(local: ObstoreBlobs, root: Path) -> None:
    for key in KEYS:
        await put(local, content(300_000), key)
    DAMAGE["middle"](root / "assets" / "ast_1!")
    first = scrubber(local)
    await first.make_pass()
    first.state.position = objects.blob_name("cache/audio/b")
    await first._save()
    second = scrubber(local)
    second.state = await second._load()
    assert second.state.damaged == ["assets/ast_1"]
    second.state.verified = 0
    await second.make_pass()
    assert second.state.verified == 3, "only what follows the position"
    assert second.state.damaged == ["assets/ast_1"]


async def test_the_work_of_an_hour_is_bounded(local: ObstoreBlobs) -> None:
    for number in range(20):
        await put(local, content(1_000_000, number), f"jobs/vid_{number}/video.mp4")
    pauses = Pauses()
    await scrubber(local, pauses).make_pass()
    read = 20_000_000
    assert 0.7 <= pauses.seconds / (3600 * read / 1e9) <= 1.1


async def test_damaged_originals_are_in_the_health_of_the_service(storage: Mesh) -> None:
    stub: Any = health_pb2_grpc.HealthStub(storage.channel("storage", "grpc.health.v1.Health", caller="monitoring"))
    found = await stub.Check(health_pb2.HealthCheckRequest(service="objects"))
    assert found.status == health_pb2.HealthCheckResponse.SERVING

"""Damaged objects: those that can be made again are deleted and not found; originals are reported and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from moneyprinter import errors
from tests.mesh import Mesh
from tests.storage.damage import DAMAGE
from tests.storage.test_objects import content

SIZE = 3_000_000


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("read_first", [True, False])
async def test_a_damaged_object_of_the_cache_is_deleted_and_not_found(
    storage: Mesh, tmp_path: Path, damage: str, read_first: bool
) -> None:
    objects, key = storage.objects(), "cache/audio/speech.wav"
    stored = await objects.put_bytes(key, content(SIZE))
    path = tmp_path / "objects" / f"{key}!"
    DAMAGE[damage](path)
    if read_first:
        with pytest.raises(errors.NotFound) as found:
            await objects.get_file(stored, tmp_path / "out")
        assert found.value.reason == "OBJECT_NOT_FOUND"
        assert await objects.head(key) is None
    elif damage not in ("first byte", "middle"):
        assert await objects.head(key) is None, "its description is damaged"
    assert await objects.put_bytes(key, content(SIZE)) == stored, "it is made again"
    await objects.get_file(stored, tmp_path / "again")


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name != "deleted"])
@pytest.mark.parametrize("key", ["assets/ast_1", "jobs/vid_1/1/video.mp4"])
async def test_a_damaged_original_is_reported_and_kept(storage: Mesh, tmp_path: Path, damage: str, key: str) -> None:
    objects = storage.objects()
    stored = await objects.put_bytes(key, content(SIZE))
    path = tmp_path / "objects" / f"{key}!"
    DAMAGE[damage](path)
    for number in range(2):
        with pytest.raises(errors.DataLoss) as found:
            await objects.get_file(stored, tmp_path / f"out-{number}")
        assert found.value.reason == "DATA_CORRUPT"
    assert path.exists(), "a part of it may still be usable"


async def test_damage_is_counted(storage: Mesh, tmp_path: Path) -> None:
    from prometheus_client import REGISTRY

    objects = storage.objects()
    for key in ("cache/a", "assets/b"):
        await objects.put_bytes(key, b"content")
        DAMAGE["footer"](tmp_path / "objects" / f"{key}!")
        try:
            await objects.head(key)
        except errors.DataLoss:
            assert key == "assets/b"
    for kind in ("cache", "assets"):
        assert REGISTRY.get_sample_value("moneyprinter_storage_damaged_objects", {"kind": kind}) == 1

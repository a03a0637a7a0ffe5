"""Sources in plaintext are removed within a minute after their last use."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.processing.config import Config
from services.processing.source_cache import SourceCache
from tests.processing.test_segments import Folder, StoredFile, folder, store_file

__all__ = ["folder"]


async def test_an_unused_source_is_removed(folder: Folder, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    sources: SourceCache[StoredFile] = SourceCache(folder, cache, 1 << 20, keep_seconds=0.2)
    await sources.link(store_file(folder, "a"), tmp_path / "one")
    assert [path.name for path in cache.iterdir()] == ["a"]
    async with asyncio.timeout(20):
        while list(cache.iterdir()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # The link of a segment stays; the next segment fetches the source again.
    assert (tmp_path / "one").exists()
    await sources.link(store_file(folder, "a"), tmp_path / "two")
    assert folder.fetched == ["a", "a"]


async def test_a_used_source_stays(folder: Folder, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    sources: SourceCache[StoredFile] = SourceCache(folder, cache, 1 << 20, keep_seconds=60.0)
    source = store_file(folder, "a")
    for number in range(5):
        await sources.link(source, tmp_path / f"link{number}")
    assert folder.fetched == ["a"]


def test_sources_stay_for_less_than_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config().source_seconds <= 30
    monkeypatch.setenv("MONEYPRINTER_PROCESSING_SOURCE_SECONDS", "61")
    with pytest.raises(ValidationError):
        Config()

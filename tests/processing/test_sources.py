"""Clips in plaintext do not outlive their use: deleted ones are gone within a minute."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.processing.config import Config
from services.processing.source_cache import SourceCache
from tests.processing.test_segments import Folder, Kept, folder, kept

__all__ = ["folder"]


async def test_what_no_segment_asks_for_is_removed(folder: Folder, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    sources: SourceCache[Kept] = SourceCache(folder, cache, 1 << 20, keep_seconds=0.2)
    await sources.link(kept(folder, "a"), tmp_path / "one")
    assert [path.name for path in cache.iterdir()] == ["a"]
    async with asyncio.timeout(20):
        while list(cache.iterdir()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # What a segment has, it keeps; the next one fetches it again.
    assert (tmp_path / "one").exists()
    await sources.link(kept(folder, "a"), tmp_path / "two")
    assert folder.fetched == ["a", "a"]


async def test_what_is_asked_for_stays(folder: Folder, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    sources: SourceCache[Kept] = SourceCache(folder, cache, 1 << 20, keep_seconds=60.0)
    source = kept(folder, "a")
    for number in range(5):
        await sources.link(source, tmp_path / f"link{number}")
    assert folder.fetched == ["a"]


def test_it_is_less_than_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config().source_seconds <= 30
    monkeypatch.setenv("MONEYPRINTER_PROCESSING_SOURCE_SECONDS", "61")
    with pytest.raises(ValidationError):
        Config()

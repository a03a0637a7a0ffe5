"""Stored answers: what a writer or a search has answered is not called for again by another instance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.config.config import Config as SecretsConfig
from services.content.footage.clips import FootageClip, FootageQuery
from services.content.footage.pool import FootagePool, StoredResults
from services.content.scripts.writing import Script, WritingOptions, complete_script, write_script
from services.content.writers.cache import MAX_AGE_SECONDS
from services.content.writers.pool import WriterPool
from services.content.writers.prompts import ScriptTask
from services.content.writers.script_writing import write_about
from services.content.writers.stored_answers import StoredAnswers
from services.providers.credentials import Credentials
from services.storage.config import Config as StorageConfig
from tests.mesh import Mesh
from tests.providers.footage_servers import KEYS, PexelsServer, pexels_video
from tests.providers.model_servers import KEY, AnthropicServer

TASK = ScriptTask("Why the sea is salty", "en", WritingOptions(seconds=30))


@pytest.fixture
async def server() -> AsyncIterator[Any]:
    async with AnthropicServer() as running:
        yield running
        assert running.violations == []


async def write(server: AnthropicServer, stored: StoredAnswers) -> Script:
    """Write the script with a new instance of the writers."""
    pool = WriterPool(("anthropic",), stored=stored)
    try:
        await pool.providers.replace({"anthropic": Credentials((KEY,), server.url)})
        return await write_about(
            pool, TASK, "", lambda: complete_script(write_script(TASK.topic, None, "en"), TASK.topic, TASK.options)
        )
    finally:
        await pool.aclose()


async def test_another_instance_reads_what_one_has_paid_for(mesh: Mesh, server: Any, tmp_path: Path) -> None:
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", StorageConfig(root=tmp_path / "objects"))
    seconds = 1_800_000_000.0
    stored = StoredAnswers(mesh.objects("content"), lambda: seconds)
    first = await write(server, stored)
    again = await write(server, stored)
    assert (again.sentences, again.scenes, again.writer) == (first.sentences, first.scenes, "anthropic")
    assert (bool(first.tokens), again.tokens, len(server.prompts)) == (True, (), 1)
    seconds += MAX_AGE_SECONDS + 1
    await write(server, stored)
    assert len(server.prompts) == 2, "after a day it is written again"


async def test_without_storage_scripts_are_written(mesh: Mesh, server: Any) -> None:
    script = await write(server, StoredAnswers(mesh.objects("content")))
    assert (script.writer, len(server.prompts)) == ("anthropic", 1)


async def test_another_instance_reads_the_searches_of_one(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", StorageConfig(root=tmp_path / "objects"))
    seconds = 1_800_000_000.0

    async def search(words: str, *hosts: str) -> list[FootageClip]:
        """Search with a new instance."""
        allowed = {"pexels": hosts} if hosts else {}
        pool = FootagePool(hosts=allowed, stored=StoredResults(mesh.objects("content"), lambda: seconds))
        try:
            await pool.providers.replace({"pexels": Credentials(KEYS[:1], pexels.url)})
            [source] = await pool.find_sources()
            return list(await source.search(FootageQuery(words)))
        finally:
            await pool.providers.aclose()

    async with PexelsServer({"sea waves": [pexels_video(7)]}) as pexels:
        found = await search("sea waves")
        assert found[0].credit
        assert found == await search("sea waves")
        assert pexels.searches == ["sea waves"]
        assert await search("sea waves", "files.example.com") == [], "another host may serve no file of it"
        assert await search("robots") == []
        assert await search("robots") == []
        assert pexels.searches == ["sea waves", "sea waves", "robots"]
        seconds += MAX_AGE_SECONDS + 1
        assert await search("sea waves") == found
        assert len(pexels.searches) == 4

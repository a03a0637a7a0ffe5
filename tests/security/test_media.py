"""Media: every hostile file is refused as an error of its sender, or is valid media."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from services.runtime import children
from services.validation.config import Config
from tests.security import hostile
from tests.security.traps import CANARY, Trap
from tests.validation.footage import Footage

REASONS = {"CLIP_NOT_PLAYABLE", "CLIP_TOO_LARGE"}
SETTINGS = Config()
# Additional seconds for a busy machine.
MORE_SECONDS = 10
STEADY_BYTES = 32 << 20


def test_there_are_enough() -> None:
    assert len(set(hostile.FILES) - hostile.HONEST - hostile.EITHER) >= 60


async def test_every_hostile_file_is_refused_or_valid(certificates: Path, tmp_path: Path) -> None:
    """In one test, because the resource usage is measured for a process of its own."""
    (tmp_path / "footage").mkdir()
    (tmp_path / "files").mkdir()
    async with Trap() as trap:
        files = await asyncio.to_thread(
            hostile.write_files, tmp_path / "files", Footage(tmp_path / "footage"), trap.port
        )
        command: list[str | Path] = [sys.executable, "-m", "tests.security.reading", certificates, tmp_path, *files]
        limits = children.Limits(memory_bytes=0, cpu_seconds=300, wall_seconds=300)
        output = await children.run(command, limits=limits)
        assert trap.connections == 0
    *found, whole = (json.loads(line) for line in output.splitlines())
    assert [each["name"] for each in found] == list(hostile.FILES)
    for each in found:
        _check(each)
        assert each["name"] not in hostile.HONEST or not each["error"], each
    assert str(tmp_path) not in "".join(each["message"] for each in found)
    assert CANARY not in output.decode() and "root:" not in output.decode()
    assert '"event": "defect"' not in whole["log"]
    # Accepted files are rendered, or fail with a reason. No process and no file remains.
    assert set(whole["rendered"].values()) <= {"", "RENDER_FAILED"}
    assert all(whole["rendered"][name] == "" for name in hostile.HONEST)
    assert (whole["children"], whole["left"]) == (0, [])
    assert whole["grown"] < STEADY_BYTES


def _check(each: dict[str, Any]) -> None:
    if each["error"]:
        assert (each["error"], each["reason"] in REASONS) == ("InvalidArgument", True), each
        assert each["message"].startswith("the clip cannot be used: "), each
    else:
        assert each["name"] in hostile.HONEST | hostile.EITHER, each
        assert 0 < each["pixels"] <= SETTINGS.max_still_pixels and each["length"] <= SETTINGS.max_duration_seconds
    assert each["largest_child"] <= SETTINGS.probe_memory_bytes == 512 << 20, each
    assert each["seconds"] <= SETTINGS.probe_seconds + MORE_SECONDS, each

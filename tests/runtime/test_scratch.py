"""The folders of work in progress: an instance's own while it lives, and gone soon after, however it ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.runtime import scratch
from services.runtime.config import RuntimeConfig
from services.runtime.scratch import Scratch
from services.runtime.server import Runtime, run_service
from tests.mesh import Mesh

# Makes a folder with a file, prints `ready`, and lives until it is killed.
LEFT = """
import sys
from pathlib import Path
from services.runtime.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]), sys.argv[2])
(scratch.folder() / "clip").write_text("secret")
print("ready", flush=True)
sys.stdin.read()
"""


def files(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.is_file()]


@asynccontextmanager
async def another_process(root: Path, service: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    process = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-c", LEFT, str(root), service],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


@asynccontextmanager
async def _nothing(_: None, runtime: Runtime) -> AsyncIterator[None]:
    yield


async def test_the_files_of_a_killed_process_are_removed_at_the_start_of_any_service(config: RuntimeConfig) -> None:
    root = config.scratch
    async with another_process(root, "processing") as killed, another_process(root, "audio"):
        killed.kill()
        await asyncio.to_thread(killed.wait)
        assert files(root) == ["clip", "clip"]
        async with run_service("content", config, wire=_nothing):
            [left] = root.iterdir()
            assert left.name.startswith("audio-")
            assert files(root) == ["clip"]


async def test_a_reused_pid_does_not_keep_the_folder_of_a_dead_process(tmp_path: Path) -> None:
    async with another_process(tmp_path, "processing"):
        [folder] = tmp_path.iterdir()
    # Killed; as if this process had got its pid.
    folder.rename(tmp_path / f"processing-{os.getpid()}-{folder.name.rpartition('-')[2]}")
    scratch.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_instances_of_one_process_leave_each_others_files_alone(config: RuntimeConfig) -> None:
    async with Mesh(config) as mesh:
        first = await mesh.start("audio", None, _nothing)
        async with first.scratch() as folder:
            (folder / "clip").write_text("x")
            async with mesh.another("audio", _nothing) as second, second.scratch() as other:
                (other / "clip").write_text("y")
            assert files(config.scratch) == ["clip"]
            assert (folder / "clip").read_text() == "x"
    assert list(config.scratch.iterdir()) == []


async def test_a_folder_of_a_version_without_locks_is_kept_while_its_pid_exists(tmp_path: Path) -> None:
    async with another_process(tmp_path / "other", "audio") as alive:
        for name in (f"audio-{alive.pid}", f"audio-{os.getpid()}", "audio-4194305"):
            (tmp_path / name).mkdir()
        scratch.clear(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"other", f"audio-{alive.pid}"}


@pytest.mark.parametrize("name", ["notes", "audio", "audio-x", "nothing-12-abc", "audio-1-a.b"])
def test_other_files_in_the_root_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    scratch.clear(tmp_path)
    assert (tmp_path / name).is_dir()


def test_no_folder_is_created_before_its_first_use(tmp_path: Path) -> None:
    scratch.clear(tmp_path / "none")
    kept = Scratch(tmp_path / "none", "user")
    kept.close()
    assert not (tmp_path / "none").exists()

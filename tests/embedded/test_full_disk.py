"""On a full disk `up` reports it in one line and leaves no process; a disk that fills later degrades the platform."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from services.embedded import supervisor
from services.runtime.children import run
from tests.stored import wait_until
from tests.up import assert_all_end, up

VIDEO = {
    "title": "A video",
    "clips": [{"colour": "#203040", "duration": 1}],
    "audio": {"script": "One two."},
    "settings": {"resolution": "480p", "quality": "draft"},
}


# Not `preexec_fn`: its fork runs gRPC's handlers in the child, which abort it when this process has gRPC threads.
LIMITED = """
import os, resource, sys
size, *command = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
os.execv(command[0], command)
"""


async def run_up(data: Path, *, file_bytes: int | None = None) -> tuple[int, str]:
    """Run `up` with a limit on the size of a file; return its exit code and its output."""
    command = (sys.executable, "-P", "-m", "services.cli", "up", "--data", str(data), "--port", "0")
    limited = () if file_bytes is None else (sys.executable, "-c", LIMITED, str(file_bytes))
    process = await asyncio.create_subprocess_exec(
        *limited, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode is not None
    return process.returncode, printed.decode()


@pytest.mark.parametrize("file_bytes", [0, 100, 20_000, 2_000_000])
async def test_up_on_a_full_disk_prints_one_line(tmp_path: Path, file_bytes: int) -> None:
    """The start fails at the lock, at its own files, or at the database."""
    code, printed = await run_up(tmp_path / "data", file_bytes=file_bytes)
    assert code == 1
    [line] = printed.strip().splitlines()
    assert line.startswith("error:") and "is full" in line
    code, printed = await run_up(tmp_path / "data", file_bytes=file_bytes)
    assert code == 1 and "Traceback" not in printed


@asynccontextmanager
async def small_disk(folder: Path, size: str) -> AsyncIterator[Path]:
    """Mount a disk of a size in a folder while the context is open."""
    small = folder / "small"
    small.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts a small disk")
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(small))
    if await mount.wait():
        pytest.skip("this root may not mount")
    try:
        yield small
    finally:
        await (await asyncio.create_subprocess_exec("umount", "--lazy", str(small))).wait()


async def test_up_on_a_small_disk_reports_how_much_it_needs(tmp_path: Path) -> None:
    async with small_disk(tmp_path, "1m") as small:
        code, printed = await run_up(small / "data")
        assert code == 1 and len(printed.strip().splitlines()) == 1
        assert "MB are free" in printed


async def test_a_platform_refuses_work_while_its_disk_is_full_and_continues_afterwards(tmp_path: Path) -> None:
    async with small_disk(tmp_path, "400m") as small, up(small / "data") as running:
        command = [sys.executable, "-P", "-m", "services.cli", "token", "--data", str(small / "data")]
        token = (await run(command)).decode().strip()
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=30) as client:
            fill = small / "fill"
            with fill.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(1 << 20)):
                    pass
            jobs, reasons = [], set()
            for number in range(20):
                for answer in (
                    await client.post("/v1/videos", json={**VIDEO, "title": f"Video {number}"}),
                    await client.post("/v1/assets?filename=a.bin", content=os.urandom(300_000)),
                ):
                    code = answer.status_code
                    assert code in (201, 202, 429, 503), answer.text
                    assert code < 300 or answer.headers.get("retry-after") or code == 429, answer.text
                    if code == 202:
                        jobs.append(answer.json()["job_id"])
                    elif code != 201:
                        reasons.add(answer.json()["details"][0]["reason"])
            assert "STORAGE_FULL" in reasons
            fill.unlink()
            # NATS has switched off JetStream meanwhile, and the supervisor restarts it.
            async with asyncio.timeout(180):
                while (made := await client.post("/v1/videos", json=VIDEO)).status_code != 202:  # noqa: ASYNC110
                    await asyncio.sleep(1)
                jobs.append(made.json()["job_id"])
                for job in jobs:
                    while (found := (await client.get(f"/v1/videos/{job}/status")).json())["status"] == "processing":  # noqa: ASYNC110
                        await asyncio.sleep(0.5)
                    if job == jobs[-1]:
                        assert found["status"] == "completed", found
        assert await running.stop() == 0


async def test_the_services_go_on_when_their_log_cannot_be_written(tmp_path: Path) -> None:
    """All services run in one process, whose log grows with every call."""
    async with up(tmp_path) as running:
        command = [sys.executable, "-P", "-m", "services.cli", "token", "--data", str(tmp_path)]
        token = (await run(command)).decode().strip()
        process = psutil.Process(running.process.pid)
        log = tmp_path / "logs" / "services.log"
        before = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (log.stat().st_size + 10, before[1]))
        async with httpx.AsyncClient(base_url=running.url, headers={"authorization": f"Bearer {token}"}) as client:
            # Each refusal is logged.
            answers = await asyncio.gather(*(client.get(f"/v1/videos/vid_{number}") for number in range(60)))
            assert {answer.status_code for answer in answers} == {404}
            process.rlimit(psutil.RLIMIT_FSIZE, before)
            assert (await client.get("/v1/videos/vid_1")).status_code == 404
        await wait_until(lambda: '"log lines lost"' in log.read_text())
        children = running.children()
        assert await running.stop() == 0
    await assert_all_end(children)


async def test_the_logs_of_running_servers_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES", 1000)
    monkeypatch.setattr(supervisor, "LOG_PAUSE_SECONDS", 0.01)
    path = tmp_path / "server.log"
    bounding = asyncio.create_task(supervisor.bound_logs(tmp_path))
    with supervisor.open_log(path) as file:
        for _ in range(50):
            file.write(b"x" * 99 + b"\n")
            file.flush()
            await asyncio.sleep(0.005)
        await wait_until(lambda: path.stat().st_size <= 1000)
        file.write(b"the end\n")
        file.flush()
    bounding.cancel()
    assert path.read_bytes().endswith(b"the end\n") and b"\0" not in path.read_bytes()
    assert (tmp_path / "server.old.log").stat().st_size <= 6000

"""`moneyprinter up` runs the whole platform, reports that in one line, and leaves no process when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import ssl
import sys
from pathlib import Path

import httpx
import pytest

from services.embedded import data_folder
from services.runtime.children import run
from tests.up import assert_all_end, up

ACCOUNT = re.compile(r"First account: (\S+), password: (\S+) \(stored in (.+)\)\n")


async def health(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{url}/health")


async def test_the_platform_starts_stops_and_starts_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with up(data) as first:
        account, _ready = first.lines
        found = ACCOUNT.fullmatch(account)
        assert found is not None
        assert json.loads((data / "first-account").read_text()) == {"username": found[1], "password": found[2]}
        assert found[3] == str(data / "first-account")
        assert (await health(first.url)).status_code == 200
        assert data_folder.find_platform(data) == data_folder.RunningPlatform(first.process.pid, first.url)
        children = first.children()
        assert {"postgres", "nats-server", "valkey-server", "envoy"} <= {child.name() for child in children}
        assert await first.stop() == 0
    await assert_all_end(children)
    assert data_folder.find_platform(data) is None
    readable = [path for path in data.iterdir() if path.stat().st_mode & 0o077]
    assert not readable, "the owner alone reads what is in the folder"
    async with up(data) as second:
        assert len(second.lines) == 1, "the first account is printed once"
        children = second.children()
        os.killpg(second.process.pid, signal.SIGKILL)
        await second.process.wait()
        # At once, while what was killed may still be stopping.
        async with up(data) as third:
            assert await third.stop(signal.SIGTERM) == 0
    await assert_all_end(children)


async def test_of_several_simultaneous_starts_one_runs_and_the_others_are_refused(tmp_path: Path) -> None:
    command = (sys.executable, "-P", "-m", "services.cli", "up", "--data", str(tmp_path / "data"), "--port", "0")
    pipe = asyncio.subprocess.PIPE
    started = [
        await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT) for _ in range(3)
    ]
    printed = {asyncio.create_task(process.communicate()): process for process in started}
    try:
        async with asyncio.timeout(120):
            waiting = set(printed)
            while len(waiting) > 1:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    [line] = task.result()[0].decode().splitlines()
                    assert re.match(r"error: a platform (already runs|is already starting) on .+", line)
                    assert printed[task].returncode == 1
            while data_folder.find_platform(tmp_path / "data") is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            [last] = waiting
            printed[last].send_signal(signal.SIGINT)
            await last
            assert "Traceback" not in last.result()[0].decode()
    finally:
        for task, process in printed.items():
            if process.returncode is None:
                process.kill()
            await task


async def test_each_service_runs_in_its_own_process(tmp_path: Path) -> None:
    async with up(tmp_path, "--processes") as running:
        children = running.children()
        [content] = [child for child in children if child.cmdline()[-2:] == ["serve", "content"]]
        content.kill()
        await assert_all_end([content])
        assert (await health(running.url)).status_code == 200
        assert await running.stop() == 0
    await assert_all_end(children)


async def test_clients_and_commands_use_tls(tmp_path: Path) -> None:
    async with up(tmp_path, "--tls") as running:
        assert running.url.startswith("https://")
        assert data_folder.find_platform(tmp_path) == data_folder.RunningPlatform(running.process.pid, running.url)
        trusting = ssl.create_default_context(cafile=str(tmp_path / "certificates" / "ca.pem"))
        async with httpx.AsyncClient(base_url=running.url, verify=trusting) as client:
            command = [sys.executable, "-P", "-m", "services.cli", "token", "--data", str(tmp_path)]
            token = (await run(command)).decode().strip()
            answer = await client.get("/v1/videos", headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await health(running.url.replace("https", "http"))
        assert await running.stop() == 0


async def test_a_second_ctrl_c_ends_the_platform_at_once(tmp_path: Path) -> None:
    async with up(tmp_path) as running:
        children = running.children()
        running.process.send_signal(signal.SIGINT)
        running.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            assert await running.process.wait() in (0, 130)
    await assert_all_end(children)


async def test_a_platform_runs_in_a_folder_of_any_name(tmp_path: Path) -> None:
    data = tmp_path / f'mü ller\'s "dätä" \\ 你好 #%$HOME{{x}} {"x" * 120}' / "p"
    data.parent.mkdir()
    async with up(data) as running:
        assert (await health(running.url)).json()["status"] == "healthy"
        account = json.loads((data / "first-account").read_text())
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
            token = (await client.post("/v1/auth/sign-in", json=account)).json()["access_token"]
            client.headers["authorization"] = f"Bearer {token}"
            spoken = await client.post("/v1/speech", json={"text": "Hello."})
            assert (spoken.status_code, spoken.content[:4]) == (200, b"RIFF")
            body = {"script": "Hello.", "duration": 1.0, "format": "ass", "width": 640, "height": 360}
            captions = await client.post("/v1/captions", json=body)
            assert "Dialogue:" in captions.text

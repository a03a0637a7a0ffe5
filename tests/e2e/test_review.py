"""The owner reviews a script, over REST and in the terminal, before it is spoken and rendered."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.up import up

REQUEST: dict[str, Any] = {
    "title": "The sea",
    "clips": [{"colour": "#203040"}],
    "audio": {"script": "The sea is warm."},
    "settings": {"resolution": "480p", "quality": "draft"},
    "review": "script",
}


@asynccontextmanager
async def platform(data: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A platform on a data folder, and a client of its first account."""
    async with up(data) as running, httpx.AsyncClient(base_url=running.url, timeout=30) as http:
        tokens = await http.post("/v1/auth/sign-in", json=json.loads((data / "first-account").read_text()))
        http.headers["authorization"] = f"Bearer {tokens.json()['access_token']}"
        yield http


async def follow(http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """Follow a job until it has ended or waits for a review, and return its status."""
    async with asyncio.timeout(60), http.stream("GET", f"/v1/videos/{job_id}/watch") as updates:
        async for line in updates.aiter_lines():
            status: dict[str, Any] = json.loads(line.removeprefix("data:"))["status"] if "data:" in line else {}
            if status and (status["status"] != "processing" or status.get("review")):
                return status
    raise AssertionError("the stream ended before the job")


async def run_command(data: Path, *arguments: str | Path, typed: str = "", editor: str = "") -> str:
    """Run the command with typed input, and return its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.cli", *map(str, arguments), "--data", str(data)),
        env={"PATH": os.environ["PATH"], "XDG_STATE_HOME": str(data), "EDITOR": editor, "TMPDIR": str(data)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(90):
            output, _ = await process.communicate(typed.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert b"Traceback" not in output, output.decode()
    return output.decode()


async def test_a_script_is_reviewed_across_a_restart_and_in_the_terminal(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with platform(data) as http:
        job_id = (await http.post("/v1/videos", json=REQUEST)).json()["job_id"]
        status = await follow(http, job_id)
        assert (status["review"]["state"], status["stages"]["audio_generation"]) == ("awaiting_review", "pending")
    async with platform(data) as http:
        video = (await http.get(f"/v1/videos/{job_id}")).json()["video"]
        assert video["review"]["state"] == "awaiting_review"
        assert [scene["script"] for scene in video["scenes"]] == ["The sea is warm."]
        edits = {"scenes": [{"script": "The sea is cold."}]}
        refused = await http.post(f"/v1/videos/{job_id}/approve", json={"scenes": [*edits["scenes"], *edits["scenes"]]})
        assert (refused.status_code, "REQUEST_INVALID" in refused.text) == (400, True)
        for _ in range(2):
            assert (await http.post(f"/v1/videos/{job_id}/approve", json=edits)).status_code == 200
        assert (await follow(http, job_id))["status"] == "completed"
        assert "The sea is cold." in (await http.get(f"/v1/videos/{job_id}/files/captions.srt")).text

        out = tmp_path / "sea.mp4"
        small = ("--resolution", "480p", "--quality", "draft", "--script", "The sea is warm.")
        (tmp_path / "request.json").write_text(json.dumps({"clips": REQUEST["clips"]}))
        make = ("make", "--review", tmp_path / "request.json", "--title", "Sea", *small, "--out", out)
        shown = await run_command(data, *make, typed="e\na\n", editor="sed -i s/warm/deep/")
        assert "The sea is warm." in shown
        assert "The sea is deep." in shown
        assert "The sea is deep." in (tmp_path / "sea.srt").read_text()

        left = await run_command(data, *make)
        [waiting] = set(re.findall(r"vid_\w+", left))
        assert f"moneyprinter approve {waiting}" in left
        assert "in review" in await run_command(data, "status")
        assert "The sea is warm." in await run_command(data, "status", waiting)
        (tmp_path / "better.txt").write_text("The sea is calm.")
        assert "is approved" in await run_command(data, "approve", waiting, "--script", tmp_path / "better.txt")
        assert "is completed" in await run_command(data, "watch", waiting)

"""The command line: one command makes a video, and an interruption loses no job and leaves no process or file."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from services.commands.actions import make
from services.commands.actions.request_files import Clip, parse_clip
from tests import media
from tests.e2e.conftest import RunningPlatform
from tests.up import Up, assert_all_end, up
from tests.variables import VARIABLES

SCRIPT = "One short sentence is enough."
LONG_SCRIPT = "This sentence is spoken again and again, so that the video is long. " * 4
# A killed platform holds its jobs until their leases expire.
SOON = {f"MONEYPRINTER_ORCHESTRATOR_{name}_SECONDS": "2" for name in ("LEASE", "RECONCILE")}


async def moneyprinter(*arguments: str | Path) -> tuple[int, str]:
    """Run the command to its end. Returns its exit code and its output."""
    async with start_command(*arguments) as process:
        async with asyncio.timeout(120):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()


@asynccontextmanager
async def start_command(*arguments: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.cli", *map(str, arguments)),
        env={"PATH": os.environ["PATH"], "COLUMNS": "200", **VARIABLES},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def options(data: Path, clip: Path, out: Path, script: str = SCRIPT) -> Sequence[str | Path]:
    small = ("--resolution", "480p", "--quality", "draft", "--music", "upbeat")
    return ("make", "--data", data, "--clip", clip, "--script", script, "--out", out, *small)


async def test_one_command_makes_a_video_and_stops_its_platform(tmp_path: Path, clip: Path) -> None:
    out = tmp_path / "made.mp4"
    code, output = await moneyprinter(*options(tmp_path / "data", Path(f"{clip}@0.5-2.5"), out))
    assert code == 0, output
    assert re.search(r"Made .*made\.mp4: [\d.]+ s, [\d.]+ MB, in [\d.]+ s", output)
    for stage in make.STAGES.values():
        assert stage in output
    video = media.probe(out)
    assert (video.width, video.height, video.has_audio) == (854, 480, True)
    mine = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    assert not mine


async def test_commands_use_a_running_platform(platform: RunningPlatform, tmp_path: Path, clip: Path) -> None:
    data, out, title = platform.data, tmp_path / "made.mp4", f"From {tmp_path.name}"
    request = tmp_path / "request.json"
    request.write_text(
        json.dumps(
            {
                "title": title,
                "clips": [{"url": str(clip), "start_time": "00:00:01"}],
                "audio": {"script": SCRIPT},
                "settings": {"resolution": "480p", "quality": "draft", "aspect_ratio": "1:1"},
            }
        )
    )
    code, output = await moneyprinter("make", request, "--data", data, "--out", out)
    assert code == 0, output
    assert (media.probe(out).width, media.probe(out).height) == (480, 480)
    code, listed = await moneyprinter("status", "--data", data, "--wide", "--limit", "1")
    assert code == 0
    assert title in listed
    [job_id] = re.findall(r"vid_\w+", listed)
    code, shown = await moneyprinter("status", job_id, "--data", data)
    assert "completed" in shown
    code, token = await moneyprinter("token", "--data", data)
    async with httpx.AsyncClient(base_url=platform.url) as client:
        answer = await client.get("/v1/videos?page_size=1", headers={"authorization": f"Bearer {token.strip()}"})
    assert [video["job_id"] for video in answer.json()["videos"]] == [job_id]
    code, output = await moneyprinter("status", "vid_none", "--data", data)
    assert (code, "there is no video vid_none" in output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--clip", "nowhere.mp4"), "there is no file nowhere.mp4"),
        ((), "the video has no clips"),
        (("--clip", "a.mp4@five-6"), "there is no file a.mp4@five-6"),
        (("--clip", "a.mp4@1:2:3:4-6"), "1:2:3:4 is not a time"),
        (("--clip", "a.mp4@9-3"), "--clip a.mp4@9-3: the end must be after the start"),
        (("--clip", "."), ". is a folder"),
        (("no-request.json",), "cannot read no-request.json"),
        ((sys.executable,), "is not text in UTF-8"),
    ],
)
async def test_wrong_arguments_are_reported_in_one_line(
    tmp_path: Path, arguments: Sequence[str], complaint: str
) -> None:
    code, output = await moneyprinter("make", *arguments, "--data", tmp_path / "data", "--out", tmp_path / "x.mp4")
    assert code == 2
    assert complaint in output
    assert "Traceback" not in output
    assert not (tmp_path / "data").exists()


async def test_a_refusal_of_the_platform_is_reported_in_one_line(
    platform: RunningPlatform, tmp_path: Path, clip: Path
) -> None:
    words = tmp_path / "words.mp4"
    words.write_text("only words\n" * 100)
    code, output = await moneyprinter(*options(platform.data, words, tmp_path / "x.mp4"))
    assert (code, "CLIP_NOT_PLAYABLE" in output, "Traceback" in output) == (1, True, False)
    code, output = await moneyprinter(*options(platform.data, clip, tmp_path / "x.mp4"), "--voice", "xx-Unknown")
    assert (code, "VOICE_UNKNOWN" in output or "voice" in output) == (1, True), output
    code, output = await moneyprinter(*options(platform.data, clip, tmp_path / "x.mp4"), "--font", "Nowhere")
    assert (code, "there is no font 'Nowhere'" in output, "Uploading" in output) == (1, True, False), output
    assert not (tmp_path / "x.mp4").exists()


def is_rendering(processes: Sequence[psutil.Process]) -> bool:
    """Report whether a process is an ffmpeg that renders a segment, not one that probes an encoder."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.name().startswith("ffmpeg") and "segment.mp4" in process.cmdline():
                return True
    return False


async def wait_until_rendering(running: Up, client: httpx.AsyncClient, job_id: str) -> None:
    """Wait until segments of a job are rendering."""
    async with asyncio.timeout(60):
        while True:
            status = (await client.get(f"/v1/videos/{job_id}/status")).json()
            assert status["status"] == "processing", status
            if is_rendering(running.children()):
                return
            await asyncio.sleep(0.05)


async def wait_until_ended(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """Wait until a job has ended. Returns its last status."""
    while True:
        status: dict[str, Any] = (await client.get(f"/v1/videos/{job_id}/status")).json()
        if status["status"] != "processing":
            return status
        await asyncio.sleep(0.2)


@asynccontextmanager
async def open_client(running: Up, data: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running.url, timeout=20) as client:
        tokens = await client.post("/v1/auth/sign-in", json=json.loads((data / "first-account").read_text()))
        client.headers["authorization"] = f"Bearer {tokens.json()['access_token']}"
        yield client


async def create_long_job(client: httpx.AsyncClient, clip: Path) -> str:
    upload = await client.post("/v1/assets", content=clip.read_bytes())
    request = {
        "title": "Long",
        "clips": [{"asset_id": upload.json()["asset_id"]}],
        "audio": {"script": LONG_SCRIPT},
        "settings": {"resolution": "480p", "quality": "draft"},
    }
    job_id: str = (await client.post("/v1/videos", json=request)).json()["job_id"]
    return job_id


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
async def test_the_next_platform_finishes_a_job_interrupted_during_its_render(
    tmp_path: Path, clip: Path, how: signal.Signals
) -> None:
    data = tmp_path / "data"
    async with up(data, environment=SOON) as first:
        async with open_client(first, data) as client:
            job_id = await create_long_job(client, clip)
            await wait_until_rendering(first, client, job_id)
        children = first.children()
        if how is signal.SIGKILL:
            os.killpg(first.process.pid, signal.SIGKILL)
            await first.process.wait()
        else:
            assert await first.stop(how) == 0
    await assert_all_end(children)
    async with up(data, environment=SOON) as second, open_client(second, data) as client:
        async with asyncio.timeout(90):
            status = await wait_until_ended(client, job_id)
        assert status["status"] == "completed", status
        assert (await client.get(f"/v1/videos/{job_id}/file")).status_code == 200
        assert await second.stop() == 0
    assert not list((data / "scratch").glob("*/*"))


async def test_an_interrupted_make_leaves_no_process_and_no_file(tmp_path: Path, clip: Path) -> None:
    out = tmp_path / "made.mp4"
    async with start_command(*options(tmp_path / "data", clip, out, LONG_SCRIPT)) as process:
        async with asyncio.timeout(60):
            while not is_rendering(psutil.Process(process.pid).children(recursive=True)):  # noqa: ASYNC110  nothing tells us
                await asyncio.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        output, _ = await process.communicate()
        assert process.returncode == 130, output.decode()
        assert "continues when the platform runs again" in output.decode()
    await assert_all_end(children)
    assert list(tmp_path.glob("*.mp4")) == []


def test_a_clip_is_parsed_with_its_range() -> None:
    assert parse_clip("a.mp4") == Clip("a.mp4")
    assert parse_clip("a.mp4@5-12.5") == Clip("a.mp4", "00:00:05.000", "00:00:12.500")
    assert parse_clip("me@home.mp4") == Clip("me@home.mp4")
    assert parse_clip("https://u@x.org/a.mp4@1:05-") == Clip("https://u@x.org/a.mp4", "00:01:05.000", "")
    assert parse_clip("a.mp4@-01:00:00") == Clip("a.mp4", "", "01:00:00.000")

"""The programs of `examples/`, run against a whole platform."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests import media
from tests.e2e.conftest import RunningPlatform

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
TIMEOUT_SECONDS = 120

SCRIPT = "One short sentence is enough."
SMALL = ("--resolution", "480p", "--quality", "draft")


@pytest.fixture(scope="module")
async def key(platform: RunningPlatform) -> str:
    """An API key of the first account."""
    async with httpx.AsyncClient(base_url=platform.url, timeout=30) as http:
        account = json.loads((platform.data / "first-account").read_text())
        # An API key needs a sign-in within the last five minutes.
        tokens = (await http.post("/v1/auth/sign-in", json=account)).json()
        roles = ["video.process", "audio.generate", "content.manage"]
        made = await http.post(
            "/v1/accounts/me/keys",
            json={"display_name": "examples", "roles": roles},
            headers={"authorization": f"Bearer {tokens['access_token']}"},
        )
        assert made.status_code == 201, made.text
        return str(made.json()["api_key"])


@asynccontextmanager
async def start_example(key: str, name: str, *arguments: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an example while the context is open."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / name), *map(str, arguments)),
        env={"PATH": os.environ["PATH"], "MONEYPRINTER_API_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def run(key: str, name: str, *arguments: str | Path) -> tuple[int, str]:
    """Run an example to its end. Returns its exit code and its output."""
    async with start_example(key, name, *arguments) as process:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            output, _ = await process.communicate()
        assert process.returncode is not None
        assert b"Traceback" not in output, output.decode()
        return process.returncode, output.decode()


def address(platform: RunningPlatform) -> tuple[str, str]:
    return "--address", platform.url.removeprefix("http://")


async def test_make_video_and_revise(platform: RunningPlatform, key: str, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "made.mp4"
    code, output = await run(key, "make_video.py", clip, "--script", SCRIPT, *SMALL, "--out", out, *address(platform))
    assert code == 0, output
    assert "100 %" in output
    made = media.probe(out)
    assert (made.width, made.height, made.has_audio) == (854, 480, True)

    job_id = re.findall(r"vid_\w+", output)[0]
    revised = tmp_path / "revised.mp4"
    changes = json.dumps({"title": "Once more", "audio": {"background_music": "dark"}})
    code, output = await run(key, "revise.py", job_id, changes, "--out", revised, *address(platform))
    assert code == 0, output
    found = re.search(r"reused (\d+) of (\d+) segments", output)
    assert found, output
    assert int(found[1]) == int(found[2]) > 0, "other music changes no picture"
    again = media.probe(revised)
    assert (again.width, again.height, again.frames) == (made.width, made.height, made.frames)

    code, output = await run(key, "revise.py", job_id, "[]", *address(platform))
    assert code == 2, output
    code, output = await run(key, "revise.py", "vid_0", "{}", *address(platform))
    assert (code, output.startswith("error: ")) == (1, True), output


async def test_batch_from_csv(platform: RunningPlatform, key: str, clip: Path, tmp_path: Path) -> None:
    videos, folder = tmp_path / "videos.csv", tmp_path / "videos"
    small = {"script": SCRIPT, "resolution": "480p", "quality": "draft", "aspect": "1:1"}
    rows = [
        {"title": "First", "clip": str(clip), **small},
        {"title": "Missing", "clip": "missing.mp4", **small},
        {"title": "Last", "clip": str(clip), **small},
    ]
    with videos.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    code, output = await run(key, "batch_from_csv.py", videos, "--out-folder", folder, *address(platform))
    assert code == 1, output
    assert "row 1, First: made" in output
    assert re.search(r"row 2, Missing: failed: .*missing\.mp4", output)
    assert "row 3, Last: made" in output
    assert sorted(path.name for path in folder.iterdir()) == ["001.mp4", "003.mp4"]
    assert {(video.width, video.height) for video in map(media.probe, folder.iterdir())} == {(480, 480)}

    (tmp_path / "missing.mp4").write_bytes(clip.read_bytes())
    code, output = await run(key, "batch_from_csv.py", videos, "--out-folder", folder, *address(platform))
    assert code == 0, output
    assert [line.partition(": ")[2] for line in sorted(output.splitlines())] == ["exists", "made", "exists"]


async def test_speak(platform: RunningPlatform, key: str, tmp_path: Path) -> None:
    out = tmp_path / "speech.wav"
    code, output = await run(key, "speak.py", "Good morning, and welcome.", "--out", out, *address(platform))
    assert code == 0, output
    with wave.open(str(out)) as sound:
        seconds = sound.getnframes() / sound.getframerate()
    assert 0.8 < seconds < 5
    printed = re.search(r"([\d.]+) s, voice ", output)
    assert printed and float(printed[1]) == pytest.approx(seconds, abs=0.02), output
    words = [line.split() for line in output.splitlines()[1:]]
    assert [text for _, _, text in words] == ["Good", "morning,", "and", "welcome."]
    times = [float(time) for start, end, _ in words for time in (start, end)]
    assert times == sorted(times)
    assert times[-1] <= seconds + 0.05


async def test_receive_webhook(platform: RunningPlatform, key: str, certificates: Path) -> None:
    serving = (
        "--port",
        "0",
        "--certificate",
        certificates / "gateway/cert.pem",
        "--key",
        certificates / "gateway/key.pem",
    )
    events = ("--event", "video.processing.cancelled")
    async with (
        start_example(key, "receive_webhook.py", *serving, *events, *address(platform)) as process,
        asyncio.timeout(TIMEOUT_SECONDS),
    ):
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("Listening at https://127.0.0.1:"), line
        url = line.split()[-1]
        async with httpx.AsyncClient(verify=False) as stranger:  # noqa: S501  it is this test that is not trusted
            forged = await stranger.post(url, json={"event_type": "video.processing.cancelled"})
            assert forged.status_code == 401
        wanted = {"title": "A walk", "clips": [{"url": platform.site.stalled("/webhook-example.mp4")}]}
        job_id = (await platform.http.post("/v1/videos", json=wanted)).json()["job_id"]
        assert (await platform.http.post(f"/v1/videos/{job_id}/cancel")).status_code == 200
        line = (await process.stdout.readline()).decode()
        assert re.fullmatch(rf"verified \S+ video\.processing\.cancelled {job_id}\n", line), line
        process.terminate()
        assert await process.wait() == 0
    webhooks = (await platform.http.get("/v1/webhooks")).json()
    assert url not in json.dumps(webhooks), "it removes its webhook"


async def test_follow_events(platform: RunningPlatform, key: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    wanted = {"title": "A walk", "clips": [{"url": platform.site.stalled("/events-example.mp4")}]}
    job_id = (await platform.http.post("/v1/videos", json=wanted)).json()["job_id"]
    assert (await platform.http.post(f"/v1/videos/{job_id}/cancel")).status_code == 200
    async with start_example(key, "follow_events.py", platform.url.removeprefix("http://"), ledger) as process:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while job_id not in (ledger.read_text() if ledger.exists() else ""):
                assert process.returncode is None
                await asyncio.sleep(0.05)
    lines = [json.loads(line) for line in ledger.read_text().splitlines() if line.endswith("}")]
    assert ("cancelled", job_id) in [(line["outcome"], line["job_id"]) for line in lines]


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
async def test_help_shows_an_example(name: str) -> None:
    code, output = await run("", name, "--help")
    assert code == 0
    assert f"python examples/{name}" in output


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("make_video.py", ("missing.mp4", "--script", SCRIPT)),
        ("revise.py", ("vid_1", "{}")),
        ("speak.py", ("Hello.",)),
        ("receive_webhook.py", ("--port", "0")),
    ],
)
async def test_a_refused_key_is_reported_in_one_line(
    platform: RunningPlatform, name: str, arguments: tuple[str, ...]
) -> None:
    code, output = await run("mpk_wrong", name, *arguments, *address(platform))
    assert (code, output.startswith("error: "), output.count("\n")) == (1, True, 1), output

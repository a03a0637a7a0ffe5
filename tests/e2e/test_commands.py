"""The commands that list, follow, save and revise videos, and the session that they share."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.embedded import ports
from tests import media
from tests.up import Up, up
from tests.variables import VARIABLES

SMALL = {"resolution": "480p", "quality": "draft"}
TIMEOUT_SECONDS = 180


@dataclass(frozen=True)
class Terminal:
    """A terminal: a folder, an environment, and a running platform."""

    platform: Up
    data: Path
    folder: Path
    clip: Path

    async def run(
        self, *arguments: str | Path, typed: str = "", columns: int = 80, file_kib: int | str = "unlimited"
    ) -> tuple[int, str]:
        """Run the command to its end, with a limit of the size of its files. Returns its exit code and its output."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f'ulimit -f {file_kib}; exec "$@"', "bash"),
            *(sys.executable, "-P", "-m", "services.cli", *map(str, arguments)),
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "COLUMNS": str(columns),
                "MONEYPRINTER_PLATFORM": str(self.data),
                "XDG_STATE_HOME": str(self.folder / "state"),
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                output, _ = await process.communicate(typed.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        assert b"Traceback" not in output, output.decode()
        return process.returncode, output.decode()

    async def succeed(self, *arguments: str | Path, typed: str = "", columns: int = 80) -> str:
        code, output = await self.run(*arguments, typed=typed, columns=columns)
        assert code == 0, output
        return output

    @property
    def account(self) -> dict[str, str]:
        account: dict[str, str] = json.loads((self.data / "first-account").read_text())
        return account


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Up, Path]]:
    """A platform for the tests that leave its account as it is, and its data folder."""
    data = tmp_path_factory.mktemp("commands") / "data"
    async with up(data) as running:
        yield running, data


@pytest.fixture
def terminal(shared: tuple[Up, Path], tmp_path: Path, clip: Path) -> Terminal:
    folder = tmp_path / "my videos"
    folder.mkdir()
    return Terminal(*shared, folder, clip)


@pytest.fixture
async def own_terminal(tmp_path: Path, clip: Path) -> AsyncIterator[Terminal]:
    """A terminal with a platform of its own."""
    async with up(tmp_path / "data") as running:
        yield Terminal(running, tmp_path / "data", tmp_path, clip)


async def list_jobs(terminal: Terminal) -> set[str]:
    return set(re.findall(r"vid_\w+", await terminal.succeed("status", "--limit", "100")))


async def test_a_video_is_made_listed_saved_and_revised(terminal: Terminal) -> None:
    folder = terminal.folder
    settings = {**SMALL, "renditions": ["240p"]}
    request: dict[str, Any] = {
        "title": "A title that is far too long for a table of eighty columns",
        "clips": [{"url": str(terminal.clip), "end_time": "00:00:01"}, {"colour": "#203040", "duration": 1}],
        "audio": {"script": "One short sentence."},
        "settings": settings,
    }
    (folder / "request.json").write_text(json.dumps(request))
    (folder / "walk-poster.jpg").write_bytes(b"of somebody else")
    output = await terminal.succeed("make", "request.json", "--out", "walk.webm")
    assert "Kept" in output, "a picture that was there before is not overwritten"
    assert (folder / "walk-poster.jpg").read_bytes() == b"of somebody else"
    assert "-->" in (folder / "walk.srt").read_text()
    assert media.probe(folder / "walk.webm").codec == "vp9", "the file's name chose the codec"
    assert min(media.probe(folder / "walk-240p.webm").width, media.probe(folder / "walk-240p.webm").height) == 240

    listed = await terminal.succeed("status")
    job_id = re.findall(r"vid_\w+", listed)[0]
    assert max(map(len, listed.splitlines())) <= 80
    assert request["title"] in await terminal.succeed("status", "--wide", columns=160)
    assert "completed" in await terminal.succeed("watch", job_id)

    await terminal.succeed("download", job_id, "--out", "again.webm", "--only-video")
    assert (folder / "again.webm").read_bytes() == (folder / "walk.webm").read_bytes()
    assert not (folder / "again.srt").exists()
    code, output = await terminal.run("download", job_id, "--out", "large.webm", file_kib=4)
    assert (code, output.splitlines()[-1]) == (1, "error: File too large"), "as on a full disk"
    assert list(folder.glob("*large*")) + list(folder.glob(".*")) == []
    await terminal.succeed("download", job_id, "--file", "captions.vtt", "--out", "walk.vtt")
    assert (folder / "walk.vtt").read_text().startswith("WEBVTT")
    code, output = await terminal.run("download", job_id, "--file", "captions.doc")
    assert (code, "it has no file" in output or "has no file captions.doc" in output) == (2, True)

    output = await terminal.succeed("revise", job_id, "--title", "Shorter", "--out", "shorter.webm")
    assert media.probe(folder / "shorter.webm").codec == "vp9"
    listed = await terminal.succeed("status", "--limit", "1")
    assert "Shorter" in listed
    assert "There are more" in listed
    code, output = await terminal.run("revise", job_id)
    assert (code, "nothing to change" in output) == (2, True)


async def test_a_batch_makes_each_row_once(terminal: Terminal) -> None:
    rows = ["title,clip,script,resolution,quality,captions"]
    rows += [f'"{title}",{terminal.clip}@0-1,"Say {title}.",480p,draft,none' for title in ("One", "Two/three")]
    (terminal.folder / "videos.csv").write_text("\n".join(rows) + "\n")
    before = await list_jobs(terminal)
    for _ in range(2):
        await terminal.succeed("batch", "videos.csv", "--only-video")
    assert sorted(path.name for path in (terminal.folder / "videos").glob("*.mp4")) == ["One.mp4", "Two-three.mp4"]
    assert len(await list_jobs(terminal) - before) == 2, "the second run made no video again"

    (terminal.folder / "wrong.csv").write_text("title,clip\nOne,nowhere.mp4\n")
    code, output = await terminal.run("batch", "wrong.csv")
    assert (code, "wrong.csv, line 2: there is no file nowhere.mp4" in output) == (2, True)


async def test_all_commands_of_a_machine_share_one_session(terminal: Terminal) -> None:
    output = await terminal.succeed("upload", terminal.clip)
    assert re.search(r"ast_\w+", output)
    before = await count_sessions(terminal)
    await asyncio.gather(*(terminal.succeed("status") for _ in range(4)))
    assert "30 days" in await terminal.succeed("settings", "--retention-days", "30")
    assert "30 days" in await terminal.succeed("settings")
    kept = terminal.data / "session"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    async with open_client(terminal) as http:
        records = (await http.get("/v1/audit?action=job.status")).json()["records"]
    assert await count_sessions(terminal) == before, "however many commands were run"
    assert records == [], "a poll is no record"


@asynccontextmanager
async def open_client(terminal: Terminal) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client with the token of the command line."""
    token = (await terminal.succeed("token")).strip()
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=terminal.platform.url, headers=headers) as http:
        yield http


async def count_sessions(terminal: Terminal) -> int:
    async with open_client(terminal) as http:
        return len((await http.get("/v1/accounts/me/sessions")).json()["sessions"])


async def test_a_changed_password_requires_login_and_locks_no_account(own_terminal: Terminal) -> None:
    terminal = own_terminal
    account, changed = terminal.account, "four tides a day, all year"
    async with httpx.AsyncClient(base_url=terminal.platform.url) as http:
        open_client = (await http.post("/v1/auth/sign-in", json=account)).json()
        http.headers["authorization"] = f"Bearer {open_client['access_token']}"
        body = {"old_password": account["password"], "new_password": changed}
        assert (await http.post("/v1/accounts/me/password", json=body)).is_success
        for _ in range(6):
            code, output = await terminal.run("status")
            assert (code, "moneyprinter login" in output) == (1, True), output
        # The attempts of the command line did not lock the account.
        answer = await http.post("/v1/auth/sign-in", json={"username": "admin", "password": changed})
        assert answer.is_success, answer.text
    code, output = await terminal.run("login", "--username", "admin", typed="wrong\n")
    assert code == 1, output
    await terminal.succeed("login", "--username", "admin", typed=f"{changed}\n")
    assert "no video yet" in await terminal.succeed("status")
    await terminal.succeed("logout")
    code, output = await terminal.run("status")
    assert (code, "moneyprinter login" in output) == (1, True)


async def test_a_platform_is_reached_by_its_address(terminal: Terminal) -> None:
    url, before = terminal.platform.url, await list_jobs(terminal)
    code, output = await terminal.run("status", "--url", url)
    assert (code, f"moneyprinter login {url}" in output) == (1, True)
    await terminal.succeed("login", url, "--username", "admin", typed=f"{terminal.account['password']}\n")
    assert set(re.findall(r"vid_\w+", await terminal.succeed("status", "--url", url, "--limit", "100"))) == before
    kept = list((terminal.folder / "state").rglob("session"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept] == [0o600]
    code, output = await terminal.run("login", "http://videos.example.com")
    assert (code, "write https://" in output) == (2, True)


async def test_login_tries_the_platform_before_it_asks_for_secrets(terminal: Terminal) -> None:
    """Also for an address at which something else than a platform answers, here without TLS."""
    closed = f"https://127.0.0.1:{ports.pick_ports()[0]}"
    other = terminal.platform.url.replace("http:", "https:")
    for where, complaint in (
        ("nowhere", "no platform runs on"),
        (closed, "no platform answers"),
        (other, "--ca FILE.pem"),
    ):
        code, output = await terminal.run("login", where, typed="admin\nsecret\n")
        assert (code, complaint in output) == (1, True), output
        assert "Username" not in output


async def test_the_audit_log_lists_what_people_did_in_eighty_columns(terminal: Terminal) -> None:
    [asset] = re.findall(r"ast_\w+", await terminal.succeed("upload", terminal.clip))
    output = await terminal.succeed("audit", "list", "--limit", "20")
    assert f"asset.upload {asset}" in output
    assert "object." not in output
    assert "spiffe:" not in output
    assert max(len(line) for line in output.splitlines()) <= 80
    everything = await terminal.succeed("audit", "list", "--all", "--wide")
    assert re.search(f"object.write assets/{asset} by spiffe://.*/sa/orchestrator from 127.0.0.1", everything)
    assert max(len(line) for line in (await terminal.succeed("audit", "list", "--all")).splitlines()) <= 80


EARLY = [
    (("--out", "walk.txt"), ".mp4 or .webm"),
    (("--out", "nowhere/walk.mp4"), "there is no folder"),
    (("--out", "/proc/walk.mp4"), "cannot write into /proc"),
    (("--out", "/proc"), "must end with"),
    (("--music", "jazz"), "audio.background_music"),
    (("--resolution", "8k"), "settings.resolution"),
    (("wrong.json",), "the request has no field setings; did you mean settings?"),
    (("nested.json",), "the request has no field settings.resolutoin; did you mean resolution?"),
    (("codec.json", "--out", "walk.webm"), "h264 needs a .mp4 file"),
]


@pytest.mark.parametrize(("arguments", "complaint"), EARLY, ids=[" ".join(arguments) for arguments, _ in EARLY])
async def test_an_invalid_request_is_refused_before_the_platform_starts(
    tmp_path: Path, clip: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    (tmp_path / "wrong.json").write_text('{"title": "A", "setings": {}}')
    (tmp_path / "nested.json").write_text('{"title": "A", "settings": {"resolutoin": "1080p"}}')
    (tmp_path / "codec.json").write_text('{"title": "A", "settings": {"codec": "h264"}}')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.cli", "make", *arguments, "--clip", str(clip), "--data", "data"),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200", **VARIABLES},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output = (await process.communicate())[0].decode()
    assert process.returncode in (1, 2), output
    assert complaint in output
    assert output.count("\n") == 1, output
    assert not (tmp_path / "data").exists(), "no platform was started"


async def test_events_are_posted_to_this_machine_only_if_the_platform_allows_it(terminal: Terminal) -> None:
    code, output = await terminal.run("webhooks", "listen", columns=200)
    assert (code, "moneyprinter up --allow-local" in output) == (1, True), output


async def test_events_are_shown_by_a_receiver_on_this_machine(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "200", "MONEYPRINTER_PLATFORM": str(tmp_path / "data")}
    command = (sys.executable, "-P", "-m", "services.cli", "webhooks", "listen")
    pipes: dict[str, Any] = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT}
    async with up(tmp_path / "data", "--allow-local") as platform, httpx.AsyncClient(base_url=platform.url) as http:
        account = json.loads((tmp_path / "data" / "first-account").read_text())
        open_client = (await http.post("/v1/auth/sign-in", json=account)).json()
        http.headers["authorization"] = f"Bearer {open_client['access_token']}"
        process = await asyncio.create_subprocess_exec(*command, env=environment, **pipes)
        try:
            assert process.stdout is not None
            async with asyncio.timeout(60):
                assert b"Events are posted to http://127.0.0.1:" in await process.stdout.readline()
                clip = {"url": "https://clips.invalid/a.mp4"}
                made = (await http.post("/v1/videos", json={"title": "A", "clips": [clip]})).json()
                while b"video.processing.failed" not in (line := await process.stdout.readline()):
                    assert line, "it ended"
                assert made["job_id"].encode() in line
                process.send_signal(signal.SIGINT)
                await process.wait()
            assert (await http.get("/v1/webhooks")).json()["webhooks"] == []
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

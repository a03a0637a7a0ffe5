"""Stages: speech, scripts, captions and probes as separate calls through the gateway, and that they leave no files."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import av
import httpx
import psutil
import pysubs2
import pytest
from rich.console import Console

from moneyprinter import errors
from moneyprinter.client import Client
from moneyprinter.content.v1 import footage_search_service_pb2 as footage_pb
from moneyprinter.content.v1 import writing_service_pb2 as writing_pb
from moneyprinter.media.v1 import media_pb2
from services.commands.actions.stages import print_footage
from tests import media
from tests.api.conftest import Running, running
from tests.audio.sounds import RATE, lufs, r128, read

TEXT = "The sea was calm. Nobody spoke, not even of whales."
LONG = "This sentence is spoken again and again, and it takes a while. " * 100


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A platform of their own, whose accounts no other test changes."""
    async with running(tmp_path_factory.mktemp("stages") / "data") as started:
        yield started


def headers(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def stored_files(api: Running) -> set[Path]:
    """The stored files, and those of work in progress."""
    return {
        path
        for folder in ("objects", "scratch/audio-*", "scratch/validation-*", "scratch/content-*")
        for root in api.data.glob(folder)
        for path in root.rglob("*")
        if path.is_file()
    }


def seconds(path: Path) -> float:
    """The duration of a sound file in seconds."""
    with av.open(str(path)) as container:
        assert container.duration is not None
        return container.duration / 1e6


def speech_processes(api: Running) -> list[psutil.Process]:
    """The speech processes of the platform."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any("espeak_child.py" in part for part in process.cmdline()):
                found += [process for parent in process.parents() if str(api.data) in parent.cmdline()]
    return found


async def wait_for_cleanup(api: Running, before: set[Path]) -> None:
    async with asyncio.timeout(10):
        while stored_files(api) - before:
            # A response may arrive before the removal of its folder.
            await api.http.get("/v1/voices", headers=headers(api.token))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of video with sound."""
    return media.clip(tmp_path_factory.mktemp("clips") / "walk.mp4", size=(160, 90), seconds=2.0, sound=True)


async def test_speech_over_rest(api: Running, tmp_path: Path) -> None:
    before = stored_files(api)
    response = await api.http.post("/v1/speech", json={"text": TEXT, "voice": "en-GB"}, headers=headers(api.token))
    assert (response.status_code, response.headers["content-type"]) == (200, "audio/wav")
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.headers["x-content-sha256"] == hashlib.sha256(response.content).hexdigest()
    assert response.headers["content-disposition"] == 'attachment; filename="speech.wav"'
    (tmp_path / "speech.wav").write_bytes(response.content)
    sound = read(tmp_path / "speech.wav", 1)
    assert lufs(sound) == pytest.approx(-16, abs=0.5)

    asked = {"text": TEXT, "voice": "en-GB"}
    times = (await api.http.post("/v1/speech/timings", json=asked, headers=headers(api.token))).json()
    assert len(sound) / RATE == pytest.approx(times["duration"], abs=0.001)
    assert [[word["text"] for word in sentence["words"]] for sentence in times["sentences"]] == [
        ["The", "sea", "was", "calm."],
        ["Nobody", "spoke,", "not", "even", "of", "whales."],
    ]
    # CreateCaptions accepts the response unchanged.
    request = {"sentences": times["sentences"], "format": "vtt"}
    captions = await api.http.post("/v1/captions", json=request, headers=headers(api.token))
    assert captions.headers["content-type"] == "text/vtt"
    first, second = pysubs2.SSAFile.from_string(captions.text)
    assert (first.plaintext, second.plaintext) == tuple(TEXT.replace("m. ", "m.|").split("|"))
    assert second.end / 1000 == pytest.approx(times["sentences"][1]["words"][-1]["end"], abs=0.001)
    await wait_for_cleanup(api, before)


async def test_the_client_has_methods_for_the_stages(api: Running, clip: Path, tmp_path: Path) -> None:
    before = stored_files(api)
    async with Client(api.url.removeprefix("http://"), token=api.token) as client:
        written = await client.write_script("The tides", language="de", length=3)
        assert len(written.sentences) == 3
        size = await client.say(written.script, tmp_path / "tides.mp3", voice="de", format="mp3", loudness=-20)
        assert size == (tmp_path / "tides.mp3").stat().st_size
        assert r128(tmp_path / "tides.mp3")[0] == pytest.approx(-20, abs=0.5)
        times = await client.word_times(written.script, voice="de")
        assert seconds(tmp_path / "tides.mp3") == pytest.approx(times.duration, abs=0.05)
        request = writing_pb.CreateCaptionsRequest(sentences=times.sentences, format="srt")
        await client.make_captions(request, tmp_path / "tides.srt")
        assert pysubs2.load(str(tmp_path / "tides.srt"))[0].plaintext == written.sentences[0]

        facts = await client.probe(clip)
        assert (facts.width, facts.height, facts.video_codec) == (160, 90, "h264")
        assert (facts.file_size, facts.sha256) == (clip.stat().st_size, hashlib.sha256(clip.read_bytes()).hexdigest())
        assert facts.duration == pytest.approx(2.0, abs=0.05)
        assert facts.frame_rate > 1
        assert (facts.has_audio, facts.hdr, facts.rotation, facts.still) == (True, "", 0, False)
        with pytest.raises(errors.InvalidArgument) as refused:
            await client.say("?!", tmp_path / "nothing.wav")
        assert refused.value.reason == "SCRIPT_EMPTY"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tides.mp3", "tides.srt"]
    await wait_for_cleanup(api, before)


async def test_an_asset_is_described_to_its_owner_only(api: Running, clip: Path) -> None:
    upload = await api.http.post("/v1/assets", content=clip.read_bytes(), headers=headers(api.token))
    asked = {"asset_id": upload.json()["asset_id"]}
    own = await api.http.post("/v1/clips/probe", json=asked, headers=headers(api.token))
    assert own.status_code == 200
    sent = await api.http.post("/v1/clips/probe-file", content=clip.read_bytes(), headers=headers(api.token))
    assert sent.json() == own.json()
    other = await api.new_account("other", "video.process")
    refused = await api.http.post("/v1/clips/probe", json=asked, headers=headers(other))
    assert (refused.status_code, refused.json()["details"][0]["reason"]) == (404, "ASSET_NOT_FOUND")


async def test_each_role_allows_its_own_methods_only(api: Running) -> None:
    methods = {
        "audio.generate": ("/v1/speech/timings", {"text": "Hi."}),
        "content.manage": ("/v1/scripts", {"topic": "Hi"}),
        "video.process": ("/v1/clips/probe-file", None),
    }
    for number, role in enumerate(methods):
        token = await api.new_account(f"only{number}", role)
        for opened_by, (path, body) in methods.items():
            sent = {"json": body} if body else {"content": b"words"}
            answer = await api.http.post(path, headers=headers(token), **sent)
            assert (answer.status_code == 403) == (opened_by != role), (role, path, answer.text)


async def test_the_work_of_a_disconnected_client_stops(api: Running) -> None:
    """Over REST: the speech processes end with the connection."""
    before = stored_files(api)

    asked = asyncio.create_task(api.http.post("/v1/speech", json={"text": LONG * 3}, headers=headers(api.token)))
    async with asyncio.timeout(20):
        while not speech_processes(api):
            await api.http.get("/v1/voices", headers=headers(api.token))
    asked.cancel()
    await asyncio.wait([asked])
    # The platform notices the disconnection a little later; the whole text takes more than twice as long as this.
    async with asyncio.timeout(8):
        while speech_processes(api):
            await api.http.get("/v1/voices", headers=headers(api.token))
        await wait_for_cleanup(api, before)
    assert not speech_processes(api)


async def moneyprinter(*arguments: str | Path, folder: Path) -> tuple[int, str]:
    """Run the command in a folder; returns its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.cli", *map(str, arguments)),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def test_footage_is_listed_as_a_table() -> None:
    clip = footage_pb.FootageClip(
        id="pexels:7", width=1080, height=1920, seconds=14, author="Ana [red]", url="https://videos.pexels.com/7.mp4"
    )
    notice = media_pb2.Notice(message="pixabay answered with HTTP 500")
    written = io.StringIO()
    console = Console(file=written, width=120)
    print_footage(footage_pb.SearchFootageResponse(clips=[clip], notices=[notice]), "sea", console)
    for expected in ("pexels:7", "1080 x 1920", "14", "Ana [red]", "https://videos.pexels.com/7.mp4", "HTTP 500"):
        assert expected in written.getvalue()
    print_footage(footage_pb.SearchFootageResponse(), "sea", console)
    assert "No clip shows sea" in written.getvalue()


async def test_the_command_line(api: Running, clip: Path, tmp_path: Path) -> None:
    data = ("--data", api.data)

    async def run(*arguments: str | Path) -> tuple[int, str]:
        return await moneyprinter(*arguments, *data, folder=tmp_path)

    code, output = await run("script", "The tides", "--length", "3", "--out", "tides.txt")
    assert (code, "3 sentences" in output) == (0, True), output
    text = (tmp_path / "tides.txt").read_text()
    assert text.startswith("The tides.")
    code, output = await run(
        "script", "The tides", "--seconds", "20", "--scenes", "2", "--tone", "calm", "--out", "t.json"
    )
    assert (code, "docs/providers.md" in output) == (0, True), output
    assert len(json.loads((tmp_path / "t.json").read_text())["scenes"]) == 2
    code, output = await run("describe", "tides.txt", "--platform", "youtube")
    assert (code, "#" in output, "tiktok" in output) == (0, True, False), output
    code, output = await run("say", "--text-file", "tides.txt", "--out", "tides.flac", "--timings", "tides.json")
    assert (code, "Said tides.flac" in output) == (0, True), output
    times = json.loads((tmp_path / "tides.json").read_text())
    assert seconds(tmp_path / "tides.flac") == pytest.approx(times["duration"], abs=0.01)
    code, output = await run("captions", "--timings", "tides.json", "--aspect", "9:16", "--out", "tides.ass")
    assert (code, "PlayResX: 1080" in (tmp_path / "tides.ass").read_text()) == (0, True), output
    code, output = await run("captions", "Hello. Is it you?", "--duration", "4", "--out", "hello.srt")
    assert code == 0, output
    assert [cue.plaintext for cue in pysubs2.load(str(tmp_path / "hello.srt"))] == ["Hello.", "Is it you?"]
    code, output = await run("captions", "Hello. Is it you?", "--voice", "en-GB", "--out", "spoken.vtt")
    assert (code, len(pysubs2.load(str(tmp_path / "spoken.vtt")))) == (0, 2), output
    code, output = await run("voices", "zh")
    assert (code, "zh-CN" in output, "en-US" in output) == (0, True, False)
    code, output = await run("voices", "--provider", "unknown")
    assert (code, output.strip()) == (0, "There is no voice for unknown.")
    code, output = await run("voices", "sample", "en-GB", "--out", "voice.mp3")
    assert (code, 1 < seconds(tmp_path / "voice.mp3") <= 5.1) == (0, True), output
    code, output = await run("probe", clip)
    assert (code, "160x90, h264" in output, "sound: aac" in output) == (0, True, True), output

    for arguments, expected, complaint in (
        (("say",), 2, "give either TEXT or --text-file"),
        (("say", "Hi", "--out", "hi.midi"), 2, "must end with one of .wav, .mp3"),
        (("say", "Hi", "--out", "nowhere/hi.wav"), 2, "there is no folder"),
        (("say", "Hi", "--voice", "xx-Unknown"), 1, "there is no voice 'xx-Unknown'"),
        (("script", "x", "--language", "xx"), 1, "take one of en, de"),
        (("script", "x", "--seconds", "20", "--words", "50"), 1, "give one of"),
        (("translate", "tides.txt", "--to", "de"), 1, "no writer is configured"),
        (("captions", "Hi", "--aspect", "3:7"), 2, "take one of 16:9"),
        (("captions", "--timings", "tides.txt"), 2, "holds no word times"),
        (("voices", "sample", "en-GB", "--out", "voice.wav"), 2, "must end with one of .mp3"),
        (("footage", "sea waves"), 1, "this deployment has no key for any provider of footage"),
        (("probe", "nowhere.mp4"), 2, "there is no file nowhere.mp4"),
        (("probe", tmp_path / "tides.txt"), 1, "the file is a text file"),
        (("probe", "http://example.com/a.mp4"), 1, "must begin with https://"),
    ):
        code, output = await run(*arguments)
        assert (code, complaint in " ".join(output.split())) == (expected, True), (arguments, output)
        assert "Traceback" not in output
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*"))


async def test_a_full_service_sends_retry_after_over_rest(api: Running) -> None:
    async def asked() -> httpx.Response:
        return await api.http.post("/v1/speech/timings", json={"text": LONG}, headers=headers(api.token))

    answers = await asyncio.gather(*(asked() for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200, 429}
    full = next(answer for answer in answers if answer.status_code == 429)
    assert full.headers["retry-after"] == "1"
    details = {detail["@type"].rpartition(".")[2]: detail for detail in full.json()["details"]}
    assert details["ErrorInfo"]["reason"] == "BUSY"
    assert details["RetryInfo"]["retry_delay"] == "1s"

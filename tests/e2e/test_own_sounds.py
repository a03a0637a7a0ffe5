"""Own recordings and own music: captions on the words of a person, and the music where it belongs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pysubs2
import pytest

from tests.audio.sounds import RATE, Sound, band, level
from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_command import moneyprinter
from tests.e2e.test_engine import wait_for_video
from tests.e2e.test_outputs import file
from tests.e2e.test_rest import wait_until_ended
from tests.mesh import ffmpeg_program

ALIGNMENT = Path(__file__).parents[1] / "audio" / "alignment"
SETTINGS = {"width": 160, "height": 90, "quality": "draft"}
CLIP = {"colour": "#203040", "duration": 1.5}
SENTENCE = json.loads((ALIGNMENT / "it.json").read_text())["sentences"][0]
MUSIC_HERTZ = 500.0


def make_sound(target: Path, *arguments: str | Path) -> bytes:
    subprocess.run((ffmpeg_program(), "-v", "error", *arguments, "-y", target), check=True)
    return target.read_bytes()


def record(folder: Path) -> bytes:
    """A person's recording of the sentence, as a phone makes it, with half a second of silence behind it."""
    end = f"{SENTENCE['words'][-1][2] + 0.6:.2f}"
    return make_sound(folder / "voice.m4a", "-i", ALIGNMENT / "it.opus", "-t", end, "-c:a", "aac", "-ar", "44100")


def compose(folder: Path) -> bytes:
    return make_sound(folder / "song.mp3", "-f", "lavfi", "-i", f"sine={MUSIC_HERTZ}:r=8000:d=2.5", "-ar", "8000")


async def upload(platform: RunningPlatform, name: str, content: bytes) -> str:
    response = await platform.http.post(f"/v1/assets?filename={name}", content=content)
    assert response.status_code == 201, response.text
    return str(response.json()["asset_id"])


def sound_of(video: Path) -> Sound:
    command = (ffmpeg_program(), "-v", "error", "-i", video, "-ar", str(RATE), "-ac", "1", "-f", "f32le", "-")
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, "<f4").astype(float)


async def test_captions_follow_the_words_of_a_recording_over_own_music(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    audio = {
        "script": SENTENCE["text"],
        "voice": "it-IT",
        "narration_asset_id": await upload(platform, "voice.m4a", record(tmp_path)),
        "music_asset_id": await upload(platform, "song.mp3", compose(tmp_path)),
        "music_fade_in": 0,
    }
    request = {
        "title": "The sea",
        "clips": [CLIP],
        "audio": audio,
        "settings": SETTINGS,
        "captions": {"highlight": "word"},
    }
    made = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
    assert (made["voice"], made["voice_quality"], made["notices"]) == ("", "recording", [])
    truth = np.array([start for _, start, _ in SENTENCE["words"]])
    recorded = SENTENCE["words"][-1][2] + 0.6
    assert made["duration"] == pytest.approx(recorded + 0.6, abs=0.1)

    events = pysubs2.load(str(await file(platform, made, "captions.ass", tmp_path)))
    starts = np.array(sorted({event.start / 1000 for event in events}))
    errors = np.array([np.abs(starts - onset).min() for onset in truth])
    assert np.median(errors) <= 0.04 and np.mean(errors <= 0.12) >= 0.95, errors
    assert starts[0] > truth[0] - 0.12, "a caption is shown before the person speaks"

    sound = sound_of(await file(platform, made, "video.mp4", tmp_path))
    music = band(sound, MUSIC_HERTZ * 0.9, MUSIC_HERTZ * 1.1)
    before, end = (level(music[round(at * RATE) : round((at + 0.3) * RATE)]) for at in (0.1, recorded - 0.4))
    assert before > -45, "the music does not begin with the video"
    assert end > -50, "the music of 2.5 s is not repeated"
    speech = band(sound, 900, 3500)
    assert level(speech[round(0.1 * RATE) : round(0.4 * RATE)]) < level(speech[round(1.5 * RATE) : 3 * RATE]) - 12
    assert made["loudness"] == pytest.approx(-14, abs=1)

    # A revision keeps the recording; an upload in use cannot be deleted while the job runs, and can be afterwards.
    revised = await platform.http.post(
        f"/v1/videos/{made['job_id']}/revise", json={"changes": {"title": "Il mare", "audio": {"music_asset_id": ""}}}
    )
    again = await wait_for_video(platform, revised)
    assert (again["voice_quality"], again["duration"]) == ("recording", made["duration"])
    assert (await platform.http.delete(f"/v1/assets/{audio['narration_asset_id']}")).status_code == 200


@pytest.mark.parametrize(
    ("field", "arguments", "reason", "words"),
    [
        ("narration_asset_id", ("testsrc=s=64x64:d=1", "-c:v", "mpeg4"), "SOUND_NOT_PLAYABLE", "recording (x.mp4): "),
        ("music_asset_id", ("anullsrc", "-t", "2", "-c:a", "aac"), "SOUND_SILENT", "music (x.mp4): "),
        ("narration_asset_id", ("sine=d=1", "-c:a", "aac"), "RECORDING_MISMATCHED", "the script takes about"),
    ],
)
async def test_an_unusable_sound_fails_the_job_with_its_name(
    platform: RunningPlatform, tmp_path: Path, field: str, arguments: tuple[str, ...], reason: str, words: str
) -> None:
    asset = await upload(platform, "x.mp4", make_sound(tmp_path / "x.mp4", "-f", "lavfi", "-i", *arguments))
    audio = {"script": f"{SENTENCE['text']} " * 3, "voice": "it-IT", field: asset}
    request = {"title": "x", "clips": [CLIP], "audio": audio, "settings": SETTINGS}
    created = await platform.http.post("/v1/videos", json=request)
    assert created.status_code == 202, created.text
    status = await wait_until_ended(platform, created.json()["job_id"])
    assert status["error"]["reason"] == reason
    assert words in status["error"]["message"]
    assert status["stages"]["video_processing"] == "pending"


async def test_the_command_line_uploads_a_recording_and_music(platform: RunningPlatform, tmp_path: Path) -> None:
    record(tmp_path)
    compose(tmp_path)
    request = {"title": "The sea", "clips": [CLIP], "audio": {"script": SENTENCE["text"]}, "settings": SETTINGS}
    (tmp_path / "request.json").write_text(json.dumps(request))
    sounds = ("--narration", tmp_path / "voice.m4a", "--music", tmp_path / "song.mp3", "--voice", "it-IT")
    target = ("--data", platform.data, "--out", tmp_path / "sea.mp4")
    code, output = await moneyprinter("make", tmp_path / "request.json", *sounds, *target)
    assert code == 0, output
    assert "Uploading voice.m4a" in output and "Uploading song.mp3" in output
    sound = sound_of(tmp_path / "sea.mp4")
    assert level(band(sound, MUSIC_HERTZ * 0.9, MUSIC_HERTZ * 1.1)[: RATE // 2]) > -50
    code, output = await moneyprinter("make", tmp_path / "request.json", "--narration", "none.wav", *target)
    assert (code, "there is no file none.wav" in output) == (2, True)

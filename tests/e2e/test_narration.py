"""Narration: a finished video states its voice and language, and how they differ from the request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pysubs2
import pytest

from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_engine import wait_for_video
from tests.e2e.test_outputs import file

CLIP = {"colour": "#203040", "duration": 1.5}
SETTINGS = {"width": 160, "height": 90, "quality": "draft"}


async def video(platform: RunningPlatform, title: str, **audio: str) -> Any:
    request = {"title": title, "clips": [CLIP], "audio": audio, "settings": SETTINGS}
    return await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))


async def lines(platform: RunningPlatform, video: Any, folder: Path) -> list[str]:
    cues = pysubs2.load(str(await file(platform, video, "captions.srt", folder)))
    return [cue.plaintext.replace("\n", " ") for cue in cues]


async def test_a_script_without_a_voice_is_spoken_in_its_language(platform: RunningPlatform, tmp_path: Path) -> None:
    found = await video(platform, "A walk", script="Сегодня хорошая погода, и мы едем к морю.")
    assert (found["voice"], found["voice_quality"]) == ("ru", "robotic")
    assert [notice["reason"] for notice in found["notices"]] == ["VOICE_CHOSEN"]
    assert found["duration"] < 6, "it is spelled letter by letter"


async def test_the_voice_of_another_provider_is_replaced_and_the_video_states_it(platform: RunningPlatform) -> None:
    found = await video(platform, "A walk", script="One, two.", voice="en-US-AriaNeural")
    assert [notice["reason"] for notice in found["notices"]] == ["VOICE_REPLACED"]
    assert "en-US-AriaNeural" in found["notices"][0]["message"]


@pytest.mark.parametrize(
    ("title", "voice", "expected"),
    [
        ("Ein Spaziergang", "de-DE", "Danke fürs Zuschauen, und bis zum nächsten Mal."),
        ("Прогулка", "", "Спасибо за просмотр, и до новых встреч."),
        ("Der Wald und die Tiere", "", "Danke fürs Zuschauen, und bis zum nächsten Mal."),
    ],
)
async def test_a_generated_script_is_in_the_language_of_its_voice(
    platform: RunningPlatform, tmp_path: Path, title: str, voice: str, expected: str
) -> None:
    found = await video(platform, title, **({"voice": voice} if voice else {}))
    spoken = " ".join(await lines(platform, found, tmp_path))
    assert spoken.startswith(f"{title}.") and spoken.endswith(expected)
    assert not {"the", "and", "you"} & set(spoken.split())


async def test_in_a_language_without_scripts_only_the_title_is_spoken(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    found = await video(platform, "Göngutúr við sjóinn", voice="is-IS")
    assert await lines(platform, found, tmp_path) == ["Göngutúr við sjóinn."]
    assert [notice["reason"] for notice in found["notices"]] == ["LANGUAGE_NOT_WRITTEN"]


async def test_speech_names_its_voice_and_what_it_replaces(platform: RunningPlatform) -> None:
    asked = {"text": "Добрый день.", "format": "opus"}
    sound = await platform.http.post("/v1/speech", json=asked)
    assert (sound.headers["x-voice"], sound.headers["x-voice-quality"]) == ("ru", "robotic")
    assert sound.headers["x-notices"] == "VOICE_CHOSEN"
    times = (await platform.http.post("/v1/speech/timings", json={"text": "Hi.", "voice": "en-GB-RyanNeural"})).json()
    assert (times["voice"], times["language"], times["quality"]) == ("en-GB-RyanNeural", "en-GB", "robotic")
    assert [notice["reason"] for notice in times["notices"]] == ["VOICE_REPLACED"]


async def test_voices_state_how_well_they_are_understood(platform: RunningPlatform) -> None:
    voices = {voice["name"]: voice for voice in (await platform.http.get("/v1/voices")).json()["voices"]}
    assert {voice["quality"] for voice in voices.values()} == {"robotic", "unintelligible"}
    assert {name for name, voice in voices.items() if voice["quality"] == "unintelligible"} >= {"ja", "he", "th"}
    for voice in voices.values():
        assert bool(voice["quality_note"]) == (voice["quality"] == "unintelligible")


async def test_markdown_is_neither_shown_nor_spoken(platform: RunningPlatform, tmp_path: Path) -> None:
    script = "# A walk\n\nWe **walk** to [the sea](https://example.com/a_long_address).\n\n- It costs 2 * 3 * 4 euros."
    found = await video(platform, "A walk", script=script)
    assert await lines(platform, found, tmp_path) == ["A walk", "We walk to the sea.", "It costs 2 * 3 * 4 euros."]
    asked = {"text": script, "script_format": "plain"}
    kept = (await platform.http.post("/v1/speech/timings", json=asked)).json()
    assert any("**walk**" in word["text"] for sentence in kept["sentences"] for word in sentence["words"])

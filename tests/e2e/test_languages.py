"""A topic alone makes a video in German, Japanese and Arabic, with the providers of writers, speech and footage."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from services.content.scripts.languages import identify_language
from tests import media
from tests.e2e.provider_platform import SEARCH_TERMS, SPEECH, WRITERS, ProviderPlatform, open_platform
from tests.e2e.test_engine import wait_for_video
from tests.e2e.test_outputs import file
from tests.e2e.test_review import run_command
from tests.providers.provider_server import HTML, Answer

HIGHLIGHT = "#ff00ff"
# No line begins with one of these.
NOT_FIRST = "、。,.!?：」）ぁぃぅぇぉっゃゅょー،؟"
SMALL: dict[str, Any] = {
    "settings": {"width": 640, "height": 360, "frame_rate": 24},
    "captions": {"highlight": "word", "highlight_colour": HIGHLIGHT, "size": 0.06},
}
# OpenAI's voices speak all languages.
TOPICS = {
    "de": "Warum das Meer salzig ist",
    "ja": "海はなぜ塩辛いのか",
    "ar": "لماذا ماء البحر مالح",
}
TITLES = {**TOPICS, "en": "Why the sea is salty"}


@pytest.fixture(scope="module")
async def platform(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProviderPlatform]:
    async with open_platform(certificates, tmp_path_factory.mktemp("providers")) as running:
        yield running
        running.check()


def request(language: str, **fields: Any) -> dict[str, Any]:
    writing = {"language": language, "seconds": 7, "scene_count": 2}
    return {"title": TITLES[language], "writing": writing, "footage": "pexels", **SMALL, **fields}


def find_highlight(picture: NDArray[np.uint8]) -> float | None:
    """The horizontal position of the highlighted word in a frame, from 0 to 1; None without one."""
    magenta = (picture[:, :, 0] > 150) & (picture[:, :, 1] < 110) & (picture[:, :, 2] > 150)
    columns = np.nonzero(magenta.any(axis=0))[0]
    return float(columns.mean() / picture.shape[1]) if len(columns) else None


@pytest.mark.parametrize("language", TOPICS)
async def test_a_topic_makes_a_video_in_a_language(platform: ProviderPlatform, language: str, tmp_path: Path) -> None:
    platform.reset()
    created = await platform.http.post("/v1/videos", json=request(language))
    video = await wait_for_video(platform, created)
    script = " ".join(scene["script"] for scene in video["scenes"])
    assert (video["script_writer"], identify_language(script)) == ("anthropic", language)
    assert platform.servers["anthropic"].wishes[-1]["topic"] == TOPICS[language]
    assert (video["voice_provider"], video["provider_voice"], video["voice_quality"]) == ("openai", "marin", "neural")
    spoken = [each.json()["input"] for each in platform.servers["openai"].requests if each.method == "POST"]
    assert "".join(sorted("".join(spoken))).split() == "".join(sorted(script)).split()

    cuts = [cut for scene in video["scenes"] for cut in scene["cuts"]]
    assert {cut["query"] for cut in cuts} <= set(SEARCH_TERMS)
    assert len({cut["id"] for cut in cuts}) == len(cuts)
    assert {(credit["author"], credit["licence"]) for credit in video["credits"]} == {("Ana Silva", "Pexels License")}
    usage = {(each["provider"], each["unit"]): each for each in video["usage"]}
    assert usage["openai", "characters"]["amount"] == sum(map(len, spoken))
    assert usage["openai", "characters"]["cost"] == pytest.approx(sum(map(len, spoken)) * 15 / 1e6)
    assert usage["anthropic", "input_tokens"]["amount"] == 300
    assert (await platform.http.get("/v1/usage")).json()["cost"] > 0

    captions = (await file(platform, video, "captions.srt", tmp_path)).read_text()
    lines = [line for line in captions.splitlines() if re.search(r"[^\W\d]", line)]
    assert re.sub(r"\W", "", "".join(lines)) == re.sub(r"\W", "", script)
    assert not [line for line in lines if line[0] in NOT_FIRST]
    assert not video["missing_glyphs"]
    made = await file(platform, video, "video.mp4", tmp_path)
    places = [place for picture in media.pictures(made) if (place := find_highlight(picture)) is not None]
    assert len(places) > 24, "words are highlighted while they are spoken"
    # The first word of a line is at the side at which the script begins.
    assert places[0] > 0.55 if language == "ar" else places[0] < 0.5


async def test_two_failing_providers_of_each_kind_end_in_a_video(platform: ProviderPlatform) -> None:
    platform.reset()
    for name in ("anthropic", "gemini"):
        platform.servers[name].default = Answer(400)
    platform.servers["openai"].default, platform.servers["google"].default = HTML, Answer(500)
    # Another text than before: what was spoken once is not spoken again.
    writing = {"language": "de", "seconds": 10, "scene_count": 1}
    created = await platform.http.post("/v1/videos", json=request("de", title="Salz", writing=writing))
    video = await wait_for_video(platform, created)
    assert (video["script_writer"], video["voice_provider"]) == ("mistral", "azure")
    assert video["provider_voice"] == "de-DE-KatjaNeural"
    messages = {notice["reason"]: notice["message"] for notice in video["notices"]}
    assert "gemini did not write" in str(video["notices"])
    assert "openai did not speak" in messages["SPEECH_FALLBACK"]
    assert "google did not speak" in messages["SPEECH_FALLBACK"]


async def test_any_two_failing_providers_leave_a_script_and_a_voice(platform: ProviderPlatform) -> None:
    for number, failing in enumerate(combinations((*WRITERS, *SPEECH), 2)):
        platform.reset()
        for name in failing:
            platform.servers[name].default = Answer(400)
        written = await platform.http.post("/v1/scripts", json={"topic": f"Salt number {number}", "words": 30})
        assert written.json()["writer"] == next(name for name in WRITERS if name not in failing), failing
        timed = await platform.http.post("/v1/speech/timings", json={"text": f"Salt number {number}."})
        assert timed.json()["provider"] == next(name for name in SPEECH if name not in failing), failing


async def test_three_languages_show_the_same_footage(platform: ProviderPlatform, tmp_path: Path) -> None:
    platform.reset()
    body = {**request("de"), "writing": {"seconds": 8, "scene_count": 2}, "languages": ["de", "ja", "ar"]}
    headers = {"idempotency-key": "three languages"}
    created = await platform.http.post("/v1/videos", json=body, headers=headers)
    again = await platform.http.post("/v1/videos", json=body, headers=headers)
    group = created.json()["group"]
    assert again.json()["group"] == group
    assert [each["language"] for each in group["videos"]] == body["languages"]
    listed = (await platform.http.get(f"/v1/videos?group_id={group['group_id']}")).json()["videos"]
    assert {each["job_id"] for each in listed} == {each["job_id"] for each in group["videos"]}

    videos = []
    for each in group["videos"]:
        answer = httpx.Response(202, json={"job_id": each["job_id"]})
        videos.append(await wait_for_video(platform, answer))
    shown = [[cut["id"] for scene in video["scenes"] for cut in scene["cuts"]] for video in videos]
    assert shown[0] == shown[1] == shown[2]
    assert all(video["credits"] == videos[0]["credits"] != [] for video in videos)
    for video, language in zip(videos, body["languages"], strict=True):
        script = " ".join(scene["script"] for scene in video["scenes"])
        assert (video["language"], identify_language(script)) == (language, language)
        assert language == "de" or identify_language(video["title"]) == language
        captions = (await file(platform, video, "captions.srt", tmp_path)).read_text()
        assert re.sub(r"\W", "", video["scenes"][0]["script"]) in re.sub(r"[\W\d]", "", captions)
    assert len(platform.servers["anthropic"].prompts) == 3, "one script, and a translation into each other language"
    assert all("anthropic" in str(video["usage"]) for video in videos)

    revised = await wait_for_video(
        platform,
        await platform.http.post(f"/v1/videos/{videos[1]['job_id']}/revise", json={"captions": {"position": "top"}}),
    )
    assert (revised["title"], revised["scenes"]) == (videos[1]["title"], videos[1]["scenes"])
    assert len(platform.servers["anthropic"].prompts) == 3
    listed = (await platform.http.get(f"/v1/videos?group_id={group['group_id']}")).json()["videos"]
    assert {each["job_id"] for each in listed} == {each["job_id"] for each in group["videos"]}


async def test_the_command_makes_a_file_for_each_language(platform: ProviderPlatform, tmp_path: Path) -> None:
    platform.reset()
    fields = {
        "title": "Das Meer",
        "clips": [{"colour": "#203040"}],
        "audio": {"script": "Das Meer ist blau."},
        "settings": {"width": 320, "height": 180, "quality": "draft"},
        "translations": [{"language": "en", "title": "The sea", "scripts": ["The sea is blue."]}],
    }
    (tmp_path / "request.json").write_text(json.dumps(fields))
    out = tmp_path / "sea.mp4"
    await run_command(
        platform.data, "make", tmp_path / "request.json", "--languages", "de,en", "--out", out, "--only-video"
    )
    assert {path.name for path in tmp_path.glob("*.mp4")} == {"sea.de.mp4", "sea.en.mp4"}
    assert not platform.servers["anthropic"].prompts, "the owner gave all texts"


async def test_an_account_without_a_budget_gets_a_video_without_cost(platform: ProviderPlatform) -> None:
    platform.reset()
    account = (await platform.http.get("/v1/accounts/me")).json()["account"]["account_id"]
    address = f"/v1/accounts/{account}/cost-limit"
    assert (await platform.http.put(address, json={"max_cost": 0})).status_code == 200
    try:
        assert (await platform.http.get("/v1/usage")).json()["max_cost"] == 0
        # Drafts are spoken by espeak-ng in any case.
        settings = {"width": 320, "height": 180, "quality": "standard"}
        free = request("en", title="Salt", settings=settings, footage="none")
        video = await wait_for_video(platform, await platform.http.post("/v1/videos", json=free))
    finally:
        await platform.http.put(address, json={})
    assert (video["script_writer"], video["voice_provider"], video["usage"]) == ("plain-template", "espeak", [])
    assert "charges" in str(video["notices"])
    assert not platform.servers["anthropic"].prompts
    assert not [each for each in platform.servers["openai"].requests if each.method == "POST"]

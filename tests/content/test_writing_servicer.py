"""WritingService over the mesh, called as the gateway calls it on behalf of a user."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pysubs2
import pytest

from moneyprinter import errors
from moneyprinter.content.v1 import content_service_pb2, content_service_pb2_grpc
from moneyprinter.content.v1 import writing_service_pb2 as pb
from moneyprinter.content.v1 import writing_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from services.config.config import Config as SecretsConfig
from services.content.captions.word_timing import estimate_word_times
from services.content.config import Config
from services.content.scripts.script_templates import TEMPLATES
from services.content.scripts.sentences import split_sentences
from services.content.scripts.writing import DEFAULT_LENGTH, write_script
from services.embedded import binaries
from services.runtime.config import ConfigError
from services.runtime.layers import load
from tests.mesh import Mesh
from tests.providers.accounts import start_costs
from tests.providers.model_servers import KEY, AnthropicServer

ROLE = ("content.manage",)
ICELANDIC = (
    "Hafið er salt vegna þess að ár bera steinefni úr bergi til sjávar. Sólin lætur vatnið gufa upp og saltið verður "
    "eftir. Þannig hefur þetta gengið í milljónir ára."
)
TIMED = [[("The", 0.1, 0.3), ("tide", 0.3, 0.8), ("turns.", 0.8, 1.4)], [("Wait.", 2.0, 2.6)]]


def timed(words: list[list[tuple[str, float, float]]]) -> list[media_pb2.TimedSentence]:
    return [
        media_pb2.TimedSentence(words=[media_pb2.TimedWord(text=t, start=s, end=e) for t, s, e in sentence])
        for sentence in words
    ]


@pytest.fixture
async def writing(mesh: Mesh) -> pb_grpc.WritingServiceAsyncStub:
    await mesh.start("content", Config(max_caption_calls=1, fonts=tuple(binaries.font_folders())))
    return mesh.stub(pb_grpc.WritingServiceStub, caller="gateway")


async def captions(
    mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub, request: pb.CreateCaptionsRequest
) -> tuple[str, str]:
    """Create a captions file. Returns its text and its content type."""
    call: Any = writing.CreateCaptions(request, metadata=mesh.bearer(roles=ROLE))
    headers = await call.initial_metadata()
    parts = [part.data async for part in call]
    data = b"".join(part.data for part in parts)
    assert int(headers["x-content-length"]) == len(data)
    assert headers["x-content-sha256"] == hashlib.sha256(data).hexdigest()
    return data.decode(), parts[0].content_type


@pytest.mark.parametrize("length", [1, 2, 5, 9])
async def test_a_script_has_the_requested_number_of_sentences(
    mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub, length: int
) -> None:
    bearer = mesh.bearer(roles=ROLE)
    for language in TEMPLATES:
        request = pb.CreateScriptRequest(topic="The  tides", language=language, length=length)
        made = await writing.CreateScript(request, metadata=bearer)
        assert len(made.sentences) == length, language
        assert made.sentences[0].startswith("The tides")
        assert (made.language, made.writer) == (language, "plain-template")
    # Splitting the script again yields the same sentences.
    assert split_sentences(made.script) == list(made.sentences)


async def test_a_script_is_english_and_short_by_default(mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub) -> None:
    made = await writing.CreateScript(pb.CreateScriptRequest(topic="The tides"), metadata=mesh.bearer(roles=ROLE))
    assert (made.language, len(made.sentences)) == ("en", DEFAULT_LENGTH)
    assert tuple(made.sentences) == write_script("The tides", None).sentences


async def test_a_script_has_scenes_and_reports_what_the_template_ignores(
    mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub
) -> None:
    request = pb.CreateScriptRequest(topic="The tides", seconds=20, scene_count=3, tone="calm", audience="sailors")
    made = await writing.CreateScript(request, metadata=mesh.bearer(roles=ROLE))
    assert [sentence for scene in made.scenes for sentence in scene.sentences] == list(made.sentences)
    assert len(made.scenes) == 3 and all(list(scene.search_terms) == ["tides"] for scene in made.scenes)
    assert [notice.reason for notice in made.notices] == ["WRITING_OPTIONS_IGNORED"]


async def test_scripts_come_from_the_provider_whose_key_is_in_the_file(mesh: Mesh, tmp_path: Path) -> None:
    """Both for clients and for jobs; the file is read again when the service starts."""
    file = tmp_path / "providers.json"
    master_key = tmp_path / "master-key"
    master_key.write_bytes(bytes(32))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=master_key))
    async with AnthropicServer() as server:
        file.write_text(json.dumps({"anthropic": {"keys": [KEY], "base_url": server.url}, "pexels": {"keys": ["x"]}}))
        prices = {"anthropic/input_tokens": 1.0}
        costs = await start_costs(mesh)
        await mesh.start("content", Config(providers_file=file, provider_prices=prices))
        writing = mesh.stub(pb_grpc.WritingServiceStub, caller="gateway")
        request = pb.CreateScriptRequest(topic="Sól og haf", language="is", words=60, scene_count=2)
        server.texts = [
            json.dumps({"scenes": [{"narration": ICELANDIC, "title": "Salt", "search_terms": ["sea"]}] * 2})
        ]
        made = await writing.CreateScript(request, metadata=mesh.bearer(roles=ROLE))
        assert (made.writer, made.language, len(made.scenes)) == ("anthropic", "is", 2)
        assert costs.recorded == [0.0003]
        assert [sentence for scene in made.scenes for sentence in scene.sentences] == list(made.sentences)
        assert list(made.scenes[0].search_terms) == ["sea"] and made.scenes[0].search_language == "en"
        jobs = mesh.stub(content_service_pb2_grpc.ContentServiceStub)
        written = await jobs.WriteScript(content_service_pb2.WriteScriptRequest(title="The tides", seconds=20))
        assert (written.writer, written.language) == ("anthropic", "en") and written.scenes
        charged = [(each.unit, each.amount, each.cost) for each in written.usage]
        assert charged == [("input_tokens", 300, 0.0003), ("output_tokens", 200, 0)]
        # A script of the caller stays on the machine.
        own = content_service_pb2.WriteScriptRequest(title="The tides", script="Mine.")
        assert (await jobs.WriteScript(own)).writer == "caller" and len(server.prompts) == 2
        # When no provider writes, the topic is spoken in the requested language.
        server.answers = [AnthropicServer.error(529, "overloaded_error")]
        alone = await writing.CreateScript(
            pb.CreateScriptRequest(topic="Haf", language="is"), metadata=mesh.bearer(roles=ROLE)
        )
        reasons = [notice.reason for notice in alone.notices]
        assert list(alone.sentences) == ["Haf."]
        assert reasons == ["WRITER_SKIPPED", "TEMPLATE_WRITTEN", "LANGUAGE_NOT_WRITTEN"]
        # Scenes, captions and the texts of platforms.
        bearer = mesh.bearer(roles=ROLE)
        scenes = pb.TranslateScriptRequest(language="de", scenes=made.scenes)
        translated = await writing.TranslateScript(scenes, metadata=bearer)
        assert [list(scene.search_terms) for scene in translated.scenes] == [["sea"], ["sea"]]
        assert len(translated.sentences) == len(made.sentences) and translated.script.startswith(
            translated.sentences[0]
        )
        subtitles = "1\n00:00:00,000 --> 00:00:01,000\nThe sea.\n"
        captions = await writing.TranslateScript(
            pb.TranslateScriptRequest(language="de", captions=subtitles), metadata=bearer
        )
        assert captions.captions.startswith("1\n00:00:00,000 --> 00:00:01,000\n") and not captions.sentences
        text = pb.TranslateScriptRequest(language="de", script="It is old. It is wide.")
        assert len((await writing.TranslateScript(text, metadata=bearer)).sentences) == 2
        about = pb.CreateMetadataRequest(
            script="The sea is old, and it is wide.", platforms=["tiktok"], credits=["By Jane Doe"]
        )
        described = await writing.CreateMetadata(about, metadata=bearer)
        assert (described.writer, described.language) == ("anthropic", "en")
        assert described.platforms[0].description.endswith("\n\nBy Jane Doe")
        assert server.violations == []


def test_an_unknown_writer_in_the_settings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONEYPRINTER_CONTENT_WRITERS", "anthropic, openai")
    assert load(Config).writers == ("anthropic", "openai")
    monkeypatch.setenv("MONEYPRINTER_CONTENT_WRITERS", "openai,nobody")
    with pytest.raises(ConfigError, match="'nobody' is no writer; those are openai, "):
        load(Config)


async def test_captions_have_the_times_of_the_words(mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub) -> None:
    for form, kind in (("srt", "application/x-subrip"), ("vtt", "text/vtt"), ("ass", "text/x-ssa")):
        request = pb.CreateCaptionsRequest(sentences=timed(TIMED), format=form)
        text, content_type = await captions(mesh, writing, request)
        assert content_type == kind
        cues = [(cue.start, cue.end, cue.plaintext) for cue in pysubs2.SSAFile.from_string(text)]
        assert [cue[2] for cue in cues] == ["The tide turns.", "Wait."]
        # Those of ASS change between frames.
        slack = 40 if form == "ass" else 1
        for (start, end, _), words in zip(cues, TIMED, strict=True):
            assert (start, end) == pytest.approx((words[0][1] * 1000, words[-1][2] * 1000), abs=slack)


async def test_a_script_fills_its_duration(mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub) -> None:
    request = pb.CreateCaptionsRequest(script="One short one. Then a sentence that is twice as long.", duration=6)
    text, content_type = await captions(mesh, writing, request)
    first, second = pysubs2.SSAFile.from_string(text)
    assert content_type == "application/x-subrip"
    assert (first.start, second.end) == (0, 6000)
    assert first.end < second.start
    assert 1.5 < second.duration / first.duration < 3.5


async def test_style_and_canvas_are_applied(mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub) -> None:
    style = video_pb.Captions(colour="#ff0000", highlight="word", position="top")
    words = "A sentence so long that it does not fit an upright picture at once, though it fits a wide one."
    wide = pb.CreateCaptionsRequest(script=words, duration=8, format="ass", style=style)
    upright = pb.CreateCaptionsRequest(script=words, duration=8, width=1080, height=1920)
    text, _ = await captions(mesh, writing, wide)
    assert "&H000000FF" in text
    assert "PlayResX: 1920" in text
    upright_text, _ = await captions(mesh, writing, upright)
    wide.format = "srt"
    assert len(pysubs2.SSAFile.from_string(upright_text)) > len(
        pysubs2.SSAFile.from_string((await captions(mesh, writing, wide))[0])
    )


async def test_estimated_word_times_fill_the_duration_without_overlap() -> None:
    sentences = ["你好，世界。", "Hello, world, it is me!", "Ja."]
    words = [word for timed in estimate_word_times(sentences, timedelta(seconds=5)) for word in timed]
    assert [word.text for word in words] == [word for sentence in sentences for word in sentence.split()]
    assert words[0].start == timedelta(0)
    assert words[-1].end == timedelta(seconds=5)
    assert all(word.start < word.end for word in words)
    assert all(a.end <= b.start for a, b in pairwise(words))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "REQUEST_INVALID"),
        ({"script": "Hi"}, "REQUEST_INVALID"),
        ({"sentences": timed(TIMED), "duration": 3}, "REQUEST_INVALID"),
        ({"script": "Hi", "sentences": timed(TIMED), "duration": 3}, "REQUEST_INVALID"),
        ({"script": "?!", "duration": 3}, "SCRIPT_EMPTY"),
        ({"script": "word " * 100, "duration": 0.01}, "REQUEST_INVALID"),
        ({"script": "Hi", "duration": float("nan")}, "REQUEST_INVALID"),
        ({"sentences": timed([[("b", 2, 3)], [("a", 1, 2)]])}, "REQUEST_INVALID"),
        ({"sentences": timed([[("a", 1, 1)]])}, "REQUEST_INVALID"),
        ({"script": "Hi", "duration": 3, "format": "doc"}, "REQUEST_INVALID"),
        ({"script": "Hi", "duration": 3, "style": video_pb.Captions(font="Nowhere")}, "FONT_UNKNOWN"),
    ],
)
async def test_invalid_captions_requests_are_refused(
    mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub, values: dict[str, Any], reason: str
) -> None:
    call = writing.CreateCaptions(pb.CreateCaptionsRequest(**values), metadata=mesh.bearer(roles=ROLE))
    with pytest.raises(errors.InvalidArgument) as refused:
        _ = [part async for part in call]
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"topic": ""}, "REQUEST_INVALID"),
        ({"topic": "?!"}, "SCRIPT_EMPTY"),
        ({"topic": "x", "language": "xx"}, "LANGUAGE_UNKNOWN"),
        ({"topic": "x", "language": "English"}, "REQUEST_INVALID"),
        ({"topic": "x", "length": 10}, "REQUEST_INVALID"),
        ({"topic": "x", "length": 3, "seconds": 20}, "REQUEST_INVALID"),
        ({"topic": "x", "seconds": 1801}, "REQUEST_INVALID"),
        ({"topic": "x" * 10_000}, "REQUEST_INVALID"),
        ({"topic": "x", "prompt": "x" * 4001}, "REQUEST_INVALID"),
    ],
)
async def test_invalid_script_requests_are_refused(
    mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub, values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await writing.CreateScript(pb.CreateScriptRequest(**values), metadata=mesh.bearer(roles=ROLE))
    assert refused.value.reason == reason


async def test_the_service_itself_checks_the_role(mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub) -> None:
    """The service does not rely on the check of the gateway."""
    others = mesh.bearer(roles=("video.process", "audio.generate", "user.admin"))
    request = pb.CreateCaptionsRequest(script="Hi", duration=1)
    for metadata, error, reason in (
        (others, errors.PermissionDenied, "ROLE_MISSING"),
        ((), errors.Unauthenticated, "TOKEN_INVALID"),
    ):
        with pytest.raises(error) as refused:
            await writing.CreateScript(pb.CreateScriptRequest(topic="x"), metadata=metadata)
        assert refused.value.reason == reason
        with pytest.raises(error) as refused:
            _ = [part async for part in writing.CreateCaptions(request, metadata=metadata)]
        assert refused.value.reason == reason


async def test_a_busy_service_returns_retry_after(mesh: Mesh, writing: pb_grpc.WritingServiceAsyncStub) -> None:
    bearer = mesh.bearer(roles=ROLE)
    words = [[("word", at * 0.2, at * 0.2 + 0.1) for at in range(5000)]]
    long = pb.CreateCaptionsRequest(sentences=timed(words), format="ass")

    async def create() -> errors.ResourceExhausted | None:
        try:
            _ = [part async for part in writing.CreateCaptions(long, metadata=bearer)]
        except errors.ResourceExhausted as full:
            return full
        return None

    refused = [full for full in await asyncio.gather(create(), create(), create()) if full]
    assert len(refused) == 2
    assert {(full.reason, full.retry_after_seconds) for full in refused} == {("BUSY", 1.0)}
    # The calls of jobs have capacity of their own.
    internal = mesh.stub(content_service_pb2_grpc.ContentServiceStub)
    assert (await internal.WriteScript(content_service_pb2.WriteScriptRequest(title="Hi"))).sentences

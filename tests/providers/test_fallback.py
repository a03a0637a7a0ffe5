"""The audio service with several providers of speech over the mesh: whichever fail, the script is spoken."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moneyprinter import errors
from moneyprinter.audio.v1 import audio_service_pb2 as pb
from moneyprinter.audio.v1 import audio_service_pb2_grpc as pb_grpc
from moneyprinter.audio.v1 import speech_service_pb2, speech_service_pb2_grpc
from moneyprinter.config.v1 import config_service_pb2, config_service_pb2_grpc
from services.config.config import Config as SecretsConfig
from services.content.config import Config as ContentConfig
from services.storage.config import Config as StorageConfig
from tests.audio.conftest import settings
from tests.mesh import Mesh
from tests.providers.accounts import start_costs
from tests.providers.provider_server import HTML, STALLED, Answer
from tests.providers.speech_servers import SERVERS, OpenAiServer

NAMES = tuple(kind.name for kind in SERVERS)
Servers = dict[str, Any]


@pytest.fixture
async def servers(mesh: Mesh, tmp_path: Path) -> AsyncIterator[Servers]:
    """All providers, whose keys are in the config service, and a mesh with the audio service."""
    async with AsyncExitStack() as stack:
        running: Servers = {kind.name: await stack.enter_async_context(kind()) for kind in SERVERS}
        document = {}
        for name, server in running.items():
            address = f"{server.url}/v1" if isinstance(server, OpenAiServer) else server.url
            document[name] = {"keys": list(server.KEYS), "base_url": address}
        (tmp_path / "master-key").write_bytes(bytes(range(32)))
        await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
        secrets = mesh.stub(config_service_pb2_grpc.ConfigServiceStub, caller="audio")
        value = json.dumps(document).encode()
        await secrets.PutSecret(config_service_pb2.PutSecretRequest(name="audio/providers", value=value))
        await mesh.start("storage", StorageConfig(root=tmp_path / "blobs"))
        await mesh.start("content", ContentConfig())
        await start_costs(mesh)
        prices = {"openai": 15.0, "google/characters": 16.0}
        await mesh.start(
            "audio", settings().model_copy(update={"provider_timeout_seconds": 0.5, "provider_prices": prices})
        )
        yield running
        assert {name: server.violations for name, server in running.items()} == {name: [] for name in running}


async def speak(mesh: Mesh, *sentences: str, voice: str = "en-US", max_cost: float | None = None) -> pb.Speech:
    stub = mesh.stub(pb_grpc.AudioServiceStub)
    request = pb.SynthesizeRequest(sentences=sentences, voice=voice, max_cost=max_cost)
    *_, last = [update async for update in stub.Synthesize(request)]
    assert last.speech.audio.size_bytes > 10_000
    return last.speech


async def is_healthy(mesh: Mesh) -> bool:
    channel = mesh.channel("audio", "moneyprinter.audio.v1.AudioService", "monitoring")
    health: Any = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service="providers"))
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def test_every_combination_of_two_failing_providers_ends_in_speech(mesh: Mesh, servers: Servers) -> None:
    for number, failing in enumerate(combinations(NAMES, 2)):
        servers[failing[0]].default, servers[failing[1]].default = HTML, Answer(400)
        speech = await speak(mesh, f"Combination number {number} is spoken.")
        assert speech.provider == next(name for name in NAMES if name not in failing)
        skipped = NAMES[: NAMES.index(speech.provider)]
        assert len(speech.notices) == bool(skipped)
        for name in skipped:
            assert f"{name} did not speak" in speech.notices[0].message
        assert [[word.text for word in sentence.words] for sentence in speech.sentences] == [
            ["Combination", "number", f"{number}", "is", "spoken."]
        ]
        assert speech.quality == "neural"
        for server in servers.values():
            server.default = None


async def test_providers_that_may_cost_too_much_are_not_called(mesh: Mesh, servers: Servers) -> None:
    text = "This costs something."
    for limit, provider, skipped in (
        (0.0, "espeak", ["openai", "google", "azure"]),
        (0.0001, "azure", ["openai", "google"]),
        (0.01, "openai", []),
    ):
        for server in servers.values():
            server.requests.clear()
        speech = await speak(mesh, text, max_cost=limit)
        assert speech.provider == provider, limit
        assert all(f"{name} did not speak" in speech.notices[0].message for name in skipped)
        assert not [each for name in skipped for each in servers[name].requests if each.method == "POST"]


async def test_when_all_fail_the_voice_without_a_network_speaks(mesh: Mesh, servers: Servers) -> None:
    assert await is_healthy(mesh)
    for server, answer in zip(servers.values(), (Answer(401), Answer(402), STALLED, Answer(500)), strict=True):
        server.default = answer
    speech = await speak(mesh, "All providers fail.", voice="nova")
    assert (speech.provider, speech.quality) == ("espeak", "robotic")
    (notice,) = speech.notices
    assert notice.reason == "SPEECH_FALLBACK"
    for words in ("openai did not speak (openai limits", "key"):
        assert words.split(" (")[0] in notice.message
    assert not [key for server in servers.values() for key in server.KEYS if key in notice.message]
    assert not speech.usage
    assert not await is_healthy(mesh)
    before = len(servers["openai"].requests), len(servers["google"].requests)
    await speak(mesh, "The breakers are open.")
    assert (len(servers["openai"].requests), len(servers["google"].requests)) == before


async def test_a_failure_in_mid_script_lets_one_other_voice_speak_all_of_it(mesh: Mesh, servers: Servers) -> None:
    sentences = [f"This is sentence number {number}." for number in range(6)]
    await speak(mesh, "The keys are checked.")
    for server in servers.values():
        server.requests.clear()
    servers["openai"].default = HTML
    speech = await speak(mesh, *sentences, voice="en-US-AndrewNeural")
    assert speech.provider == "azure", "the provider of the named voice comes first"
    servers["azure"].default = Answer(500)
    speech = await speak(mesh, *sentences, "And more.", voice="en-US-AndrewNeural")
    assert speech.provider == "google"
    assert speech.voice == "en-US-Neural2-D", "a man, as Andrew"
    spoken = [request for request in servers["google"].requests if request.method == "POST"]
    assert len(spoken) == len(sentences) + 1
    assert {request.json()["voice"]["name"] for request in spoken} == {"en-US-Neural2-D"}
    usage = speech.usage[0]
    assert (usage.provider, usage.unit) == ("google", "characters")
    assert usage.amount == sum(map(len, [*sentences, "And more."]))
    assert usage.cost == pytest.approx(usage.amount * 16 / 1e6)
    stored = await speak(mesh, *sentences, "And more.", voice="en-US-AndrewNeural")
    assert stored.audio == speech.audio
    assert not stored.usage, "nothing is charged twice"


async def test_public_speech_falls_back_and_reports_it(mesh: Mesh, servers: Servers) -> None:
    servers["openai"].default = Answer(404)
    speech = mesh.stub(speech_service_pb2_grpc.SpeechServiceStub, caller="gateway")
    request = speech_service_pb2.TimeSpeechRequest(text="The sea is calm.", voice="nova")
    times = await speech.TimeSpeech(request, metadata=mesh.bearer(roles=("audio.generate",)))
    assert (times.provider, times.voice, times.quality) == ("google", "nova", "neural")
    assert [notice.reason for notice in times.notices] == ["SPEECH_FALLBACK"]
    listed = await speech.ListVoices(
        speech_service_pb2.ListVoicesRequest(language="de"), metadata=mesh.bearer(roles=("audio.generate",))
    )
    by_provider = {voice.provider: voice for voice in listed.voices}
    assert {"openai", "google", "azure", "espeak"} <= set(by_provider)
    assert (by_provider["azure"].gender, by_provider["azure"].has_sample) == ("female", True)


async def test_a_provider_speaks_a_sample_once(mesh: Mesh, servers: Servers) -> None:
    speech = mesh.stub(speech_service_pb2_grpc.SpeechServiceStub, caller="gateway")
    request = speech_service_pb2.GetVoiceSampleRequest(voice="nova")
    samples = []
    for _ in range(2):
        call = speech.GetVoiceSample(request, metadata=mesh.bearer(roles=("audio.generate",)))
        samples.append(b"".join([part.data.data async for part in call]))
    assert samples[0] == samples[1] != b""
    assert len([sent for sent in servers["openai"].requests if sent.path.endswith("/speech")]) == 1
    servers["openai"].default = Answer(500)
    other = speech_service_pb2.GetVoiceSampleRequest(voice="onyx")
    with pytest.raises(errors.Unavailable):
        [part async for part in speech.GetVoiceSample(other, metadata=mesh.bearer(roles=("audio.generate",)))]


async def test_a_voice_is_found_at_the_first_provider(mesh: Mesh, servers: Servers) -> None:
    stub = mesh.stub(pb_grpc.AudioServiceStub)
    for name, provider in {
        "en-US": "openai",
        "onyx": "openai",
        "de-DE-Wavenet-C": "google",
        "en-US-AvaNeural": "azure",
        "": "openai",
        "tlh": None,
    }.items():
        if provider is None:
            continue
        found = await stub.GetVoice(
            pb.GetVoiceRequest(name=name, texts=[pb.NarratedText(field="script", text="Hi you.")])
        )
        assert (found.provider, found.quality, list(found.notices)) == (provider, "neural", [])
    texts = [pb.NarratedText(field="script", text="Das ist nicht der Tag, an dem die See und der Wind ruhig sind.")]
    found = await stub.GetVoice(pb.GetVoiceRequest(name="onyx", texts=texts))
    assert (found.provider, found.language) == ("openai", "de")

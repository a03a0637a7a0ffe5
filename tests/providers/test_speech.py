"""Providers of speech through the real adapters, over real HTTP: requests as published, and every way to fail."""

from __future__ import annotations

import base64
import wave
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.audio.alignment.aligner import Aligner
from services.audio.espeak import open_espeak
from services.audio.providers.google import GoogleEngine, mark_words
from services.audio.providers.openai import LANGUAGES
from services.audio.providers.registry import Settings, SpeechProviders
from services.audio.providers.remote import LEAD_SECONDS, PAUSE_SECONDS, split_text
from services.audio.speech import SpeechProvider, SpokenText
from services.providers.credentials import Credentials
from services.providers.failures import FailureKind, ProviderFailure
from tests.audio.conftest import settings as espeak_settings
from tests.mesh import ffmpeg_program
from tests.providers.provider_server import HTML, STALLED, Answer, ProviderServer, Request, json_answer
from tests.providers.speech_servers import SERVERS, GoogleServer, OpenAiServer, speak, to_wav, word_times

SENTENCES = ("Tom & <Jerry> sail the wide sea.", "It isn't calm!")
SETTINGS = Settings(("openai", "google", "azure", "elevenlabs"), ffmpeg_program(), timeout_seconds=10.0)
VOICES = {"openai": "marin", "google": "en-US-Neural2-F", "azure": "en-US-AvaNeural", "elevenlabs": "Rachel"}


def credentials(server: Any) -> Credentials:
    address = f"{server.url}/v1" if isinstance(server, OpenAiServer) else server.url
    return Credentials(server.KEYS, address)


class Opened:
    """The registry with one server, and the provider that calls it."""

    def __init__(self, registry: SpeechProviders, server: ProviderServer) -> None:
        self.registry, self.server = registry, server

    @property
    def provider(self) -> SpeechProvider:
        (provider,) = self.registry.arrange()
        return provider

    async def speak(self, folder: Path, *sentences: str) -> SpokenText:
        voice = self.provider.voice(VOICES[self.provider.name])
        assert voice is not None
        return await self.provider.speak(sentences or SENTENCES, voice, folder / "speech.wav")


@pytest.fixture(params=SERVERS, ids=lambda kind: kind.name)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    async with request.param() as server, open_registry(0.5) as registry:
        await registry.pool.replace({server.name: credentials(server)})
        await checked(registry)
        server.requests.clear()
        yield Opened(registry, server)
        assert server.violations == []


class open_registry:  # noqa: N801
    """A registry without providers that work without a network."""

    def __init__(self, timeout_seconds: float = 10.0) -> None:
        settings = replace(SETTINGS, timeout_seconds=timeout_seconds)
        self._registry = SpeechProviders((), None, None, settings)  # type: ignore[arg-type]

    async def __aenter__(self) -> SpeechProviders:
        return self._registry

    async def __aexit__(self, *_: object) -> None:
        await self._registry.aclose()


async def checked(registry: SpeechProviders) -> None:
    """Wait until the keys are checked."""
    await registry.pool.wait_checked()


async def test_a_script_is_spoken_with_the_times_of_its_words(opened: Opened, tmp_path: Path) -> None:
    spoken = await opened.speak(tmp_path)
    with wave.open(str(tmp_path / "speech.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (48_000, 1, 2)
        assert spoken.duration == timedelta(microseconds=file.getnframes() * 1_000_000 // 48_000)
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert np.abs(sound).max() > 5000
    assert [[word.text for word in words] for words in spoken.sentences] == [text.split() for text in SENTENCES]
    assert spoken.characters == sum(map(len, SENTENCES))
    assert len(opened.server.requests) == len(SENTENCES)
    begin = LEAD_SECONDS
    for text, words in zip(SENTENCES, spoken.sentences, strict=True):
        times = word_times(text)
        offset = begin - times[0][1]
        for word, (_, expected, _) in zip(words, times, strict=True):
            # Without word times of the provider, the words share the sound by their length.
            limit = 0.3 if opened.provider.name in ("openai", "azure") else 0.06
            assert word.start / timedelta(seconds=1) == pytest.approx(offset + expected, abs=limit)
        begin += times[-1][2] - times[0][1] + PAUSE_SECONDS
    assert list(tmp_path.iterdir()) == [tmp_path / "speech.wav"]


QUOTA = {"error": {"code": "insufficient_quota"}, "detail": {"status": "quota_exceeded"}}
FAILURES: dict[str, tuple[Answer, FailureKind, bool]] = {
    "401": (Answer(401), FailureKind.UNAUTHORIZED, True),
    "402": (Answer(402), FailureKind.QUOTA_EXHAUSTED, True),
    "429 for a quota": (json_answer(QUOTA, 429), FailureKind.QUOTA_EXHAUSTED, True),
    "429": (json_answer({}, 429, retry_after="40"), FailureKind.RATE_LIMITED, True),
    "500": (Answer(500), FailureKind.UNAVAILABLE, False),
    "slow first byte": (STALLED, FailureKind.TIMEOUT, False),
    "cut stream": (Answer(200, b"RIFF" * 99, {"content-type": "audio/wav"}, cut_at=50), FailureKind.UNAVAILABLE, False),
    "HTML": (HTML, FailureKind.BAD_RESPONSE, False),
    "400": (Answer(400), FailureKind.REFUSED, False),
    "404": (json_answer({"detail": {"status": "voice_not_found"}}, 404), FailureKind.REFUSED, False),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_in_mid_script_fails_the_whole_narration(opened: Opened, tmp_path: Path, name: str) -> None:
    answer, kind, opens = FAILURES[name]
    opened.server.answers, opened.server.default = [None], answer
    with pytest.raises(ProviderFailure) as raised:
        await opened.speak(tmp_path, "They sail.", "It is calm.")
    assert raised.value.kind is kind
    breakers = opened.registry.pool.open_breakers()
    assert bool(breakers) is opens, breakers
    for text in (raised.value.message, *breakers.values()):
        assert not [key for key in ("sk-openai", "google-1", "azure-1", "eleven-1") if key in text]


def wrap(provider: str, data: bytes) -> Answer:
    """A sound as a provider sends it."""
    if provider in ("openai", "azure"):
        return Answer(200, data, {"content-type": "audio/wav"})
    encoded = base64.b64encode(data).decode()
    return json_answer({"audioContent": encoded, "audio_base64": encoded})


SPOKEN = to_wav(speak("They sail.", 24_000), 24_000)
SOUNDS: dict[str, Callable[[], bytes]] = {
    "garbage": lambda: bytes(range(256)) * 40,
    "a playlist": lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n",
    "empty": lambda: b"",
    "no samples": lambda: to_wav(np.zeros(0, np.int16), 24_000),
    "silent": lambda: to_wav(np.zeros(24_000, np.int16), 24_000),
    "a header of another format": lambda: SPOKEN[:20] + b"\x99\x99" + SPOKEN[22:],
    "a header of 0 Hz": lambda: SPOKEN[:24] + bytes(8) + SPOKEN[32:],
    "far too long": lambda: to_wav(speak("ten words " * 40, 24_000), 24_000),
}


@pytest.mark.parametrize("name", SOUNDS)
async def test_a_broken_sound_is_a_failure_of_the_provider(opened: Opened, tmp_path: Path, name: str) -> None:
    opened.server.answers = [wrap(opened.provider.name, SOUNDS[name]())]
    with pytest.raises(ProviderFailure) as raised:
        await opened.speak(tmp_path, "They sail.")
    assert raised.value.kind is FailureKind.BAD_RESPONSE, raised.value.message
    assert [path.name for path in tmp_path.iterdir()] in ([], ["speech.wav"])


async def test_five_broken_sounds_open_the_breaker(opened: Opened, tmp_path: Path) -> None:
    for _ in range(5):
        opened.server.answers = [wrap(opened.provider.name, b"garbage")]
        with pytest.raises(ProviderFailure):
            await opened.speak(tmp_path, "They sail.")
    with pytest.raises(ProviderFailure, match="not called for now"):
        await opened.speak(tmp_path, "They sail.")
    assert len(opened.server.requests) == 5


async def test_one_lost_call_is_repeated(opened: Opened, tmp_path: Path) -> None:
    opened.server.answers = [Answer(503)]
    await opened.speak(tmp_path, "They sail.")
    assert len(opened.server.requests) == 2


async def test_a_wrong_key_is_found_at_the_start(tmp_path: Path) -> None:
    for kind in SERVERS:
        async with kind() as server, open_registry() as registry:
            await registry.pool.replace({server.name: replace(credentials(server), keys=("wrong-key",))})
            await checked(registry)
            reason = registry.pool.open_breakers()[server.name]
            assert "refuses the key" in reason
            assert "wrong-key" not in reason
            with pytest.raises(ProviderFailure, match="refuses the key"):
                await registry.check()
            await registry.pool.replace({server.name: credentials(server)})
            await checked(registry)
            assert registry.pool.open_breakers() == {}
            await registry.check()


async def test_keys_of_openai_are_rotated(tmp_path: Path) -> None:
    async with OpenAiServer() as server, open_registry() as registry:
        await registry.pool.replace({"openai": credentials(server)})
        await checked(registry)
        server.requests.clear()
        server.answers = [json_answer({}, 429, retry_after="30")]
        await Opened(registry, server).speak(tmp_path, "They sail.")
        used = [request.headers["authorization"] for request in server.requests]
        assert used == ["Bearer sk-openai-1", "Bearer sk-openai-2"]


async def test_a_long_sentence_is_split_below_the_limits(opened: Opened, tmp_path: Path) -> None:
    opened.provider.engine.max_bytes = 80  # type: ignore[attr-defined]
    sentence = "Wörter & <Zeichen> " * 12
    spoken = await opened.speak(tmp_path, sentence.strip())
    assert [word.text for word in spoken.sentences[0]] == sentence.split()
    starts = [word.start for word in spoken.sentences[0]]
    assert starts == sorted(starts)
    assert len(opened.server.requests) == 3


@pytest.mark.parametrize("text", ["a " * 400, '"' * 800, "Wörter & <Zeichen> " * 38, "é " * 266])
def test_marks_fit_into_the_limit_of_google(text: str) -> None:
    assert len(text.encode()) <= GoogleEngine.max_bytes + 10
    ssml, places = mark_words(text.strip())
    assert len(ssml.encode()) <= 5000
    assert ssml.count("<mark ") == len(places) >= 1


async def test_a_sentence_without_letters_is_not_sent(opened: Opened, tmp_path: Path) -> None:
    spoken = await opened.speak(tmp_path, "They sail.", "***", "They sail.")
    assert len(opened.server.requests) == 2
    assert [len(words) for words in spoken.sentences] == [2, 1, 2]


async def test_a_compatible_server_needs_no_key_and_has_its_own_voices(tmp_path: Path) -> None:
    class Compatible(OpenAiServer):
        """A server with its own voices and models, for which a key is optional."""

        def handle(self, request: Request) -> Answer:
            if request.method == "GET":
                return json_answer({"detail": "Not Found"}, 404)
            return Answer(200, SPOKEN, {"content-type": "audio/wav"})

    async with Compatible() as server, open_registry() as registry:
        voice = {"name": "af_sky", "language": "en-US", "gender": "female"}
        options = {"speech_protocol": "openai", "speech_model": "kokoro", "speech_voices": [voice]}
        await registry.pool.replace({"local-tts": Credentials((), f"{server.url}/v1", options)})
        await checked(registry)
        (provider,) = registry.arrange()
        found = provider.voice("en-GB")
        assert found and (found.setting, found.language, found.gender) == ("af_sky", "en-US", "female")
        assert provider.voice("de-DE") is None
        await provider.speak(["They sail."], found, tmp_path / "speech.wav")
        assert server.requests[-1].json() | {"input": ""} == {
            "model": "kokoro",
            "input": "",
            "voice": "af_sky",
            "response_format": "wav",
        }
        assert "authorization" not in server.requests[-1].headers


async def test_words_without_times_are_found_by_a_reference(tmp_path: Path) -> None:
    """The server speaks as a British man, with the times of its words known; the reference is another voice."""
    program, config = ffmpeg_program(), espeak_settings()
    espeak = open_espeak(config.espeak_library, config.espeak_data, config.words_per_minute, program)
    text = "Extraordinarily, a wide and deep sea is where it all began."
    british = espeak.voice("en-GB-RyanNeural")
    assert british
    (expected,) = (await espeak.speak([text], british, tmp_path / "true.wav")).sentences
    async with ProviderServer() as server:
        server.default = Answer(200, (tmp_path / "true.wav").read_bytes(), {"content-type": "audio/wav"})
        for aligner, limit in ((None, 1.0), (Aligner(espeak, program), 0.12)):
            registry = SpeechProviders((), None, None, replace(SETTINGS, aligner=aligner))  # type: ignore[arg-type]
            await registry.pool.replace({"openai": Credentials(("sk-1",), server.url)})
            spoken = await Opened(registry, server).speak(tmp_path, text)
            shift = spoken.sentences[0][0].start - expected[0].start
            pairs = zip(spoken.sentences[0], expected, strict=True)
            errors = [abs(word.start - shift - true.start) / timedelta(seconds=1) for word, true in pairs]
            assert max(errors) < limit, errors
            await registry.aclose()


async def test_providers_without_a_key_or_for_another_use_are_left_out() -> None:
    async with open_registry() as registry:
        await registry.pool.replace(
            {
                "openai": Credentials(("sk-1",), "http://127.0.0.1:1", {"uses": ["writing"]}),
                "google": Credentials(()),
                "azure": Credentials(("key",)),
                "ollama": Credentials((), "http://127.0.0.1:1"),
            }
        )
        assert registry.arrange() == ()
        assert registry.pool.open_breakers() == {}


async def test_unchanged_providers_keep_their_breaker_and_options_make_a_new_one() -> None:
    async with GoogleServer() as server, open_registry() as registry:
        await registry.pool.replace({"google": credentials(server)})
        first = registry.pool.adapters["google"]
        await registry.pool.replace(
            {"google": credentials(server), "openai": Credentials(("sk-1",), "http://127.0.0.1:1")}
        )
        assert registry.pool.adapters["google"] is first
        await registry.pool.replace({"google": replace(credentials(server), options={"a": 1})})
        assert registry.pool.adapters["google"] is not first
        assert set(registry.pool.adapters) == {"google"}
        await checked(registry)


def test_texts_are_split_at_blanks_and_never_inside_a_character() -> None:
    assert split_text("short", 100) == ["short"]
    for text in ("eins zwei drei vier", "漢字" * 50, "x" * 99, "ü" * 7):
        parts = split_text(text, 9)
        assert all(0 < len(part.encode()) <= 9 for part in parts)
        assert "".join(parts).replace(" ", "") == text.replace(" ", "")
    assert "de" in LANGUAGES

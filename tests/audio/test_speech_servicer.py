"""SpeechService over the mesh, called as the gateway calls it on behalf of a user."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moneyprinter import errors
from moneyprinter.audio.v1 import audio_service_pb2, audio_service_pb2_grpc
from moneyprinter.audio.v1 import speech_service_pb2 as pb
from moneyprinter.audio.v1 import speech_service_pb2_grpc as pb_grpc
from services.config.config import Config as SecretsConfig
from services.content.config import Config as ContentConfig
from services.content.moderation.policy import parse_policy
from services.storage.config import Config as StorageConfig
from tests.audio.conftest import settings
from tests.audio.sounds import RATE, level, programs, r128, read
from tests.mesh import Mesh, ffmpeg_program

TEXT = "Dr. Smith was calm. Nobody spoke of 3 whales, or of him."
WORDS = [["Dr.", "Smith", "was", "calm."], ["Nobody", "spoke", "of", "3", "whales,", "or", "of", "him."]]
ROLE = ("audio.generate",)
LONG = "This sentence is spoken again and again, and it takes a while. " * 300
DECODE = ("-f", "wav", "-acodec", "pcm_s16le", "-ar", str(RATE), "-ac", "1")


@pytest.fixture
async def speech_mesh(mesh: Mesh, tmp_path: Path) -> Mesh:
    """A mesh with the audio service, which speaks one text at a time."""
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", StorageConfig(root=tmp_path / "blobs"))
    await mesh.start("content", ContentConfig())
    await mesh.start("audio", settings().model_copy(update={"max_speech_calls": 1}))
    return mesh


@pytest.fixture
async def speech(speech_mesh: Mesh) -> pb_grpc.SpeechServiceAsyncStub:
    return speech_mesh.stub(pb_grpc.SpeechServiceStub, caller="gateway")


async def create_speech(
    mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub, path: Path, **values: Any
) -> dict[str, Any]:
    """Write the spoken text to `path`. Returns the headers and the content type."""
    call: Any = speech.CreateSpeech(pb.CreateSpeechRequest(**values), metadata=mesh.bearer(roles=ROLE))
    headers = await call.initial_metadata()
    parts = [part.data async for part in call]
    assert {part.content_type for part in parts} == {parts[0].content_type}
    path.write_bytes(b"".join(part.data for part in parts))
    return {**headers, "content_type": parts[0].content_type}


def stored_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def decode(path: Path) -> Any:
    """The samples of a sound in any format."""
    subprocess.run([ffmpeg_program(), "-loglevel", "error", "-y", "-i", path, *DECODE, f"{path}.wav"], check=True)
    return read(path.with_name(f"{path.name}.wav"), 1)[:, 0]


async def test_a_refused_text_is_named_as_the_request_names_it(mesh: Mesh) -> None:
    policy = parse_policy("hate=refuse")
    await mesh.start("content", ContentConfig(moderation_policy=policy))
    await mesh.start("audio", settings())
    stub = mesh.stub(pb_grpc.SpeechServiceStub, caller="gateway")
    text = "**We** walk. Heil Hitler, they cried."
    with pytest.raises(errors.InvalidArgument) as refused:
        await stub.TimeSpeech(pb.TimeSpeechRequest(text=text), metadata=mesh.bearer(roles=ROLE))
    assert refused.value.message.startswith("text: the rules of this platform")
    start = text.index("Heil")
    place = f"category hate, characters {start} to {start + len('Heil Hitler')}"
    assert refused.value.violations == (errors.Violation("text", place),)


@pytest.mark.parametrize(
    ("form", "kind"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("opus", "audio/ogg"), ("flac", "audio/flac")]
)
async def test_a_text_is_spoken_and_timed(
    speech_mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub, tmp_path: Path, form: str, kind: str
) -> None:
    path = tmp_path / f"speech.{form}"
    headers = await create_speech(speech_mesh, speech, path, text=TEXT, voice="en-GB", format=form)
    assert headers["content_type"] == kind
    assert int(headers["x-content-length"]) == path.stat().st_size
    times = await speech.TimeSpeech(
        pb.TimeSpeechRequest(text=TEXT, voice="en-GB"), metadata=speech_mesh.bearer(roles=ROLE)
    )
    assert times.provider == "espeak"
    assert [[word.text for word in sentence.words] for sentence in times.sentences] == WORDS

    samples = decode(path)
    assert len(samples) / RATE == pytest.approx(times.duration, abs=0.03)
    integrated, peak = r128(path)
    assert integrated == pytest.approx(-16, abs=0.5)
    assert peak <= -0.5
    # Each word is audible, and the pause between the sentences is almost silent.
    words = [word for sentence in times.sentences for word in sentence.words]
    for word in words:
        assert level(samples[round(word.start * RATE) : round(word.end * RATE)]) > -40, word
    end, begin = times.sentences[0].words[-1].end, times.sentences[1].words[0].start
    assert level(samples[round((end + 0.1) * RATE) : round((begin - 0.1) * RATE)]) < -45

    assert not stored_files(tmp_path), "nothing is stored"
    assert not any(speech_mesh.config.scratch.glob("audio-*/*")), "nothing is left in the scratch folder"


async def test_speech_has_the_requested_loudness(
    speech_mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub, tmp_path: Path
) -> None:
    for target in (-14.0, -23.0):
        await create_speech(speech_mesh, speech, tmp_path / "speech.wav", text=TEXT, loudness=target)
        integrated, peak = r128(tmp_path / "speech.wav")
        assert integrated == pytest.approx(target, abs=0.5)
        assert peak <= -0.9


async def test_word_times_equal_those_of_a_job(speech_mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub) -> None:
    request = audio_service_pb2.SynthesizeRequest(sentences=[" ".join(words) for words in WORDS], voice="en-US")
    *_, last = [u async for u in speech_mesh.stub(audio_service_pb2_grpc.AudioServiceStub).Synthesize(request)]
    times = await speech.TimeSpeech(pb.TimeSpeechRequest(text=TEXT), metadata=speech_mesh.bearer(roles=ROLE))
    made = [word for sentence in last.speech.sentences for word in sentence.words]
    found = [word for sentence in times.sentences for word in sentence.words]
    assert times.duration == pytest.approx(last.speech.duration.ToTimedelta().total_seconds())
    assert np.array([word.start for word in found]) == pytest.approx(
        np.array([word.start.ToTimedelta().total_seconds() for word in made])
    )


async def test_a_request_sets_speed_and_pauses(speech_mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub) -> None:
    bearer = speech_mesh.bearer(roles=ROLE)
    natural, paced = [
        await speech.TimeSpeech(request, metadata=bearer)
        for request in (pb.TimeSpeechRequest(text=TEXT), pb.TimeSpeechRequest(text=TEXT, speed=1.5, sentence_pause=1.2))
    ]
    gaps = [made.sentences[1].words[0].start - made.sentences[0].words[-1].end for made in (natural, paced)]
    assert gaps[1] == pytest.approx(1.2, abs=0.002)
    assert paced.duration - gaps[1] == pytest.approx((natural.duration - gaps[0]) / 1.5, abs=0.03)
    assert [[word.text for word in sentence.words] for sentence in paced.sentences] == WORDS


async def test_a_request_has_pronunciations(speech_mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub) -> None:
    request = pb.TimeSpeechRequest(text=TEXT, pronunciations={"whales": "very large whales of the deep sea"})
    made = await speech.TimeSpeech(request, metadata=speech_mesh.bearer(roles=ROLE))
    assert [[word.text for word in sentence.words] for sentence in made.sentences] == WORDS
    word = made.sentences[1].words[4]
    assert word.end - word.start > 1.2


async def test_every_listed_voice_is_accepted(speech_mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub) -> None:
    signed_in = speech_mesh.bearer(roles=())
    every = (await speech.ListVoices(pb.ListVoicesRequest(), metadata=signed_in)).voices
    names = [voice.name for voice in every]
    assert {"en-US", "en-GB", "de", "zh-CN"} <= set(names)
    assert names == sorted(set(names))
    internal = speech_mesh.stub(audio_service_pb2_grpc.AudioServiceStub)
    for voice in every:
        found = await internal.GetVoice(audio_service_pb2.GetVoiceRequest(name=voice.name))
        assert (found.language, found.provider) == (voice.language, voice.provider)
    english = (await speech.ListVoices(pb.ListVoicesRequest(language="EN"), metadata=signed_in)).voices
    assert {"en-US", "en-GB"} <= {voice.name for voice in english}
    assert all(voice.language.startswith("en") for voice in english)
    assert not (await speech.ListVoices(pb.ListVoicesRequest(language="e"), metadata=signed_in)).voices
    assert all(voice.has_sample for voice in every)
    other = pb.ListVoicesRequest(provider="kokoro")
    assert not (await speech.ListVoices(other, metadata=signed_in)).voices


async def test_a_sample_is_spoken_once_and_kept(
    speech_mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub, tmp_path: Path
) -> None:
    async def get(voice: str, *headers: tuple[str, str]) -> tuple[dict[str, Any], bytes]:
        request = pb.GetVoiceSampleRequest(voice=voice)
        call: Any = speech.GetVoiceSample(request, metadata=(*speech_mesh.bearer(roles=ROLE), *headers))
        return dict(await call.initial_metadata()), b"".join([part.data.data async for part in call])

    # Several callers at once, and a name that leads to the same voice: one sample is made.
    (headers, sample), *others = [await get("de"), *await asyncio.gather(get("de-DE"), get("de"))]
    assert all(other == (headers, sample) for other in others)
    assert len(stored_files(tmp_path)) == 1
    assert int(headers["x-content-length"]) == len(sample)
    assert headers["x-content-sha256"] == hashlib.sha256(sample).hexdigest()
    (tmp_path / "sample.mp3").write_bytes(sample)
    sound = decode(tmp_path / "sample.mp3")
    assert 1.5 < len(sound) / RATE < 5.1
    integrated, peak = r128(tmp_path / "sample.mp3")
    assert integrated == pytest.approx(-16, abs=0.7)
    assert peak <= -0.5
    again, nothing = await get("de", ("if-none-match", f'"x", W/{headers["etag"]}'))
    assert (again["x-http-code"], again["etag"], nothing) == ("304", headers["etag"], b"")
    # A language without a sentence of ours, and a woman's voice.
    assert (await get("eo"))[1] != sample
    assert (await get("de-DE-KatjaNeural"))[1] != sample
    with pytest.raises(errors.InvalidArgument) as refused:
        await get("xx-Unknown")
    assert refused.value.reason == "VOICE_UNKNOWN"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"text": "Hi", "voice": "nobody"}, "VOICE_UNKNOWN"),
        ({"text": "?!"}, "SCRIPT_EMPTY"),
        ({"text": ""}, "REQUEST_INVALID"),
        ({"text": "x" * 20_001}, "REQUEST_INVALID"),
    ],
)
async def test_what_cannot_be_spoken_is_refused(
    speech_mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub, values: dict[str, Any], reason: str
) -> None:
    bearer = speech_mesh.bearer(roles=ROLE)
    with pytest.raises(errors.InvalidArgument) as refused:
        await speech.TimeSpeech(pb.TimeSpeechRequest(**values), metadata=bearer)
    assert refused.value.reason == reason
    with pytest.raises(errors.InvalidArgument) as refused:
        _ = [part async for part in speech.CreateSpeech(pb.CreateSpeechRequest(**values), metadata=bearer)]
    assert refused.value.reason == reason


async def test_the_service_itself_checks_the_role(speech_mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub) -> None:
    """The service does not rely on the check of the gateway."""
    others = speech_mesh.bearer(roles=("video.process", "content.manage", "user.admin"))
    for metadata, error, reason in (
        (others, errors.PermissionDenied, "ROLE_MISSING"),
        ((), errors.Unauthenticated, "TOKEN_INVALID"),
    ):
        with pytest.raises(error) as refused:
            await speech.TimeSpeech(pb.TimeSpeechRequest(text="Hi"), metadata=metadata)
        assert refused.value.reason == reason
        with pytest.raises(error) as refused:
            _ = [part async for part in speech.CreateSpeech(pb.CreateSpeechRequest(text="Hi"), metadata=metadata)]
        assert refused.value.reason == reason
    elsewhere = speech_mesh.stub(pb_grpc.SpeechServiceStub, caller="rendering")
    with pytest.raises(errors.PermissionDenied) as refused:
        await elsewhere.TimeSpeech(pb.TimeSpeechRequest(text="Hi"), metadata=speech_mesh.bearer(roles=ROLE))
    assert refused.value.reason == "CALLER_NOT_ALLOWED"


async def test_a_busy_service_returns_retry_after_and_a_cancelled_call_leaves_nothing(
    speech_mesh: Mesh, speech: pb_grpc.SpeechServiceAsyncStub
) -> None:
    bearer = speech_mesh.bearer(roles=ROLE)
    long: Any = speech.CreateSpeech(pb.CreateSpeechRequest(text=LONG), metadata=bearer)
    waiting = asyncio.create_task(long.initial_metadata())
    async with asyncio.timeout(30):
        while not programs():
            await speech.ListVoices(pb.ListVoicesRequest(language="eo"), metadata=bearer)
    with pytest.raises(errors.ResourceExhausted) as full:
        await speech.TimeSpeech(pb.TimeSpeechRequest(text="Hi"), metadata=bearer)
    assert full.value.reason == "BUSY"
    assert full.value.retry_after_seconds == 1.0
    # The calls of jobs have capacity of their own.
    internal = speech_mesh.stub(audio_service_pb2_grpc.AudioServiceStub)
    request = audio_service_pb2.SynthesizeRequest(sentences=["Hi."], voice="en-US")
    assert [update async for update in internal.Synthesize(request)]

    long.cancel()
    await asyncio.wait([waiting])
    async with asyncio.timeout(10):
        while any(speech_mesh.config.scratch.glob("audio-*/*")):
            await speech.ListVoices(pb.ListVoicesRequest(), metadata=bearer)
    assert not programs()
    await speech.TimeSpeech(pb.TimeSpeechRequest(text="Hi"), metadata=bearer)

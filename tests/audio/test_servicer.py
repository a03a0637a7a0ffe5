"""The audio service over the mesh, with the real storage service."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from google.protobuf.duration_pb2 import Duration

from moneyprinter import errors
from moneyprinter.audio.v1 import audio_service_pb2 as pb
from moneyprinter.audio.v1 import audio_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.runtime.config import ConfigError
from tests import media
from tests.audio.conftest import settings
from tests.audio.sounds import RATE, level, r128, read
from tests.mesh import Mesh


def duration(seconds: float) -> Duration:
    made = Duration()
    made.FromTimedelta(timedelta(seconds=seconds))
    return made


async def synthesized(stub: pb_grpc.AudioServiceAsyncStub, *sentences: str) -> pb.Speech:
    updates = [u async for u in stub.Synthesize(pb.SynthesizeRequest(sentences=sentences, voice="en-US-Standard-A"))]
    assert [update.WhichOneof("update") for update in updates[:-1]] == ["progress"] * (len(updates) - 1)
    return updates[-1].speech


async def test_a_script_becomes_speech_and_a_mix(
    audio: Mesh, stub: pb_grpc.AudioServiceAsyncStub, tmp_path: Path
) -> None:
    speech = await synthesized(stub, "The sea was calm.", "Nobody spoke.")
    assert speech.provider == "espeak"
    assert [[word.text for word in sentence.words] for sentence in speech.sentences] == [
        ["The", "sea", "was", "calm."],
        ["Nobody", "spoke."],
    ]
    await audio.objects().get_file(speech.audio, tmp_path / "speech.wav")
    spoken = read(tmp_path / "speech.wav", 1)
    assert len(spoken) / RATE == pytest.approx(speech.duration.ToTimedelta().total_seconds(), abs=0.001)

    request = pb.MixRequest(narration=speech.audio, background_music="upbeat", duration=duration(5.0))
    *progress, last = [update async for update in stub.Mix(request)]
    assert progress and all(update.HasField("progress") for update in progress)
    await audio.objects().get_file(last.mix.audio, tmp_path / "mix.wav")
    assert len(read(tmp_path / "mix.wav", 2)) == 5 * RATE
    integrated, peak = r128(tmp_path / "mix.wav")
    assert last.mix.loudness_lufs == pytest.approx(integrated, abs=0.11) == pytest.approx(-14, abs=0.5)
    assert last.mix.true_peak_dbtp == pytest.approx(peak, abs=0.11)

    assert await synthesized(stub, "The sea was calm.", "Nobody spoke.") == speech
    assert [update async for update in stub.Mix(request)] == [last]
    assert not any(audio.config.scratch.glob("audio-*/*")), "nothing is left in the scratch folder"


async def test_a_recording_gets_the_times_of_its_words(
    audio: Mesh, stub: pb_grpc.AudioServiceAsyncStub, tmp_path: Path
) -> None:
    folder = Path(__file__).parent / "alignment"
    recording = await audio.objects().put_file("uploads/es.opus", folder / "es.opus")
    truth = json.loads((folder / "es.json").read_text())["sentences"]
    request = pb.AlignRecordingRequest(
        recording=recording, sentences=[sentence["text"] for sentence in truth], language="es-ES"
    )
    *progress, last = [update async for update in stub.AlignRecording(request)]
    assert progress and all(update.HasField("progress") for update in progress)
    assert last.speech.provider == "recording"
    words = [[word.text for word in sentence.words] for sentence in last.speech.sentences]
    assert words == [[text for text, _, _ in sentence["words"]] for sentence in truth]
    await audio.objects().get_file(last.speech.audio, tmp_path / "narration.wav")
    seconds = len(read(tmp_path / "narration.wav", 1)) / RATE
    assert seconds == pytest.approx(last.speech.duration.ToTimedelta().total_seconds(), abs=0.001)
    assert [update async for update in stub.AlignRecording(request)] == [last]
    words_file = await audio.objects().put_bytes("uploads/words", b"words" * 100)
    with pytest.raises(errors.InvalidArgument, match="no sound that can be played"):
        broken = pb.AlignRecordingRequest(recording=words_file, sentences=["Hi."], language="en-US")
        _ = [update async for update in stub.AlignRecording(broken)]


async def test_the_sound_of_a_clip_is_mixed(audio: Mesh, stub: pb_grpc.AudioServiceAsyncStub, tmp_path: Path) -> None:
    speech = await synthesized(stub, "The sea was calm.")
    tone = media.clip(tmp_path / "tone.mp4", size=(64, 36), seconds=3.0, sound=True)
    clip = await audio.objects().put_file("uploads/tone.mp4", tone)
    clip_sound = pb.ClipSound(
        clip=clip, source_start=duration(0.5), start=duration(3.0), duration=duration(1.0), volume=0.5, speed=0
    )
    request = pb.MixRequest(narration=speech.audio, duration=duration(5.0), clip_sounds=[clip_sound])
    *_, last = [update async for update in stub.Mix(request)]
    await audio.objects().get_file(last.mix.audio, tmp_path / "mix.wav")
    sound = read(tmp_path / "mix.wav", 2)
    assert level(sound[round(3.1 * RATE) : round(3.9 * RATE)]) > -40
    assert level(sound[round(4.1 * RATE) :]) < -70

    mute = await audio.objects().put_file("uploads/mute.mp4", media.clip(tmp_path / "mute.mp4", size=(64, 36)))
    clip_sound.clip.CopyFrom(mute)
    with pytest.raises(errors.InvalidArgument, match="no sound") as refused:
        _ = [
            update
            async for update in stub.Mix(
                pb.MixRequest(narration=speech.audio, duration=duration(5.0), clip_sounds=[clip_sound])
            )
        ]
    assert refused.value.reason == "CLIP_NOT_PLAYABLE"
    assert not any(audio.config.scratch.glob("audio-*/*")), "nothing is left in the scratch folder"


async def test_a_voice_is_found(stub: pb_grpc.AudioServiceAsyncStub) -> None:
    found = await stub.GetVoice(pb.GetVoiceRequest(name="de-DE-Wavenet-F"))
    assert (found.name, found.language, found.provider) == ("de-DE-Wavenet-F", "de-DE", "espeak")
    assert [notice.reason for notice in found.notices] == ["VOICE_REPLACED"]


async def test_bad_requests_are_refused_with_their_reasons(stub: pb_grpc.AudioServiceAsyncStub) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await stub.GetVoice(pb.GetVoiceRequest(name="en-US-Nobody-9"))
    assert refused.value.reason == "VOICE_UNKNOWN"
    nowhere = media_pb2.Object(key="jobs/none.wav", sha256="0" * 64, size_bytes=1)
    for call, reason in (
        (stub.Synthesize(pb.SynthesizeRequest(sentences=["Hi"], voice="nobody")), "VOICE_UNKNOWN"),
        (stub.Synthesize(pb.SynthesizeRequest(sentences=["?!"], voice="en-US")), "SCRIPT_EMPTY"),
        (stub.Synthesize(pb.SynthesizeRequest(sentences=[], voice="en-US")), "REQUEST_INVALID"),
        (stub.Mix(pb.MixRequest(narration=nowhere, background_music="x", duration=duration(1))), "MUSIC_UNKNOWN"),
        (stub.Mix(pb.MixRequest(narration=nowhere, duration=duration(0))), "REQUEST_INVALID"),
    ):
        with pytest.raises(errors.InvalidArgument) as refused:
            _ = [update async for update in call]
        assert refused.value.reason == reason
    with pytest.raises(errors.NotFound) as missing:
        _ = [update async for update in stub.Mix(pb.MixRequest(narration=nowhere, duration=duration(1)))]
    assert missing.value.reason == "OBJECT_NOT_FOUND"


async def test_a_cancelled_call_leaves_no_child(audio: Mesh, stub: pb_grpc.AudioServiceAsyncStub) -> None:
    speech = await synthesized(stub, "The sea was calm.")
    call = stub.Mix(pb.MixRequest(narration=speech.audio, background_music="dark", duration=duration(1800)))
    async for update in call:
        assert update.HasField("progress")
        break
    running = [child for child in psutil.Process().children() if any("blend.wav" in part for part in child.cmdline())]
    assert running
    call.cancel()
    # Its folder goes when the child is gone.
    async with asyncio.timeout(10):
        while any(audio.config.scratch.glob("audio-*/*")):
            await stub.GetVoice(pb.GetVoiceRequest(name="en-US"))
    assert not any(child.is_running() for child in running)


async def test_a_missing_engine_prevents_the_start(mesh: Mesh, tmp_path: Path) -> None:
    for change in ({"espeak_library": tmp_path / "missing.so"}, {"espeak_data": tmp_path}):
        with pytest.raises(ConfigError, match="MONEYPRINTER_AUDIO_ESPEAK_LIBRARY"):
            await mesh.start("audio", settings().model_copy(update=change))

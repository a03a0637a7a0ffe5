"""The edge of the audio service: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.api import httpbody_pb2
from google.protobuf.duration_pb2 import Duration

from moneyprinter.audio.v1 import audio_service_pb2 as pb
from moneyprinter.audio.v1 import audio_service_pb2_grpc as pb_grpc
from moneyprinter.audio.v1 import speech_service_pb2 as speech_pb
from moneyprinter.audio.v1 import speech_service_pb2_grpc as speech_grpc
from moneyprinter.media.v1 import media_pb2
from moneyprinter.objects import Objects
from services.audio import choice, export, mastering, mix, preview, speech
from services.audio.choice import Choice, Text
from services.audio.clips import ClipSound
from services.runtime.progress import OnProgress, stream_progress
from services.runtime.server import Runtime

# Small, so that a client that reads slowly is seen to read.
CHUNK_BYTES = 64 * 1024

Sentences = Callable[[str, str, str], Awaitable[Sequence[str]]]
"""Cuts a text into its sentences, as a script is cut that is spoken in a video, by its language and format."""


class AudioServicer(pb_grpc.AudioServiceServicer):
    """Speech and music."""

    def __init__(self, runtime: Runtime, objects: Objects, speakers: Sequence[speech.Speaker], desk: mix.Desk) -> None:
        self._runtime = runtime
        self._objects = objects
        self._speakers = speakers
        self._desk = desk

    async def GetVoice(self, request: pb.GetVoiceRequest, context: Any) -> pb.GetVoiceResponse:
        texts = [Text(text.field, text.text) for text in request.texts]
        title = Text("title", request.title) if request.title else None
        chosen = await asyncio.to_thread(choice.choose, self._speakers, request.name, texts, title)
        return pb.GetVoiceResponse(
            name=chosen.voice.name,
            language=chosen.voice.language,
            provider=chosen.speaker.name,
            quality=chosen.voice.quality.value,
            notices=_notices(chosen),
        )

    async def Synthesize(self, request: pb.SynthesizeRequest, context: Any) -> AsyncIterator[pb.SynthesizeResponse]:
        speaker, voice = speech.find_voice(self._speakers, request.voice)

        async def synthesize(on_progress: OnProgress) -> pb.SynthesizeResponse:
            async with self._runtime.scratch() as folder:
                made = await speech.synthesize(speaker, voice, self._objects, request.sentences, folder, on_progress)
                return await asyncio.to_thread(_speech, made)

        async with aclosing(stream_progress(synthesize, _speech_progress)) as responses:
            async for response in responses:
                yield response

    async def Mix(self, request: pb.MixRequest, context: Any) -> AsyncIterator[pb.MixResponse]:
        order = mix.Order(
            narration=request.narration,
            narration_sha256=request.narration.sha256,
            mood=request.background_music,
            duration=request.duration.ToTimedelta(),
            clip_sounds=tuple(map(_clip_sound, request.clip_sounds)),
            target_lufs=request.loudness_lufs or mix.TARGET_LUFS,
        )

        async def make(on_progress: OnProgress) -> pb.MixResponse:
            async with self._runtime.scratch() as folder:
                return _mix(await mix.mix(self._desk, self._objects, order, folder, on_progress))

        async with aclosing(stream_progress(make, _mix_progress)) as responses:
            async for response in responses:
                yield response

    async def EncodePreview(self, request: pb.EncodePreviewRequest, context: Any) -> pb.EncodePreviewResponse:
        async with self._runtime.scratch() as folder:
            made = await preview.encode(
                self._desk.ffmpeg, self._desk.ffmpeg_version, self._objects, request.audio, folder
            )
        return pb.EncodePreviewResponse(audio=made.audio, header_bytes=made.header_bytes)


class SpeechServicer(speech_grpc.SpeechServiceServicer):
    """Speech by itself, for the public."""

    def __init__(
        self, runtime: Runtime, speakers: Sequence[speech.Speaker], desk: mix.Desk, sentences: Sentences
    ) -> None:
        self._runtime = runtime
        self._speakers = speakers
        self._desk = desk
        self._sentences = sentences

    async def ListVoices(self, request: speech_pb.ListVoicesRequest, context: Any) -> speech_pb.ListVoicesResponse:
        found = speech.voices(self._speakers, request.language)
        voices = (
            speech_pb.Voice(
                name=voice.name,
                language=voice.language,
                provider=speaker.name,
                quality=voice.quality.value,
                quality_note=voice.note,
            )
            for speaker, voice in found
        )
        return speech_pb.ListVoicesResponse(voices=voices)

    async def CreateSpeech(
        self, request: speech_pb.CreateSpeechRequest, context: Any
    ) -> AsyncIterator[speech_pb.CreateSpeechResponse]:
        async with self._runtime.scratch() as folder:
            wav = folder / "speech.wav"
            said, chosen = await self._say(request, wav)
            samples = round(said.duration / timedelta(seconds=1) * mastering.RATE)
            form, loud = request.format or "wav", request.loudness or export.LOUDNESS_LUFS
            made = await export.export(self._desk.ffmpeg, wav, form, loud, samples)
            headers = await asyncio.to_thread(_file_headers, made, form)
            await context.send_initial_metadata((*headers, *_voice_headers(chosen)))
            with made.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    body = httpbody_pb2.HttpBody(content_type=export.FORMATS[form].content_type, data=chunk)
                    yield speech_pb.CreateSpeechResponse(data=body)

    async def TimeSpeech(self, request: speech_pb.TimeSpeechRequest, context: Any) -> speech_pb.TimeSpeechResponse:
        async with self._runtime.scratch() as folder:
            said, chosen = await self._say(request, folder / "speech.wav")
        # In a thread: there may be 20,000 words.
        sentences = await asyncio.to_thread(_timed_sentences, said)
        return speech_pb.TimeSpeechResponse(
            duration=said.duration / timedelta(seconds=1),
            sentences=sentences,
            provider=chosen.speaker.name,
            voice=chosen.voice.name,
            language=chosen.voice.language,
            quality=chosen.voice.quality.value,
            notices=_notices(chosen),
        )

    async def _say(
        self, request: speech_pb.CreateSpeechRequest | speech_pb.TimeSpeechRequest, target: Path
    ) -> tuple[speech.Spoken, Choice]:
        chosen = await asyncio.to_thread(choice.choose, self._speakers, request.voice, [Text("text", request.text)])
        sentences = await self._sentences(request.text, chosen.voice.language, request.script_format)
        return await speech.say(chosen.speaker, chosen.voice, sentences, target), chosen


def _file_headers(made: Path, form: str) -> tuple[tuple[str, str], ...]:
    with made.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return (
        ("content-disposition", f'attachment; filename="speech.{form}"'),
        ("x-content-length", str(made.stat().st_size)),
        ("x-content-sha256", digest),
    )


def _voice_headers(chosen: Choice) -> tuple[tuple[str, str], ...]:
    return (
        ("x-voice", chosen.voice.name),
        ("x-voice-quality", chosen.voice.quality.value),
        ("x-notices", ", ".join(notice.reason for notice in chosen.notices)),
    )


def _notices(chosen: Choice) -> list[media_pb2.Notice]:
    return [media_pb2.Notice(reason=notice.reason, message=notice.message) for notice in chosen.notices]


def _timed_sentences(said: speech.Spoken) -> list[media_pb2.TimedSentence]:
    return [media_pb2.TimedSentence(words=map(_timed, words)) for words in said.sentences if words]


def _timed(word: speech.Word) -> media_pb2.TimedWord:
    second = timedelta(seconds=1)
    return media_pb2.TimedWord(text=word.text, start=word.start / second, end=word.end / second)


def _speech_progress(fraction: float) -> pb.SynthesizeResponse:
    return pb.SynthesizeResponse(progress=media_pb2.Progress(fraction=fraction))


def _speech(made: speech.Speech) -> pb.SynthesizeResponse:
    sentences = (pb.Sentence(words=map(_word, words)) for words in made.spoken.sentences)
    said = pb.Speech(
        audio=made.audio, duration=_duration(made.spoken.duration), sentences=sentences, provider=made.provider
    )
    return pb.SynthesizeResponse(speech=said)


def _clip_sound(asked: pb.ClipSound) -> ClipSound:
    return ClipSound(
        clip=asked.clip,
        clip_sha256=asked.clip.sha256,
        source_start=asked.source_start.ToTimedelta(),
        start=asked.start.ToTimedelta(),
        duration=asked.duration.ToTimedelta(),
        volume=asked.volume,
        speed=asked.speed or 1.0,
        track=asked.track,
        track_start=asked.track_start,
    )


def _mix_progress(fraction: float) -> pb.MixResponse:
    return pb.MixResponse(progress=media_pb2.Progress(fraction=fraction))


def _mix(made: mix.Mixed) -> pb.MixResponse:
    loud = made.loudness
    return pb.MixResponse(
        mix=pb.Mix(audio=made.audio, loudness_lufs=loud.integrated_lufs, true_peak_dbtp=loud.true_peak_dbtp)
    )


def _word(word: speech.Word) -> media_pb2.Word:
    return media_pb2.Word(text=word.text, start=_duration(word.start), end=_duration(word.end))


def _duration(time: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(time)
    return duration

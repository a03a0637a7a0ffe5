"""The edge of the audio service: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from moneyprinter.audio.v1 import audio_service_pb2 as pb
from moneyprinter.audio.v1 import audio_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from moneyprinter.objects import Objects
from services.audio import mix, preview, speech
from services.audio.clips import ClipSound
from services.runtime.server import Runtime


class AudioServicer(pb_grpc.AudioServiceServicer):
    """Speech and music."""

    def __init__(self, runtime: Runtime, objects: Objects, speakers: Sequence[speech.Speaker], desk: mix.Desk) -> None:
        self._runtime = runtime
        self._objects = objects
        self._speakers = speakers
        self._desk = desk

    async def GetVoice(self, request: pb.GetVoiceRequest, context: Any) -> pb.GetVoiceResponse:
        speaker, voice = speech.find_voice(self._speakers, request.name)
        return pb.GetVoiceResponse(name=voice.name, language=voice.language, provider=speaker.name)

    async def Synthesize(self, request: pb.SynthesizeRequest, context: Any) -> AsyncIterator[pb.SynthesizeResponse]:
        async with (
            self._runtime.scratch() as folder,
            aclosing(
                speech.synthesize(self._speakers, self._objects, request.sentences, request.voice, folder)
            ) as updates,
        ):
            async for update in updates:
                yield (
                    _speech(update)
                    if isinstance(update, speech.Speech)
                    else pb.SynthesizeResponse(progress=media_pb2.Progress(fraction=update))
                )

    async def Mix(self, request: pb.MixRequest, context: Any) -> AsyncIterator[pb.MixResponse]:
        order = mix.Order(
            narration=request.narration,
            narration_sha256=request.narration.sha256,
            mood=request.background_music,
            duration=request.duration.ToTimedelta(),
            clip_sounds=tuple(map(_clip_sound, request.clip_sounds)),
            target_lufs=request.loudness_lufs or mix.TARGET_LUFS,
        )
        async with (
            self._runtime.scratch() as folder,
            aclosing(mix.mix(self._desk, self._objects, order, folder)) as updates,
        ):
            async for update in updates:
                yield (
                    _mix(update)
                    if isinstance(update, mix.Mixed)
                    else pb.MixResponse(progress=media_pb2.Progress(fraction=update))
                )

    async def EncodePreview(self, request: pb.EncodePreviewRequest, context: Any) -> pb.EncodePreviewResponse:
        async with self._runtime.scratch() as folder:
            made = await preview.encode(
                self._desk.ffmpeg, self._desk.ffmpeg_version, self._objects, request.audio, folder
            )
        return pb.EncodePreviewResponse(audio=made.audio, header_bytes=made.header_bytes)


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
    )


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

"""Messages: conversion between the audio service's protobuf messages and its domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from moneyprinter.audio.v1 import audio_service_pb2 as pb
from moneyprinter.audio.v1 import speech_service_pb2 as speech_pb
from moneyprinter.media.v1 import media_pb2
from services.audio import mix, speech
from services.audio.clip_sounds import ClipSound
from services.audio.costs import is_charged
from services.audio.fallback import Candidate, describe_fallback
from services.audio.lexicon import Lexicon
from services.audio.mastering import choose_chain
from services.audio.own_music import OwnMusic
from services.audio.pacing import Pacing
from services.audio.voice_selection import Notice
from services.providers.chain import ChainResult
from services.providers.usage import price

_SECOND = timedelta(seconds=1)


def to_notices(notices: Iterable[Notice]) -> list[media_pb2.Notice]:
    """The messages of notices."""
    return [media_pb2.Notice(reason=notice.reason, message=notice.message) for notice in notices]


def to_timed_sentences(spoken: speech.SpokenText) -> list[media_pb2.TimedSentence]:
    """The words of each sentence with their times in seconds, for the public."""
    return [media_pb2.TimedSentence(words=map(_to_timed_word, words)) for words in spoken.sentences if words]


def _to_timed_word(word: speech.Word) -> media_pb2.TimedWord:
    return media_pb2.TimedWord(text=word.text, start=word.start / _SECOND, end=word.end / _SECOND)


def from_pacing(request: pb.SynthesizeRequest | speech_pb.CreateSpeechRequest | speech_pb.TimeSpeechRequest) -> Pacing:
    """The pace that a request sets."""
    pacing = Pacing(request.speed or 1.0, request.sentence_pause)
    if isinstance(request, pb.SynthesizeRequest):
        return replace(pacing, scene_pause=request.scene_pause, scene_lengths=tuple(request.scene_lengths))
    return pacing


def from_lexicon(
    request: pb.SynthesizeRequest | speech_pb.CreateSpeechRequest | speech_pb.TimeSpeechRequest,
) -> Lexicon:
    """The pronunciations of a request."""
    return Lexicon(dict(request.pronunciations))


def to_speech_progress(fraction: float) -> pb.SynthesizeResponse:
    """The progress of a synthesis, from 0 to 1."""
    return pb.SynthesizeResponse(progress=media_pb2.Progress(fraction=fraction))


def to_speech(chain: ChainResult[Candidate, speech.Speech], prices: Mapping[str, float]) -> pb.SynthesizeResponse:
    """A stored speech with its words and their times, and the voice that spoke it."""
    made, voice = chain.result, chain.provider.voice
    sentences = (pb.Sentence(words=map(_to_word, words)) for words in made.spoken.sentences)
    message = pb.Speech(
        audio=made.audio,
        duration=_to_duration(made.spoken.duration),
        sentences=sentences,
        provider=made.provider,
        voice=voice.setting,
        quality=voice.quality.value,
        notices=to_notices(describe_fallback(chain.provider, chain.skipped)),
    )
    if made.characters:
        usage = price(
            made.provider, "characters", made.characters, prices if is_charged(chain.provider.provider) else {}
        )
        message.usage.add(provider=usage.provider, unit=usage.unit, amount=usage.amount, cost=usage.cost)
    return pb.SynthesizeResponse(speech=message)


def to_recording_progress(fraction: float) -> pb.AlignRecordingResponse:
    """The progress of an alignment, from 0 to 1."""
    return pb.AlignRecordingResponse(progress=media_pb2.Progress(fraction=fraction))


def to_recording(made: speech.Speech) -> pb.AlignRecordingResponse:
    """A stored recording with its words and their times."""
    sentences = (pb.Sentence(words=map(_to_word, words)) for words in made.spoken.sentences)
    message = pb.Speech(
        audio=made.audio, duration=_to_duration(made.spoken.duration), sentences=sentences, provider=made.provider
    )
    return pb.AlignRecordingResponse(speech=message)


def from_mix_request(request: pb.MixRequest) -> mix.MixRequest:
    """The request of a mix."""
    return mix.MixRequest(
        narration=request.narration,
        narration_sha256=request.narration.sha256,
        mood=request.background_music,
        duration=request.duration.ToTimedelta(),
        clip_sounds=tuple(map(_from_clip_sound, request.clip_sounds)),
        target_lufs=request.loudness_lufs or mix.TARGET_LUFS,
        track=_from_music_track(request.music) if request.HasField("music") else None,
        voice_chain=choose_chain(request.voice_chain, request.narration_provider),
    )


def _from_music_track(message: pb.MusicTrack) -> OwnMusic:
    return OwnMusic(
        stored=message.object,
        sha256=message.object.sha256,
        start_seconds=message.start.ToTimedelta() / _SECOND,
        volume=message.volume,
        fade_in_seconds=message.fade_in.ToTimedelta() / _SECOND,
        fade_out_seconds=message.fade_out.ToTimedelta() / _SECOND,
        once=message.once,
    )


def _from_clip_sound(message: pb.ClipSound) -> ClipSound:
    return ClipSound(
        clip=message.clip,
        clip_sha256=message.clip.sha256,
        source_start=message.source_start.ToTimedelta(),
        start=message.start.ToTimedelta(),
        duration=message.duration.ToTimedelta(),
        volume=message.volume,
        speed=message.speed or 1.0,
        track=message.track,
        track_start=message.track_start,
    )


def to_mix_progress(fraction: float) -> pb.MixResponse:
    """The progress of a mix, from 0 to 1."""
    return pb.MixResponse(progress=media_pb2.Progress(fraction=fraction))


def to_mix(track: mix.MixedTrack) -> pb.MixResponse:
    """A finished mix with its measured loudness."""
    measured = track.loudness
    return pb.MixResponse(
        mix=pb.Mix(audio=track.audio, loudness_lufs=measured.integrated_lufs, true_peak_dbtp=measured.true_peak_dbtp)
    )


def _to_word(word: speech.Word) -> media_pb2.Word:
    return media_pb2.Word(text=word.text, start=_to_duration(word.start), end=_to_duration(word.end))


def _to_duration(time: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(time)
    return duration

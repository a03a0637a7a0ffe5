"""Mix: music and clips' own sound under a narration, mastered together to one loudness and an exact length.

The voice is brought to one level and compressed. The music is looped, fades in and out, and is attenuated around the
frequencies of speech. While the voice speaks, a sidechain compressor lowers the music, and the clips less. Their sum
is mastered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import ffmpeg

from moneyprinter.errors import InvalidArgument, NotFound
from services.audio import clip_sounds, loudness, mastering, music, own_music
from services.audio.clip_sounds import ClipSound
from services.audio.own_music import OwnMusic
from services.media.loudness import Loudness
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress, part_of

TARGET_LUFS = -14.0
RATE = clip_sounds.RATE

_VERSION = 3
"""Increases when the same request would sound different."""
_MUSIC_LUFS = -26.0
_MIN_DURATION = timedelta(seconds=0.5)


@dataclass(frozen=True)
class MixRequest:
    """The content and the loudness of a mix."""

    narration: Any
    """The stored narration; None: there is none."""
    narration_sha256: str
    """Empty: there is no narration."""
    mood: str
    """The mood of the music; empty: no music."""
    duration: timedelta
    clip_sounds: tuple[ClipSound, ...] = ()
    target_lufs: float = TARGET_LUFS
    track: OwnMusic | None = None
    """Music of a user, in place of `mood`."""
    voice_chain: mastering.VoiceChain = mastering.VoiceChain.COMPRESSION
    """How the narration is processed."""

    @property
    def samples(self) -> int:
        """The length in samples at 48 kHz."""
        return round(self.duration / timedelta(seconds=1) * RATE)


@dataclass(frozen=True)
class MixedTrack:
    """A finished sound track."""

    audio: Any
    """The stored sound: WAV, 48 kHz, stereo, 16 bit."""
    loudness: Loudness


class Objects(Protocol):
    """The object store."""

    async def head(self, key: str) -> Any: ...

    async def get_file(self, source: Any, path: Path) -> None: ...

    async def put_file(self, key: str, path: Path) -> Any: ...


@dataclass(frozen=True)
class Mixer:
    """Mixes sound tracks with ffmpeg."""

    ffmpeg: Path
    ffmpeg_version: str
    max_duration: timedelta

    async def mix(
        self, objects: Objects, request: MixRequest, folder: Path, on_progress: OnProgress = ignore_progress
    ) -> MixedTrack:
        """Mix and master, or return the stored result of an equal request.

        Args:
            objects: The object store with the narration, the clips and the results.
            request: The content of the mix.
            folder: An empty folder for temporary files.
            on_progress: Receives the progress, from 0 to 1.

        Raises `InvalidArgument` (MUSIC_UNKNOWN), (SOUND_NOT_PLAYABLE) and (SOUND_SILENT) for own music,
        (SPEECH_FAILED) when the narration is silent, (CLIP_NOT_PLAYABLE) when a clip has no sound, and
        (REQUEST_INVALID) when the duration or a start is out of range; `Internal` when ffmpeg fails.
        """
        loop = music.find_loop(request.mood)
        _check(request, self.max_duration)
        key = f"cache/audio/{self._digest(request, loop)}.wav"
        if audio := await objects.head(key):
            try:
                await objects.get_file(audio, folder / "master.wav")
            except NotFound:
                # The stored result was damaged.
                (folder / "master.wav").unlink()
            else:
                return MixedTrack(audio, await loudness.measure(self.ffmpeg, "master.wav", folder))
        if request.narration_sha256:
            await objects.get_file(request.narration, folder / "narration.wav")
        if request.clip_sounds:
            on_progress(0.01)
            await clip_sounds.place_clip_sounds(self.ffmpeg, objects, request.clip_sounds, request.samples, folder)
        bed: ffmpeg.Stream | None = None
        if request.track is not None:
            bed = await own_music.prepare(
                self.ffmpeg, objects, request.track, request.samples / RATE, _MUSIC_LUFS, folder
            )
        elif loop is not None:
            bed = _loop_bed(loop, request.samples)
        measured = await _make_master(self.ffmpeg, request, bed, folder, on_progress)
        return MixedTrack(await objects.put_file(key, folder / "master.wav"), measured)

    def _digest(self, request: MixRequest, loop: music.Loop | None) -> str:
        loop_digest = hashlib.sha256(loop.path.read_bytes()).hexdigest() if loop else ""
        clips = [clip.identity for clip in request.clip_sounds]
        spec = [
            *(_VERSION, self.ffmpeg_version, request.narration_sha256, loop_digest),
            *(request.samples, clips, request.target_lufs),
            *(request.track.identity if request.track else ()),
            *filter(None, [request.voice_chain.value]),
        ]
        return hashlib.sha256(json.dumps(spec).encode()).hexdigest()


def _check(request: MixRequest, max_duration: timedelta) -> None:
    if not _MIN_DURATION <= request.duration <= max_duration:
        raise InvalidArgument(
            f"a mix of {request.duration.total_seconds():g} s cannot be made; "
            f"it takes {_MIN_DURATION.total_seconds():g} to {max_duration.total_seconds():g} s",
            reason="REQUEST_INVALID",
        )
    for number, sound in enumerate(request.clip_sounds):
        if min(sound.source_start, sound.start) < timedelta(0):
            raise InvalidArgument(
                f"clip_sounds[{number}] begins before 0 s; let it begin at 0 s or later", reason="REQUEST_INVALID"
            )


async def _make_master(
    program: Path, request: MixRequest, music_bed: ffmpeg.Stream | None, folder: Path, on_progress: OnProgress
) -> Loudness:
    """Make `master.wav`. Returns its loudness; without narration it may be silent."""
    source, measured = "", Loudness(0.0, 0.0, 0.0)
    if request.narration_sha256:
        source = "narration.wav"
        measured = await loudness.measure(program, source, folder, children.BACKGROUND_NICENESS)
        if measured.integrated_lufs < loudness.SILENT_LUFS:
            raise InvalidArgument("the narration is silent; speak the script again", reason="SPEECH_FAILED")
    for name, codec, begin, share in (
        ("blend.wav", "pcm_f32le", 0.05, 0.45),
        ("limited.wav", "pcm_f32le", 0.5, 0.3),
        ("master.wav", "pcm_s16le", 0.8, 0.15),
    ):
        match name:
            case "blend.wav":
                voice = _even_out(source, measured, request) if source else None
                sound = _blend(voice, request, music_bed)
            case "master.wav" if measured.integrated_lufs < loudness.SILENT_LUFS:
                # A silent mix has no loudness to adjust.
                sound = _fit_length(ffmpeg.input(source, f="wav"), request)
            case "limited.wav" if measured.integrated_lufs < loudness.SILENT_LUFS:
                continue
            case "limited.wav" if mastering.exceeds_peak(measured, request.target_lufs):
                sound = mastering.limit_peaks(source, measured, request.target_lufs)
            case "master.wav":
                sound = _fit_length(mastering.normalize(source, measured, request.target_lufs), request)
            case _:
                continue
        file = sound.output(name, acodec=codec, ar=RATE, fflags="+bitexact", **{"flags:a": "+bitexact"})
        seconds = request.samples / RATE
        report = part_of(on_progress, begin, begin + share)
        await loudness.process_sound(
            program, file, seconds=seconds, folder=folder, on_progress=report, niceness=children.BACKGROUND_NICENESS
        )
        source, measured = name, await loudness.measure(program, name, folder, children.BACKGROUND_NICENESS)
    return measured


def _even_out(source: str, measured: Loudness, request: MixRequest) -> ffmpeg.Stream:
    return mastering.even_out(source, mastering.VOICE_LUFS - measured.integrated_lufs, request.voice_chain)


def _blend(voice: ffmpeg.Stream | None, request: MixRequest, music_bed: ffmpeg.Stream | None) -> ffmpeg.Stream:
    """The compressed voice, with the music and the clips ducked under it."""
    samples = request.samples
    # Each bed under the voice, with the threshold and the ratio of its sidechain compressor.
    beds: list[tuple[ffmpeg.Stream, float, float]] = []
    if music_bed is not None:
        beds.append((music_bed, 0.02, 4.0))
    if request.clip_sounds:
        clips = ffmpeg.input(clip_sounds.CLIPS_FILE, f="f32le", ar=RATE, ac=2)
        beds.append((_to_stereo(clips), 0.04, 2.0))
    if voice is None:
        return _sum_beds([bed for bed, _, _ in beds], samples)
    voice = voice.filter("apad", whole_len=samples).filter("atrim", end_sample=samples)
    if not beds:
        return _to_stereo(voice)
    split = voice.filter_multi_output("asplit", 1 + len(beds))
    # The compressor discards its buffer of one input when the other ends. Padding keeps both longer than the mix.
    ducked = [
        ffmpeg.filter(
            [bed.filter("apad"), _to_stereo(split[number]).filter("apad")],
            "sidechaincompress",
            threshold=threshold,
            ratio=ratio,
            attack=12,
            release=420,
            knee=4,
            detection="rms",
        )
        for number, (bed, threshold, ratio) in enumerate(beds, 1)
    ]
    return ffmpeg.filter([_to_stereo(split[0]), *ducked], "amix", inputs=1 + len(beds), normalize=0, duration="first")


def _sum_beds(beds: Sequence[ffmpeg.Stream], samples: int) -> ffmpeg.Stream:
    """The sum of music and clips without a voice; silence when there are none."""
    if not beds:
        silence = ffmpeg.input(f"anullsrc=r={RATE}:cl=stereo", f="lavfi")
        return _to_stereo(silence).filter("atrim", end_sample=samples)
    padded = [bed.filter("apad", whole_len=samples).filter("atrim", end_sample=samples) for bed in beds]
    return ffmpeg.filter(padded, "amix", inputs=len(padded), normalize=0) if len(padded) > 1 else padded[0]


def _to_stereo(sound: ffmpeg.Stream) -> ffmpeg.Stream:
    """Convert a sound to stereo; both sides are equal when it is mono."""
    return sound.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")


def _loop_bed(loop: music.Loop, samples: int) -> ffmpeg.Stream:
    """The looped music, from its first bar, in the length of the mix."""
    seconds = samples / RATE
    sound = music.loop_stream(loop).filter("aloop", loop=-1, size=loop.samples)
    gain_db = _MUSIC_LUFS - music.LOUDNESS_LUFS
    return music.shape_bed(sound, seconds, gain_db, min(0.5, seconds / 4), min(1.5, seconds / 2))


def _fit_length(sound: ffmpeg.Stream, request: MixRequest) -> ffmpeg.Stream:
    """Cut or pad a sound to the requested length, in stereo and 16 bit."""
    return (
        sound.filter("apad", whole_len=request.samples)
        .filter("atrim", end_sample=request.samples)
        .filter("aformat", sample_fmts="s16", channel_layouts="stereo")
    )

"""Mix: music and clips' own sound under a narration, mastered together to one loudness, as long as asked.

The voice is brought to one level and evened out. The music is looped, fades in and out, makes room
around the frequencies of speech, and is pushed down while the voice speaks (a compressor that listens
to the voice); so are the clips, but less. Their sum is mastered.
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
from services.audio import clips, loudness, mastering, music
from services.audio.clips import ClipSound
from services.media.loudness import Loudness
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress, part_of

TARGET_LUFS = -14.0
RATE = clips.RATE

_VERSION = 3
"""Counts up when the same request would sound otherwise."""
_VOICE_LUFS = -18.0
_MUSIC_LUFS = -26.0
_SHORTEST = timedelta(seconds=0.5)


@dataclass(frozen=True)
class Order:
    """What is asked for."""

    narration: Any
    """The stored narration; None: there is none."""
    narration_sha256: str
    """Empty: there is none."""
    mood: str
    """The mood of the music; empty: none."""
    duration: timedelta
    clip_sounds: tuple[ClipSound, ...] = ()
    target_lufs: float = TARGET_LUFS

    @property
    def samples(self) -> int:
        return round(self.duration / timedelta(seconds=1) * RATE)


@dataclass(frozen=True)
class Mixed:
    """A finished sound track."""

    audio: Any
    """The stored sound: WAV, 48 kHz, stereo, 16 bit."""
    loudness: Loudness


@dataclass(frozen=True)
class Desk:
    """What mixes."""

    ffmpeg: Path
    ffmpeg_version: str
    longest: timedelta


class Objects(Protocol):
    """Stored objects."""

    async def head(self, key: str) -> Any: ...

    async def get_file(self, source: Any, path: Path) -> None: ...

    async def put_file(self, key: str, path: Path) -> Any: ...


async def mix(
    desk: Desk, objects: Objects, order: Order, folder: Path, on_progress: OnProgress = ignore_progress
) -> Mixed:
    """Mix and master, or find what was mixed before. Returns the sound track.

    Raises InvalidArgument: MUSIC_UNKNOWN, SPEECH_FAILED when the narration is silent, CLIP_NOT_PLAYABLE
    when a clip has no sound, REQUEST_INVALID when the duration or a place cannot be made.
    """
    loop = music.find(order.mood)
    _check(order, desk.longest)
    key = f"cache/audio/{_digest(desk, order, loop)}.wav"
    if audio := await objects.head(key):
        try:
            await objects.get_file(audio, folder / "master.wav")
        except NotFound:
            # It was damaged, and is mixed again.
            (folder / "master.wav").unlink()
        else:
            return Mixed(audio, await loudness.measure(desk.ffmpeg, "master.wav", folder))
    if order.narration_sha256:
        await objects.get_file(order.narration, folder / "narration.wav")
    if order.clip_sounds:
        on_progress(0.01)
        await clips.lay(desk.ffmpeg, objects, order.clip_sounds, order.samples, folder)
    measured = await _make(desk.ffmpeg, order, loop, folder, on_progress)
    return Mixed(await objects.put_file(key, folder / "master.wav"), measured)


def _check(order: Order, longest: timedelta) -> None:
    if not _SHORTEST <= order.duration <= longest:
        raise InvalidArgument(
            f"a mix of {order.duration.total_seconds():g} s cannot be made; "
            f"it takes {_SHORTEST.total_seconds():g} to {longest.total_seconds():g} s",
            reason="REQUEST_INVALID",
        )
    for number, sound in enumerate(order.clip_sounds):
        if min(sound.source_start, sound.start) < timedelta(0):
            raise InvalidArgument(
                f"clip_sounds[{number}] begins before 0 s; let it begin at 0 s or later", reason="REQUEST_INVALID"
            )


def _digest(desk: Desk, order: Order, loop: music.Loop | None) -> str:
    sound = hashlib.sha256(loop.path.read_bytes()).hexdigest() if loop else ""
    kept = [clip.identity for clip in order.clip_sounds]
    spec = [_VERSION, desk.ffmpeg_version, order.narration_sha256, sound, order.samples, kept, order.target_lufs]
    return hashlib.sha256(json.dumps(spec).encode()).hexdigest()


async def _make(
    program: Path, order: Order, loop: music.Loop | None, folder: Path, on_progress: OnProgress
) -> Loudness:
    """Make `master.wav`. Returns its loudness. Without narration it may be silent."""
    source, measured = "", Loudness(0.0, 0.0, 0.0)
    if order.narration_sha256:
        source, measured = (
            "narration.wav",
            await loudness.measure(program, "narration.wav", folder, children.BACKGROUND_NICENESS),
        )
        if measured.integrated_lufs < loudness.SILENT_LUFS:
            raise InvalidArgument("the narration is silent; speak the script again", reason="SPEECH_FAILED")
    for name, codec, begin, share in (
        ("blend.wav", "pcm_f32le", 0.05, 0.45),
        ("limited.wav", "pcm_f32le", 0.5, 0.3),
        ("master.wav", "pcm_s16le", 0.8, 0.15),
    ):
        match name:
            case "blend.wav":
                voice = mastering.evened(source, _VOICE_LUFS - measured.integrated_lufs) if source else None
                sound = _blend(voice, order, loop)
            case "master.wav" if measured.integrated_lufs < loudness.SILENT_LUFS:
                # Nothing is heard: there is nothing to be brought to a loudness.
                sound = _whole(ffmpeg.input(source, f="wav"), order)
            case "limited.wav" if measured.integrated_lufs < loudness.SILENT_LUFS:
                continue
            case "limited.wav" if mastering.peaks_pass(measured, order.target_lufs):
                sound = mastering.limited(source, measured, order.target_lufs)
            case "master.wav":
                sound = _whole(mastering.normalised(source, measured, order.target_lufs), order)
            case _:
                continue
        file = sound.output(name, acodec=codec, ar=RATE, fflags="+bitexact", **{"flags:a": "+bitexact"})
        seconds = order.samples / RATE
        report = part_of(on_progress, begin, begin + share)
        await loudness.run(
            program, file, seconds=seconds, folder=folder, on_progress=report, niceness=children.BACKGROUND_NICENESS
        )
        source, measured = name, await loudness.measure(program, name, folder, children.BACKGROUND_NICENESS)
    return measured


def _blend(voice: ffmpeg.Stream | None, order: Order, loop: music.Loop | None) -> ffmpeg.Stream:
    """The voice, evened out, and under it the music and the clips that make way for it."""
    samples = order.samples
    # What lies under the voice, from which level of the voice on it is pushed down, and how much.
    beds: list[tuple[ffmpeg.Stream, float, float]] = []
    if loop is not None:
        beds.append((_bed(loop, samples), 0.02, 4.0))
    if order.clip_sounds:
        kept = ffmpeg.input(clips.KEPT, f="f32le", ar=RATE, ac=2)
        beds.append((_stereo(kept), 0.04, 2.0))
    if voice is None:
        return _together([bed for bed, _, _ in beds], samples)
    voice = voice.filter("apad", whole_len=samples).filter("atrim", end_sample=samples)
    if not beds:
        return _stereo(voice)
    split = voice.filter_multi_output("asplit", 1 + len(beds))
    # The compressor drops what it still holds of one sound when the other ends: so neither does, before the mix does.
    ducked = [
        ffmpeg.filter(
            [bed.filter("apad"), _stereo(split[number]).filter("apad")],
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
    return ffmpeg.filter([_stereo(split[0]), *ducked], "amix", inputs=1 + len(beds), normalize=0, duration="first")


def _together(beds: Sequence[ffmpeg.Stream], samples: int) -> ffmpeg.Stream:
    """Music and clips without a voice; silence when there is neither."""
    if not beds:
        silence = ffmpeg.input(f"anullsrc=r={RATE}:cl=stereo", f="lavfi")
        return _stereo(silence).filter("atrim", end_sample=samples)
    padded = [bed.filter("apad", whole_len=samples).filter("atrim", end_sample=samples) for bed in beds]
    return ffmpeg.filter(padded, "amix", inputs=len(padded), normalize=0) if len(padded) > 1 else padded[0]


def _stereo(sound: ffmpeg.Stream) -> ffmpeg.Stream:
    """On two sides; both the same when it has one."""
    return sound.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")


def _bed(loop: music.Loop, samples: int) -> ffmpeg.Stream:
    """The music, from its first bar, as long as the mix."""
    seconds = samples / RATE
    fade_in, fade_out = min(0.5, seconds / 4), min(1.5, seconds / 2)
    return (
        music.stream(loop)
        .filter("aloop", loop=-1, size=loop.samples)
        .filter("atrim", end_sample=samples)
        .filter("aformat", sample_fmts="fltp", channel_layouts="stereo")
        .filter("volume", f"{_MUSIC_LUFS - music.LOUDNESS_LUFS:.1f}dB")
        .filter("equalizer", f=2500, t="o", w=2, g=-3)
        .filter("afade", t="in", d=fade_in)
        .filter("afade", t="out", st=seconds - fade_out, d=fade_out)
    )


def _whole(sound: ffmpeg.Stream, order: Order) -> ffmpeg.Stream:
    """A sound as long as it was ordered, on two sides, in 16 bits."""
    return (
        sound.filter("apad", whole_len=order.samples)
        .filter("atrim", end_sample=order.samples)
        .filter("aformat", sample_fmts="s16", channel_layouts="stereo")
    )

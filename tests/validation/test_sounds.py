"""Uploaded sounds: files of many formats are accepted, and unusable ones are refused with the reason."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import pytest

from moneyprinter.errors import InvalidArgument
from services.validation.probe import ProbeLimits
from services.validation.sounds import probe_sound
from tests.mesh import ffmpeg_program

LIMITS = ProbeLimits(
    max_pixels=10_000_000, max_still_pixels=10_000_000, max_duration_seconds=60, memory_bytes=2 << 30, seconds=10
)
TONE = ("-f", "lavfi", "-i", "sine=440:r=44100:d=2,volume=-6dB")
SILENCE = ("-f", "lavfi", "-i", "anullsrc=r=44100:cl=stereo")
PICTURE = ("-f", "lavfi", "-i", "testsrc=s=64x64:r=10:d=2")
COVER = ("-f", "lavfi", "-i", "testsrc=s=64x64:r=10:d=0.1", "-map", "0", "-map", "1", "-c:v", "png")
ATTACHED = ("-disposition:v", "attached_pic")


def make(path: Path, *arguments: str) -> Path:
    subprocess.run((ffmpeg_program(), "-v", "error", *arguments, "-y", path), check=True)
    return path


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cover.mp3", (*TONE, *COVER, *ATTACHED, "-c:a", "libmp3lame", "-id3v2_version", "3")),
        ("cover.flac", (*TONE, *COVER, *ATTACHED)),
        ("telephone.wav", (*TONE, "-ar", "8000", "-ac", "1", "-c:a", "pcm_mulaw")),
        ("phone.m4a", (*TONE, "-c:a", "aac")),
        ("message.ogg", (*TONE, "-c:a", "libopus", "-ar", "48000")),
        ("browser.webm", (*TONE, "-c:a", "libopus", "-ar", "48000")),
        ("deep.aiff", (*TONE, "-c:a", "pcm_s24be", "-ar", "96000")),
        ("video.mp4", (*TONE, *PICTURE, "-c:v", "mpeg4", "-c:a", "aac")),
    ],
)
async def test_sound_in_many_formats_is_accepted(tmp_path: Path, name: str, arguments: tuple[str, ...]) -> None:
    path = make(tmp_path / name, *arguments)
    assert await probe_sound(path, 0.0, LIMITS) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "arguments", "reason", "words"),
    [
        ("silent.wav", (*SILENCE, "-t", "2"), "SOUND_SILENT", "silent"),
        ("short.wav", (*TONE, "-t", "0.2"), "SOUND_NOT_PLAYABLE", r"0\.2 s of sound"),
        ("video.mp4", (*PICTURE, "-c:v", "mpeg4"), "SOUND_NOT_PLAYABLE", "pictures and no sound"),
        ("picture.png", (*PICTURE, "-frames:v", "1"), "SOUND_NOT_PLAYABLE", "no sound of a known kind"),
    ],
)
async def test_a_file_without_usable_sound_is_refused(
    tmp_path: Path, name: str, arguments: tuple[str, ...], reason: str, words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words) as refused:
        await probe_sound(make(tmp_path / name, *arguments), 0.0, LIMITS)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "content", [b"", b"only words\n" * 100, b"RIFF\xff\xff\xff\xffWAVEfmt ", b"#EXTM3U\n/etc/passwd\n"]
)
async def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.mp3"
    path.write_bytes(content)
    with pytest.raises(InvalidArgument) as refused:
        await probe_sound(path, 0.0, LIMITS)
    assert refused.value.reason == "SOUND_NOT_PLAYABLE"
    assert str(tmp_path) not in refused.value.message


async def test_three_hours_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 3 * 3600 * 8000, "NONE", ""))
        file.writeframes(bytes(16))
    # The rest is a hole in the file: silence that occupies no disk.
    with path.open("r+b") as file:
        file.truncate(44 + 2 * 3 * 3600 * 8000)
        file.seek(40)
        file.write((2 * 3 * 3600 * 8000).to_bytes(4, "little"))
    with pytest.raises(InvalidArgument, match="60 minutes") as refused:
        await probe_sound(path, 0.0, LIMITS)
    assert refused.value.reason == "SOUND_TOO_LONG"


async def test_a_start_near_the_end_or_behind_it_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "tone.wav", *TONE)
    assert await probe_sound(path, 1.0, LIMITS) == pytest.approx(1.0, abs=0.1)
    for start in (1.9, 7.0):
        with pytest.raises(InvalidArgument, match=r"2\.0 s of sound, of which 0\.[01] s would be used"):
            await probe_sound(path, start, LIMITS)

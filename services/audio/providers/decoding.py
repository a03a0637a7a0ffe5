"""Decoding: the samples of the sound that a provider returned, decoded in a child process and checked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.media.ffmpeg import QUIET
from services.providers.failures import FailureKind, ProviderFailure
from services.runtime import children

RATE = 48_000
Pcm = NDArray[np.int16]

_LIMITS = children.Limits(memory_bytes=2 << 30, cpu_seconds=60, file_bytes=256 << 20, open_files=64, wall_seconds=60)
# Containers of sound only. A playlist could lead to other files and hosts.
_FORMATS = "wav,mp3,flac,ogg,aac,aiff,w64"
_MIN_SECONDS = 0.05
# A sample of less than 0.3 % (-50 dB) is silent.
_SILENT = 100
# The limits of plausible speech. Digits and Chinese characters take up to 0.6 s.
_MAX_SECONDS_PER_LETTER, _MAX_EXTRA_SECONDS = 1.2, 4.0
_MAX_LETTERS_PER_SECOND, _FEW_LETTERS = 60, 20


async def decode_speech(program: Path, provider: str, data: bytes, text: str, path: Path) -> Pcm:
    """Decode the sound that a provider made of a text.

    Args:
        program: The ffmpeg program.
        provider: The name of the provider, for errors.
        data: The sound, in any common format.
        text: The text, by which the length is checked.
        path: A temporary file, which is removed.

    Returns the samples, mono at 48 kHz. Raises `ProviderFailure` (BAD_RESPONSE) when the sound cannot be decoded, is
    silent, or is much shorter or longer than the text.
    """
    result = path.with_suffix(".raw")
    try:
        await asyncio.to_thread(path.write_bytes, data)
        await children.retry_killed(lambda: _run(program, path, result))
        pcm = await asyncio.to_thread(np.fromfile, result, np.int16)
    except (children.ChildFailed, OSError):
        raise _broken(provider, "cannot be decoded") from None
    finally:
        path.unlink(missing_ok=True)
        result.unlink(missing_ok=True)
    if problem := await asyncio.to_thread(_find_problem, pcm, text):
        raise _broken(provider, problem)
    return pcm


async def _run(program: Path, source: Path, target: Path) -> None:
    arguments = (
        *("-protocol_whitelist", "file", "-format_whitelist", _FORMATS, "-i", source.name),
        *("-map", "0:a:0", "-af", f"aresample={RATE}:resampler=soxr:osf=s16", "-ac", "1"),
        *("-f", "s16le", "-acodec", "pcm_s16le", target.name),
    )
    await children.run((program, *QUIET, *arguments), limits=_LIMITS, folder=source.parent)


def _find_problem(pcm: Pcm, text: str) -> str:
    seconds, letters = len(pcm) / RATE, sum(map(str.isalnum, text))
    if seconds < _MIN_SECONDS:
        return "is empty"
    if int(np.abs(pcm.astype(np.int32)).max()) < _SILENT:
        return "is silent"
    if letters > _FEW_LETTERS and letters / seconds > _MAX_LETTERS_PER_SECOND:
        return "is too short for its text"
    if seconds > _MAX_EXTRA_SECONDS + _MAX_SECONDS_PER_LETTER * letters:
        return "is too long for its text"
    return ""


def _broken(provider: str, problem: str) -> ProviderFailure:
    return ProviderFailure(provider, FailureKind.BAD_RESPONSE, f"{provider}: its sound {problem}")

"""Recordings: the voice of a person who reads a script, as the narration of a video."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from moneyprinter.errors import InvalidArgument
from services.audio import loudness, speech, uploaded_sounds
from services.audio.alignment.aligner import Aligner
from services.audio.speech import Speech
from services.runtime.progress import OnProgress, ignore_progress, part_of

PROVIDER = "recording"
"""The provider of a narration that a person has recorded."""

_VERSION = 1
"""Increases when the same recording would sound different."""


class Objects(speech.Objects, Protocol):
    """The object store."""

    async def get_file(self, source: Any, path: Path) -> None: ...


@dataclass(frozen=True)
class Recording:
    """A stored recording and what is read in it."""

    stored: Any
    sha256: str
    sentences: tuple[str, ...]
    language: str
    """BCP 47."""


async def align_recording(
    aligner: Aligner,
    program: Path,
    objects: Objects,
    recording: Recording,
    folder: Path,
    on_progress: OnProgress = ignore_progress,
) -> Speech:
    """Convert a recording to a narration and find its words, or return the stored result of an equal request.

    Args:
        aligner: Finds the words.
        program: The ffmpeg program.
        objects: The object store.
        recording: The recording and its script.
        folder: The folder of temporary files.
        on_progress: Receives the progress, from 0 to 1.

    Raises `InvalidArgument` (SOUND_NOT_PLAYABLE) when the recording cannot be decoded, (SOUND_SILENT) when it is
    silent, and what `Aligner.align` raises.
    """
    lines = await asyncio.to_thread(speech.to_lines, recording.sentences)
    spec = json.dumps([_VERSION, aligner.version, recording.sha256, recording.language, lines])
    key = f"cache/audio/{hashlib.sha256(spec.encode()).hexdigest()}"
    if stored := await speech.find_stored(objects, key):
        return Speech(*stored, PROVIDER)
    await objects.get_file(recording.stored, folder / "recording")
    narration = folder / "narration.wav"
    await uploaded_sounds.decode(program, "recording", narration.name, folder)
    on_progress(0.2)
    measured = await loudness.measure(program, narration.name, folder)
    if measured.integrated_lufs < loudness.SILENT_LUFS:
        raise InvalidArgument("the recording is silent; record it again, and louder", reason="SOUND_SILENT")
    spoken = await aligner.align(narration, lines, recording.language, part_of(on_progress, 0.2, 0.95))
    return Speech(await speech.store_spoken(objects, key, narration, spoken), spoken, PROVIDER)

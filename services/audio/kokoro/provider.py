"""Kokoro, the provider of speech that needs no network and sounds like a person."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import ffmpeg

from moneyprinter.errors import Internal
from services.audio.espeak import SOUND_RATE
from services.audio.kokoro import assembly, phonemes, voices
from services.audio.kokoro.synthesizer import RATE, VOICES_FILE, Synthesizer, SynthesizerSettings, Utterance
from services.audio.speech import SpokenText, Voice
from services.media.ffmpeg import QUIET
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress
from services.runtime.tasks import task_group

# The voices speak 165 words per minute, measured on English texts.
_WORDS_PER_MINUTE = 165
_EXAMPLES = ("en-US-Heart", "en-US-Michael", "en-GB-Emma", "es-ES-Dora", "fr-FR-Siwis")
_RESAMPLE_LIMITS = children.Limits(cpu_seconds=240, file_bytes=2 << 30, wall_seconds=300)


@dataclass(frozen=True)
class Kokoro:
    """Kokoro's model, the provider `kokoro`. Open it with `open_kokoro`."""

    synthesizer: Synthesizer
    espeak_library: Path
    espeak_data: Path
    speed: float
    """1.0: the pace of the model's voices."""
    ffmpeg: Path
    version: str
    name: str = "kokoro"

    def voice(self, name: str, language: str = "") -> Voice | None:
        return voices.find_voice(name)

    def examples(self) -> Sequence[str]:
        return _EXAMPLES

    def voices(self) -> Sequence[Voice]:
        return voices.list_voices()

    async def speak(
        self, sentences: Sequence[str], voice: Voice, target: Path, on_progress: OnProgress = ignore_progress
    ) -> SpokenText:
        """Speak sentences with 0.35 s between them. Raises `Internal` (SPEECH_FAILED) when a child fails."""
        raw = target.with_suffix(".raw")
        language, _, style = voice.setting.partition("+")
        try:
            converted = await phonemes.convert_sentences(self.espeak_library, self.espeak_data, language, sentences)
            writer = assembly.NarrationWriter(raw)
            try:
                await self._speak_sentences(sentences, converted, style, writer, on_progress)
            finally:
                writer.close()
            command = _resample_command(self.ffmpeg, raw, target)
            await children.run(command, limits=_RESAMPLE_LIMITS, folder=target.parent)
        except children.ChildFailed as failure:
            what = "the script could not be spoken"
            raise children.to_error(failure, what, Internal, reason="SPEECH_FAILED") from failure
        finally:
            raw.unlink(missing_ok=True)
        return SpokenText(timedelta(microseconds=writer.length * 1_000_000 // RATE), tuple(writer.sentences))

    async def _speak_sentences(
        self,
        sentences: Sequence[str],
        converted: Sequence[Sequence[phonemes.Chunk]],
        style: str,
        writer: assembly.NarrationWriter,
        on_progress: OnProgress,
    ) -> None:
        """Speak the chunks of all sentences, and write each sentence as soon as it and those before it are spoken."""
        slots = asyncio.Semaphore(self.synthesizer.settings.threads + 1)

        async def synthesize(chunk: phonemes.Chunk) -> Utterance:
            tokens = [phonemes.vocabulary()[token] for token in chunk.tokens]
            async with slots:
                return await children.retry_killed(lambda: self.synthesizer.synthesize(style, tokens, self.speed))

        async with task_group() as group:
            work = [[group.create_task(synthesize(chunk)) for chunk in chunks] for chunks in converted]
            for number, (sentence, chunks) in enumerate(zip(sentences, converted, strict=True)):
                utterances = [await task for task in work[number]]
                await asyncio.to_thread(writer.write, sentence, chunks, utterances)
                work[number].clear()
                on_progress(0.9 * (number + 1) / len(sentences))
        writer.finish()


def open_kokoro(
    settings: SynthesizerSettings, espeak_library: Path, espeak_data: Path, words_per_minute: int, ffmpeg_program: Path
) -> Kokoro:
    """Prepare the provider; nothing runs until the first sentence.

    Args:
        settings: The settings of the synthesizer.
        espeak_library: The library of espeak-ng, which makes the phonemes.
        espeak_data: The folder with its languages.
        words_per_minute: The pace of speech.
        ffmpeg_program: The program that resamples.

    Raises `OSError` when a file of the model is missing, and `PackageNotFoundError` without ONNX Runtime.
    """
    digest = hashlib.sha256(f"{version('onnxruntime')} {words_per_minute}".encode())
    for path in settings.model:
        digest.update(f"{path.stat().st_size} ".encode())
    for path in (espeak_library, VOICES_FILE, *sorted(Path(__file__).parent.glob("*.py"))):
        digest.update(path.read_bytes())
    speed = words_per_minute / _WORDS_PER_MINUTE
    found = digest.hexdigest()[:16]
    return Kokoro(Synthesizer(settings), espeak_library, espeak_data, speed, ffmpeg_program, found)


def _resample_command(program: Path, raw: Path, target: Path) -> list[str]:
    """The command that resamples to 48 kHz."""
    sound = (
        ffmpeg.input(raw.name, f="s16le", ar=RATE, ac=1)
        .filter("aresample", SOUND_RATE, resampler="soxr", osf="s16")
        .output(target.name, acodec="pcm_s16le", ac=1, fflags="+bitexact", **{"flags:a": "+bitexact"})
    )
    return [str(program), *QUIET, *sound.get_args()]

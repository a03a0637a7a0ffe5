"""Measures speech: the cost and the sound of the voices, the errors of word times by alignment, and what that costs.

The speech is that of the tests: a neural voice with its own word times, aligned through espeak-ng. The long recording
repeats it. Further tables about voices belong here, too: one function for each.

    scripts/bench speech
    scripts/bench speech --minutes 2
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from services.audio.alignment.aligner import Aligner
from services.audio.espeak import Espeak, open_espeak
from services.audio.kokoro.phonemes import MAX_TOKENS, vocabulary
from services.audio.kokoro.provider import Kokoro
from services.audio.loudness import measure
from tests.audio.conftest import settings
from tests.audio.kokoro import MODEL, open_kokoro
from tests.audio.test_alignment import FOLDER, LOCALES, SECOND, errors_of, sentences
from tests.mesh import ffmpeg_program


def open_robotic() -> Espeak:
    config = settings()
    return open_espeak(config.espeak_library, config.espeak_data, config.words_per_minute, Path(ffmpeg_program()))


def open_aligner() -> Aligner:
    return Aligner(open_robotic(), Path(ffmpeg_program()))


def used_cpu() -> float:
    """The CPU seconds of the child processes, those that run and those that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children(recursive=True))
    return ended.ru_utime + ended.ru_stime + running


def peak_memory() -> float:
    """The largest resident memory of a running child process, in MB; 0 without one."""
    children = psutil.Process().children(recursive=True)
    lines = [line for child in children for line in Path(f"/proc/{child.pid}/status").read_text().splitlines()]
    return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=0.0)


async def measure_voices(folder: Path) -> Table:
    """Speak the English sentences with each voice. The process of the neural voice runs already."""
    columns = ("voice", "speech", "CPU/s", "elapsed/s", "first sentence", "loudness", "true peak", "most memory")
    table = Table(*columns, title="Voices")
    neural = open_kokoro(folder / "model")
    voices: list[Espeak | Kokoro] = [*([neural] if MODEL else []), open_robotic()]
    for provider in voices:
        voice = provider.voice("en-US")
        assert voice
        target = folder / f"{provider.name}.wav"
        await provider.speak(["Yes."], voice, target)
        moments: list[float] = []
        cpu, began = used_cpu(), time.monotonic()
        spoken = await provider.speak(
            sentences("en"),
            voice,
            target,
            lambda _, moments=moments: moments.append(time.monotonic()),  # type: ignore[misc]
        )
        elapsed, cpu, seconds = time.monotonic() - began, used_cpu() - cpu, spoken.duration / SECOND
        sound = await measure(Path(ffmpeg_program()), target.name, folder)
        table.add_row(
            *(provider.name, f"{seconds:.1f} s", f"{cpu / seconds:.2f} s", f"{elapsed / seconds:.2f} s"),
            *(f"{moments[0] - began:.1f} s", f"{sound.integrated_lufs:.1f} LUFS", f"{sound.true_peak_dbtp:.1f} dBTP"),
            f"{await longest_chunks(neural):.0f} MB" if provider is neural else "",
        )
    await neural.synthesizer.stop()
    table.caption = f"load of the machine: {os.getloadavg()[0]:.1f}"
    return table


async def longest_chunks(neural: Kokoro) -> float:
    """The memory of the process after several chunks of the most tokens at once, in MB."""
    tokens = [vocabulary()[token] for token in "ðə sˈi ɪz sˈɔlti, " * MAX_TOKENS][:MAX_TOKENS]
    speak = [neural.synthesizer.synthesize("af_heart", tokens, 1.0) for _ in range(4)]
    await asyncio.gather(*speak)
    return peak_memory()


def decode(language: str, target: Path, rounds: int = 1) -> Path:
    """Decode the speech of a language, several times in a row."""
    command = (ffmpeg_program(), "-v", "error", "-stream_loop", str(rounds - 1), "-i", FOLDER / f"{language}.opus")
    subprocess.run((*command, "-ar", "48000", "-ac", "1", "-y", target), check=True)
    return target


async def measure_errors(aligner: Aligner, folder: Path) -> Table:
    table = Table(
        "language", "words", "median", "95 % within", "within 120 ms", "largest", title="Errors of word onsets"
    )
    for language in LOCALES:
        sound = decode(language, folder / f"{language}.wav")
        errors = 1000 * np.abs(await errors_of(aligner, sound, language))
        table.add_row(
            language,
            str(len(errors)),
            f"{np.median(errors):.0f} ms",
            f"{np.percentile(errors, 95):.0f} ms",
            f"{100 * np.mean(errors <= 120):.1f} %",
            f"{errors.max():.0f} ms",
        )
    return table


async def measure_cost(aligner: Aligner, folder: Path, minutes: float) -> Table:
    """Align a long recording. The CPU time is that of all child processes: espeak-ng, ffmpeg and the alignment."""
    one = decode("en", folder / "one.wav")
    with wave.open(str(one), "rb") as file:
        seconds = file.getnframes() / file.getframerate()
    rounds = max(1, round(60 * minutes / seconds))
    sound = decode("en", folder / "long.wav", rounds)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    spoken = await aligner.align(sound, sentences("en") * rounds, LOCALES["en"])
    after, elapsed = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    table = Table("recording", "CPU", "elapsed", "largest process", title="Alignment of a long recording")
    length = f"{spoken.duration / SECOND / 60:.1f} minutes"
    table.add_row(length, f"{cpu:.1f} s", f"{elapsed:.1f} s", f"{after.ru_maxrss / 1024:.0f} MB")
    return table


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="the length of the long recording")
    arguments = parser.parse_args()
    console, aligner = Console(), open_aligner()
    with tempfile.TemporaryDirectory() as folder:
        console.print(await measure_voices(Path(folder)))
        console.print(await measure_errors(aligner, Path(folder)))
        console.print(await measure_cost(aligner, Path(folder), arguments.minutes))


if __name__ == "__main__":
    asyncio.run(main())

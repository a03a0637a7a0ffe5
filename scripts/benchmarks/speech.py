"""Measures speech: the errors of word times that are found by alignment, for each language, and what alignment costs.

The speech is that of the tests: a neural voice with its own word times, aligned through espeak-ng. The long recording
repeats it. Further tables about voices belong here, too: one function for each.

    scripts/bench speech
    scripts/bench speech --minutes 2
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from services.audio.alignment.aligner import Aligner
from services.audio.espeak import open_espeak
from tests.audio.conftest import settings
from tests.audio.test_alignment import FOLDER, LOCALES, SECOND, errors_of, sentences
from tests.mesh import ffmpeg_program


def open_aligner() -> Aligner:
    config, program = settings(), Path(ffmpeg_program())
    provider = open_espeak(config.espeak_library, config.espeak_data, config.words_per_minute, program)
    return Aligner(provider, program)


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
        console.print(await measure_errors(aligner, Path(folder)))
        console.print(await measure_cost(aligner, Path(folder), arguments.minutes))


if __name__ == "__main__":
    asyncio.run(main())

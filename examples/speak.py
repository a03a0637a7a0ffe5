"""Speak a text without making a video: write the sound to a file, and print when each word is spoken.

    export MONEYPRINTER_TOKEN=$(moneyprinter token)
    python examples/speak.py "Good morning, and welcome." --voice en-GB --out welcome.wav

The format is that of the file's name: wav, mp3, opus or flac. The platform keeps nothing of it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from moneyprinter import errors
from moneyprinter.client import Client


async def speak(options: argparse.Namespace) -> None:
    """Write the speech to `options.out`, and print its word times."""
    token, api_key = os.environ.get("MONEYPRINTER_TOKEN", ""), os.environ.get("MONEYPRINTER_API_KEY", "")
    async with Client(options.address, token=token, api_key=api_key) as client:
        sound_format = options.out.suffix.removeprefix(".")
        size = await client.say(options.text, options.out, voice=options.voice, format=sound_format)
        timings = await client.word_times(options.text, voice=options.voice)
    print(f"Wrote {options.out}, {size} bytes, {timings.duration:.2f} s, voice {timings.voice}")
    for sentence in timings.sentences:
        for word in sentence.words:
            print(f"{word.start:7.2f} {word.end:7.2f}  {word.text}")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="the text to speak")
    parser.add_argument("--voice", default="", help="a voice that `moneyprinter voices` lists")
    parser.add_argument("--out", default="speech.wav", type=Path, help="the file to write")
    parser.add_argument("--address", default="127.0.0.1:8080", help="host:port of the platform's gateway")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        asyncio.run(speak(parse_options()))
    except (errors.Error, OSError) as failure:
        sys.exit(f"error: {failure}")

"""Aligns a recording with a spoken reference in a child process, within its limits. No module imports this file.

Its arguments are two files with samples (mono, 16 kHz, 16 bit, without a header): the recording and the reference, and
a JSON file with the times of the words in the reference, `[[start, end], ...]` in seconds. It prints one line of JSON:
`words` in the same form (null when the recording is too short), and the seconds of speech in both sounds.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from services.audio.alignment.features import FRAME_SECONDS, Sound, analyse
from services.audio.alignment.word_times import Span, find_words


def main(recording_file: str, reference_file: str, words_file: str) -> None:
    with open(words_file) as file:
        spans = [Span(start, end) for start, end in json.load(file)]
    recording, reference = (_read_sound(file) for file in (recording_file, reference_file))
    found = find_words(recording, reference, spans)
    words = None if found is None else [(word.start, word.end) for word in found]
    print(json.dumps({"words": words, "speech": _speech_seconds(recording), "expected": _speech_seconds(reference)}))


def _read_sound(file: str) -> Sound:
    # Mapped into memory, a long recording occupies no memory of the process.
    return analyse(np.memmap(file, np.int16, "r"))


def _speech_seconds(sound: Sound) -> float:
    return float(sound.speech.sum()) * FRAME_SECONDS


if __name__ == "__main__":
    main(*sys.argv[1:])

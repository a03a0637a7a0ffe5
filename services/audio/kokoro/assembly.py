"""Assembly: write the sound of sentences to one file, and find the times of their words.

The model returns the exact length of each token. A word begins where its first token begins, and ends where its last
one ends, both earlier by the model's constant lead.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.audio import word_alignment
from services.audio.espeak import LEAD_SECONDS, MUTE_SECONDS, PAUSE_SECONDS, TAIL_SECONDS
from services.audio.kokoro.phonemes import Chunk
from services.audio.kokoro.synthesizer import FRAME_SAMPLES, RATE, Utterance
from services.audio.speech import Word

Pcm = NDArray[np.int16]

# What is kept before the first sound and after the last one of a chunk, and the fades at its ends.
_BEFORE, _AFTER, _FADE = round(0.03 * RATE), round(0.06 * RATE), round(0.01 * RATE)
SOUND_LEAD_SECONDS = 0.05
"""How long the sound of a token begins before its frames do, two frames: between the bursts of plosives after silence
(26 ms, 35 words in four languages), sibilants (100 ms, 14 words) and the onsets by alignment (60 to 75 ms)."""
_SOUND_LEAD = round(SOUND_LEAD_SECONDS * RATE)
# The pause between two chunks of one sentence.
_CHUNK_PAUSE = round(0.12 * RATE)
# The shortest word: one that is not spoken, such as a dash.
_MIN_WORD = round(0.005 * RATE)


class NarrationWriter:
    """Writes the samples of sentences (24 kHz, mono, 16 bit, without a header) to a file. `finish` ends it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.length = 0
        """The samples that are written."""
        self.sentences: list[tuple[Word, ...]] = []
        """The words of each sentence with their times."""

    def write(self, sentence: str, chunks: Sequence[Chunk], utterances: Sequence[Utterance]) -> None:
        """Append a sentence after a pause."""
        pause = PAUSE_SECONDS if self.sentences else LEAD_SECONDS
        self._append(np.zeros(round(pause * RATE), np.int16))
        spans: dict[int, tuple[int, int]] = {}
        begin = self.length
        for number, (chunk, utterance) in enumerate(zip(chunks, utterances, strict=True)):
            if number:
                self._append(np.zeros(_CHUNK_PAUSE, np.int16))
            pcm, spoken = trim(chunk, utterance)
            for word, (start, end) in spoken.items():
                first, _ = spans.get(word, (self.length + start, 0))
                spans[word] = (first, self.length + end)
            self._append(pcm)
        if not chunks:
            self._append(np.zeros(round(MUTE_SECONDS * RATE), np.int16))
        self.sentences.append(_to_words(sentence, spans, begin, self.length))

    def finish(self) -> None:
        """Append the silence at the end."""
        self._append(np.zeros(round(TAIL_SECONDS * RATE), np.int16))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, pcm: Pcm) -> None:
        self._file.write(pcm.tobytes())
        self.length += len(pcm)


def trim(chunk: Chunk, utterance: Utterance) -> tuple[Pcm, dict[int, tuple[int, int]]]:
    """Remove the silence at the ends of a chunk, never a part of its first or last token.

    Returns the sound with short fades, and the first sample of each word and the one after its last.
    """
    bounds = [0, *accumulate(frames * FRAME_SAMPLES for frames in utterance.frames)]
    first_audible, last_audible = word_alignment.audible_range(utterance.pcm, RATE)
    early = [max(0, bound - _SOUND_LEAD) for bound in bounds]
    # The first and the last token may hold the silence before and after them.
    spans = {
        word.number: tuple(np.clip((early[word.first + 1], early[word.last + 1]), first_audible, last_audible).tolist())
        for word in chunk.words
    }
    if chunk.words:
        number = chunk.words[0].number
        spans[number] = (first_audible, spans[number][1])
    begin = min([first_audible, *(start for start, _ in spans.values())])
    end = max([last_audible, *(end for _, end in spans.values())])
    begin, end = max(0, begin - _BEFORE), min(len(utterance.pcm), end + _AFTER)
    pcm = utterance.pcm[begin:end].astype(np.float32)
    ramp = np.linspace(0.0, 1.0, min(_FADE, len(pcm)), dtype=np.float32)
    pcm[: len(ramp)] *= ramp
    pcm[len(pcm) - len(ramp) :] *= ramp[::-1]
    moved = {number: (start - begin, end - begin) for number, (start, end) in spans.items()}
    return np.round(pcm).astype(np.int16), moved


def _to_words(sentence: str, spans: dict[int, tuple[int, int]], begin: int, end: int) -> tuple[Word, ...]:
    """The written words of a sentence with their times, in order, none empty and no two of them overlapping.

    Words that are not spoken share the time between their neighbours.
    """
    words = word_alignment.split_words(sentence)
    known = {-1: (begin, begin), **spans, len(words): (end, end)}
    places = sorted(known)
    for before, after in pairwise(places):
        bounds = np.linspace(known[before][1], known[after][0], after - before, dtype=int).tolist()
        spans.update(zip(range(before + 1, after), pairwise(bounds), strict=True))
    timed = []
    previous = begin
    for number, word in enumerate(words):
        start, last = spans[number]
        start = max(start, previous)
        previous = max(last, start + _MIN_WORD)
        timed.append(Word(word.text, _time(start), _time(previous)))
    return tuple(timed)


def _time(sample: int) -> timedelta:
    return timedelta(microseconds=sample * 1_000_000 // RATE)

"""Speaks with espeak-ng in a child process. No module imports this file.

    espeak_child.py LIBRARY DATA VOICE WORDS_PER_MINUTE

Standard input: one sentence per line, as JSON strings. Standard output, for each sentence: a line of JSON,
`{"rate": 22050, "samples": n, "words": [[sample, character], ...]}`, then n samples of 16 bit.
`character` counts from 0. It uses only the standard library: the interpreter runs without site packages.
"""

import ctypes
import json
import sys

SYNCHRONOUS = 2  # the callback runs inside espeak_Synth
DO_NOT_EXIT = 0x8000
UTF8 = 1
RATE = 1
WORD = 1


class Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", Id),
    ]


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def main(library: str, data: str, voice: str, words_per_minute: str) -> None:
    espeak = ctypes.CDLL(library)
    rate = espeak.espeak_Initialize(SYNCHRONOUS, 200, data.encode(), DO_NOT_EXIT)
    if rate <= 0:
        sys.exit(f"espeak-ng does not start with the data in {data}")
    if espeak.espeak_SetVoiceByName(voice.encode()) != 0:
        sys.exit(f"espeak-ng has no voice {voice}")
    espeak.espeak_SetParameter(RATE, int(words_per_minute), 0)
    sound, words = bytearray(), []

    def collect(samples, count, events):  # type: ignore[no-untyped-def]
        if samples and count > 0:
            sound.extend(ctypes.string_at(samples, 2 * count))
        at = 0
        while events[at].type:
            if events[at].type == WORD:
                words.append([events[at].sample, events[at].text_position - 1])
            at += 1
        return 0

    callback = Callback(collect)
    espeak.espeak_SetSynthCallback(callback)
    for line in sys.stdin.buffer.read().splitlines():
        text = json.loads(line).encode()
        if espeak.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None) != 0:
            sys.exit("espeak-ng refuses the text")
        header = {"rate": rate, "samples": len(sound) // 2, "words": words}
        sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + sound)
        sys.stdout.buffer.flush()
        del sound[:], words[:]


main(*sys.argv[1:])

"""Converts words to phonemes with espeak-ng in a child process. No module imports this file.

    phoneme_child.py LIBRARY DATA

Standard input: one JSON document, `[voice, [text, ...]]`. Standard output: a JSON list with the phonemes of each text
in the International Phonetic Alphabet, where `^` ties the letters of one phoneme.
It uses only the standard library: the interpreter runs without site packages.
"""

import ctypes
import json
import re
import sys

SYNCHRONOUS = 2
DO_NOT_EXIT = 0x8000
UTF8 = 1
# IPA, with a tie between the letters of a phoneme.
PHONEME_MODE = 0x02 | 0x80 | ord("^") << 8
# A change of language within the text, such as (en) or, with ties, (^e^n).
LANGUAGE = re.compile(r"\([^()]*\)")


def main(library: str, data: str) -> None:
    espeak = ctypes.CDLL(library)
    espeak.espeak_TextToPhonemes.restype = ctypes.c_char_p
    espeak.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    if espeak.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), DO_NOT_EXIT) <= 0:
        sys.exit(f"espeak-ng does not start with the data in {data}")
    voice, texts = json.loads(sys.stdin.buffer.read())
    if espeak.espeak_SetVoiceByName(voice.encode()) != 0:
        sys.exit(f"espeak-ng has no voice {voice}")

    def convert(text):  # type: ignore[no-untyped-def]
        # espeak-ng reads ahead at a full stop before a number. Without the blank, the end of `Mr. 5` is left for the
        # next text.
        rest = ctypes.c_char_p(f"{text} ".encode())
        clauses = []
        # espeak-ng converts one clause at a time and moves the pointer behind it; after the last one, it is null.
        while rest.value:
            clauses.append(espeak.espeak_TextToPhonemes(ctypes.byref(rest), UTF8, PHONEME_MODE).decode())
        return " ".join(LANGUAGE.sub("", " ".join(clauses)).split())

    known = {}
    for text in texts:
        if text not in known:
            known[text] = convert(text)  # type: ignore[no-untyped-call]
    sys.stdout.buffer.write(json.dumps([known[text] for text in texts]).encode())


main(*sys.argv[1:])

"""Phonemes: convert a sentence to the tokens of Kokoro's model, and map each written word to its tokens.

espeak-ng converts a clause as a whole, because the sounds of words depend on their neighbours; it joins words
(`of the`) and speaks a number as several. It also converts each word alone. The alignment of both gives the phonemes
of each written word. The mapping of espeak-ng's phonemes to the model's is that of misaki, with which the model was
trained.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.audio import normalization, word_alignment
from services.audio.espeak import engine_text
from services.audio.kokoro.alignment import align_phonemes
from services.runtime import children

MAX_TOKENS = 160
"""The most tokens of a chunk. The model takes 510; its memory grows by about 1.5 MB for each token."""
# The most words that espeak-ng converts as one clause, and the most characters of a word.
_MAX_WORDS, _MAX_CHARACTERS = 40, 60

_CHILD = Path(__file__).parent / "phoneme_child.py"
_LIMITS = children.Limits(memory_bytes=1 << 30, cpu_seconds=60, file_bytes=1 << 20, open_files=64, wall_seconds=120)

# The marks at the end of a word that the model speaks as a pause or a melody, and their equivalents.
_MARKS = {mark: mark for mark in ";:,.!?—…"} | {
    "–": "—",
    "।": ".",
    "‽": "?",
    "。": ".",
    "，": ",",
    "、": ",",
    "！": "!",
    "？": "?",
    "；": ";",
    "：": ":",
}
_QUOTES = "\"'“”‘’«»()[]{}¡¿‹›„‚"

_AROUND_WORDS = "".join(_MARKS) + _QUOTES + " "

_ENGLISH = (
    *(("ʔˌn̩", "tᵊn"), ("ʔn̩", "tᵊn"), ("ʔn", "tᵊn"), ("a^ɪ", "I"), ("a^ʊ", "W"), ("d^ʒ", "ʤ"), ("e^ɪ", "A")),
    *(("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y"), ("ə^l", "ᵊl"), ("ʲo", "jo"), ("ʲə", "jə")),
    *(("ʔ", "t"), ("ʲ", ""), ("ɚ", "əɹ"), ("r", "ɹ"), ("x", "k"), ("ç", "k"), ("ɐ", "ə"), ("ɬ", "l"), ("\u0303", "")),
)
_AMERICAN = (("o^ʊ", "O"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("i^ə", "iə"), ("ː", ""), ("ɾ", "T"))
_BRITISH = (("e^ə", "ɛː"), ("i^ə", "ɪə"), ("iə", "ɪə"), ("ə^ʊ", "Q"))
_OTHERS = (
    *(("a^ɪ", "I"), ("a^ʊ", "W"), ("d^z", "ʣ"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("o^ʊ", "O"), ("ə^ʊ", "Q")),
    *(("s^s", "S"), ("t^s", "ʦ"), ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y"), ("-", "")),
)
# A consonant that is a syllable, as at the end of `button`.
_SYLLABIC = re.compile(r"(\S)\u0329")


@dataclass(frozen=True)
class WordSpan:
    """A written word and its tokens in a chunk."""

    number: int
    """The number of the word in its sentence."""
    first: int
    """Its first token."""
    last: int
    """The token after its last one."""


@dataclass(frozen=True)
class Chunk:
    """A part of a sentence that the model speaks at once."""

    tokens: str
    """The phonemes and marks, each a character of the vocabulary."""
    words: tuple[WordSpan, ...]


@dataclass(frozen=True)
class _Clause:
    words: Sequence[int]
    """The numbers of its words."""
    texts: Sequence[str]
    """The text of each word, without marks."""
    mark: str
    """The mark at its end; empty: none."""


@cache
def vocabulary() -> Mapping[str, int]:
    """The tokens of the model by their characters."""
    document: dict[str, int] = json.loads((Path(__file__).parent / "vocabulary.json").read_text(encoding="utf-8"))
    return document


async def convert_sentences(
    library: Path, data: Path, language: str, sentences: Sequence[str]
) -> list[tuple[Chunk, ...]]:
    """Convert sentences to chunks; a sentence of which nothing is spoken has none.

    Args:
        library: The library of espeak-ng.
        data: The folder with its languages.
        language: The language, by its file in that folder, such as `gmw/en-US`.
        sentences: The written sentences.

    Raises `ChildFailed` when espeak-ng fails.
    """
    clauses = await asyncio.to_thread(lambda: [list(_split_clauses(sentence)) for sentence in sentences])
    texts: list[str] = []
    for clause in (clause for sentence in clauses for clause in sentence):
        texts += [" ".join(clause.texts), *clause.texts]
    document = json.dumps([language, texts]).encode()
    command = (sys.executable, "-I", "-S", _CHILD, library, data)
    converted = iter(json.loads(await children.run(command, limits=_LIMITS, stdin=document)))

    def build() -> list[tuple[Chunk, ...]]:
        return [tuple(_pack([_spoken(clause, converted, language) for clause in sentence])) for sentence in clauses]

    return await asyncio.to_thread(build)


def _split_clauses(sentence: str) -> Iterator[_Clause]:
    """Split a sentence where the model should pause: after words that end with a mark."""
    reading = normalization.normalize(sentence)
    text = engine_text(reading)
    words = word_alignment.split_words(sentence)
    letters: list[list[str]] = [[] for _ in words]
    number = 0
    for character, place in zip(text, reading.places, strict=True):
        while number < len(words) - 1 and place >= words[number].last:
            number += 1
        letters[number].append(character if _is_readable(character) else " ")
    numbers: list[int] = []
    texts: list[str] = []
    for number, word in enumerate(words):
        bare = "".join(letters[number]).strip(_AROUND_WORDS)
        numbers.append(number)
        texts.append(" ".join(bare[:_MAX_CHARACTERS].split()))
        last = number == len(words) - 1
        mark = _mark(word.text, words[number + 1].text if not last else "")
        if last or mark or len(numbers) >= _MAX_WORDS:
            yield _Clause(numbers, texts, mark or ("." if last else ""))
            numbers, texts = [], []


def _mark(word: str, following: str) -> str:
    """The mark after a word; empty when there is none, or when it is the full stop of an abbreviation."""
    marks = [_MARKS[character] for character in word.rstrip(_QUOTES)[-1:] if character in _MARKS]
    if not marks:
        return "—" if word in ("-", "--") else ""
    if marks == ["."] and following:
        stem = word.rstrip(_QUOTES + ".")
        begins = following.lstrip(_QUOTES)[:1]
        return "." if begins.isupper() and len(stem) > 3 and "." not in stem and not stem.isdigit() else ""
    return marks[0]


def _is_readable(character: str) -> bool:
    """Whether a voice of Kokoro reads a character: espeak-ng would name foreign ones, as in `Chinese letter`."""
    name = unicodedata.name(character, "")
    if not character.isalpha():
        # espeak-ng also names a mark that belongs to no letter.
        return unicodedata.category(character)[0] != "M" or name.startswith("DEVANAGARI")
    return name.startswith(("LATIN", "DEVANAGARI", "GREEK", "MODIFIER", "FEMININE", "MASCULINE", "MICRO"))


_Tokens = list[tuple[str, int]]
"""The tokens of a clause, each with the number of its word, or -1."""


def _spoken(clause: _Clause, converted: Iterator[str], language: str) -> _Tokens:
    whole = _to_tokens(next(converted), language)
    single = [_to_tokens(next(converted), language) for _ in clause.texts]
    if not whole.strip():
        return []
    owners = align_phonemes(whole, single)
    tokens = [(token, clause.words[owner] if owner >= 0 else -1) for token, owner in zip(whole, owners, strict=True)]
    return [*tokens, (clause.mark, -1)] if clause.mark else tokens


def _to_tokens(phonemes: str, language: str) -> str:
    """The phonemes of espeak-ng in the characters of the model's vocabulary; others are dropped."""
    if language.startswith("gmw/en"):
        for old, new in (*_ENGLISH, *(_AMERICAN if language == "gmw/en-US" else _BRITISH)):
            phonemes = phonemes.replace(old, new)
        phonemes = _SYLLABIC.sub(r"ᵊ\1", phonemes)
    else:
        for old, new in _OTHERS:
            phonemes = phonemes.replace(old, new)
    # espeak-ng writes some phonemes with a full stop, such as `r.` in Hindi; here, marks come from the text alone.
    known = "".join(character for character in phonemes if character in vocabulary() and character not in _MARKS)
    return " ".join(known.split())


def _pack(clauses: Sequence[_Tokens]) -> Iterator[Chunk]:
    """Join the clauses of a sentence to chunks of at most MAX_TOKENS."""
    pending: _Tokens = []
    for clause in clauses:
        for part in _split_long(clause):
            if pending and len(pending) + 1 + len(part) > MAX_TOKENS:
                yield _to_chunk(pending)
                pending = []
            pending += [*([(" ", -1)] if pending else []), *part]
    if pending:
        yield _to_chunk(pending)


def _split_long(clause: _Tokens) -> Iterator[_Tokens]:
    """Split a clause that is longer than a chunk, at the last blank that fits, or within a word without one."""
    while len(clause) > MAX_TOKENS:
        blanks = [n for n in range(MAX_TOKENS // 2, MAX_TOKENS) if clause[n][0] == " "]
        cut = blanks[-1] if blanks else MAX_TOKENS
        yield clause[:cut]
        clause = clause[cut + 1 :] if blanks else clause[cut:]
    if clause:
        yield clause


def _to_chunk(tokens: _Tokens) -> Chunk:
    spans: dict[int, tuple[int, int]] = {}
    for place, (_, number) in enumerate(tokens):
        if number >= 0:
            first, _last = spans.get(number, (place, place))
            spans[number] = (first, place + 1)
    words = tuple(WordSpan(number, first, last) for number, (first, last) in sorted(spans.items()))
    return Chunk("".join(token for token, _ in tokens), words)

"""Phonemes of the neural voice: the tokens of written words, the length of chunks, and characters that are dropped."""

from __future__ import annotations

from pathlib import Path

import espeakng_loader
import pytest

from services.audio import word_alignment
from services.audio.kokoro import phonemes
from services.audio.kokoro.alignment import align_phonemes


async def convert(sentence: str, language: str = "gmw/en-US") -> tuple[phonemes.Chunk, ...]:
    library, data = Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
    [chunks] = await phonemes.convert_sentences(library, data, language, [sentence])
    return chunks


async def words(sentence: str, language: str = "gmw/en-US") -> dict[str, str]:
    """The tokens of each written word."""
    written = word_alignment.split_words(sentence)
    chunks = await convert(sentence, language)
    return {written[span.number].text: chunk.tokens[span.first : span.last] for chunk in chunks for span in chunk.words}


async def test_each_written_word_has_its_own_phonemes_where_espeak_joins_words_or_speaks_several() -> None:
    found = await words("In 1898 the city of the north paid 3.5 million.")
    assert found["1898"] == "wˈʌn θˈWzənd ˈAthˈʌndɹɪd nˈInti ˈAt"
    assert (found["of"], found["the"]) == ("ʌv", "ðə")
    assert found["3.5"] == "θɹˈi pYnt fˈIv"
    assert list(found) == ["In", "1898", "the", "city", "of", "north", "paid", "3.5", "million."]


async def test_a_number_after_a_full_stop_stays_in_its_own_clause() -> None:
    found = await words("He read B.漢1, then bees.")
    assert (found["B.漢1,"], found["then"]) == ("bˈi wˈʌn", "ðˈɛn")


@pytest.mark.parametrize(
    ("language", "sentence", "word", "tokens"),
    [
        ("gmw/en-US", "Better water.", "Better", "bˈɛTəɹ"),
        ("gmw/en", "No goat there.", "No", "nˈQ"),
        ("roa/es", "El zorro come 25 peras.", "25", "βˌAntiθˈinko"),
        ("roa/fr", "Les enfants chantent.", "Les", "lez"),
        ("inc/hi", "तुम 25 किताबें पढ़ो।", "25", "pˈʌcːis"),
        ("roa/it", "La mamma canta.", "mamma", "mˈamma"),
        ("roa/pt-BR", "O sol brilha.", "sol", "sˈɔl"),
    ],
)
async def test_the_phonemes_are_those_of_the_language(language: str, sentence: str, word: str, tokens: str) -> None:
    assert (await words(sentence, language))[word] == tokens


async def test_marks_come_from_the_text_and_abbreviations_do_not_pause() -> None:
    [chunk] = await convert("Dr. Smith, who came at 5 p.m. today, left (quietly); why?")
    marks = [token for token in chunk.tokens if token in ";:,.!?—…"]
    assert marks == [",", ",", ";", "?"]


@pytest.mark.parametrize("text", ["🎉", "***", "漢字", "Привет", "—", "...", "\u200b\u0301"])
async def test_text_that_the_voice_cannot_read_has_no_words(text: str) -> None:
    assert [span for chunk in await convert(text) for span in chunk.words] == []
    kept = await words(f"Hello {text} world.")
    assert (kept["Hello"], kept["world."]) == ("həlˈO", "wˈɜɹld")


async def test_all_tokens_are_in_the_vocabulary() -> None:
    sentence = "Naïve façade — 12 % of €40, and x² ≠ 3; Łódź, Şişli “quoted” #tag @name http://a.b/c?d=e&f=1"
    for chunk in await convert(sentence):
        assert set(chunk.tokens) <= set(phonemes.vocabulary())


async def test_a_long_sentence_is_split_at_a_pause_and_no_chunk_is_too_long() -> None:
    clause = "the committee of the northern city considered all of the proposals"
    chunks = await convert(f"{clause}, {clause}; {clause}, {clause}, {clause}.")
    assert len(chunks) >= 3
    assert all(len(chunk.tokens) <= phonemes.MAX_TOKENS for chunk in chunks)
    assert all(chunk.tokens[-1] in ",;." for chunk in chunks)
    numbers = [span.number for chunk in chunks for span in chunk.words]
    assert sorted(set(numbers)) == list(range(55))


@pytest.mark.parametrize("sentence", ["word " * 400, "a" * 20_000, "1" * 3_000, "x," * 2_000])
async def test_text_without_pauses_is_split_too(sentence: str) -> None:
    chunks = await convert(sentence.strip())
    assert chunks
    assert all(0 < len(chunk.tokens) <= phonemes.MAX_TOKENS for chunk in chunks)


def test_phonemes_of_joined_words_are_shared_at_the_closest_sounds() -> None:
    owners = align_phonemes("ʌvðə wˈɜld", ["ˈʌv", "ðə", "wˈɜld"])
    assert owners == [0, 0, 1, 1, -1, 2, 2, 2, 2, 2]


def test_a_clause_without_words_has_no_owners() -> None:
    assert align_phonemes("", []) == []
    assert align_phonemes("ab", ["", ""]) == [0, 0]

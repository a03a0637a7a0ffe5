"""Sentences: split by the rules of the language, without losing a character."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.content.scripts.sentences import MAX_SENTENCES, is_speakable, split_sentences


@pytest.mark.parametrize(
    "expected",
    [
        ["Dr. Smith paid $3.50.", "He left.", "Mr. and Mrs. Bell stayed."],
        ["I live in the U.S.", "The food is good, e.g. pizza.", "The U.S. Army came."],
        ["We met at 5 p.m. on Monday.", "It was late, approx. 10 p.m.", "She slept."],
        ["J. R. R. Tolkien wrote it.", "See No. 5.", "No.", "Never."],
        ["Pi is 3.14159, not 3.", "Version 3.5.1 is out at example.com now."],
        ["He left... then he came back.", "Wait… what?", "Well...", "Then nothing."],
        ["What?!", "No way!!", "Really?"],
        ['"Stop!" he said.', '"Go."', "She went.", "(They stayed.)", "“Nice.”", "End"],
        ["1. Wash it.", "2. Dry it."],
        ["¿Qué tal?", "¡Bien!", "Sí."],
        ["hello there.", "this is fine.", "nobody uses capitals here"],
        ["नमस्ते।", "आप कैसे हैं?", "ठीक।"],
        ["مرحبا؟", "نعم."],
        ["Bread, milk, etc.", "And so on."],
        ["The cat sat.", "Dogs ran in the sun.", "Birds sang on Oct. 5 in St. Ives."],
        ["No final stop"],
        ["Apple Inc. makes it.", "I like Apple Inc.", "They like me."],
    ],
)
def test_a_text_is_split_where_sentences_end(expected: list[str]) -> None:
    assert split_sentences(" ".join(expected)) == expected


def test_chinese_and_japanese_need_no_blanks() -> None:
    assert split_sentences("你好。世界！「好吗？」再见") == ["你好。", "世界！", "「好吗？」", "再见"]
    assert split_sentences("こんにちは。元気ですか？はい") == ["こんにちは。", "元気ですか？", "はい"]


def test_lines_and_paragraphs_end_sentences_unless_they_go_on() -> None:
    text = "Chapter One\nThe sea was\ncalm, and,\nI think,\r\nblue\n\nthe end"
    assert split_sentences(text) == ["Chapter One", "The sea was calm, and, I think, blue", "the end"]


def test_signs_are_appended_to_a_neighbouring_sentence() -> None:
    assert split_sentences("*** Hi.\n***\nBye. !!! 🎉") == ["*** Hi. ***", "Bye. !!! 🎉"]


@pytest.mark.parametrize("text", ["", " \n\t", "...", "?! -- *", "。", "🎉🎉", "\u200b", "\x00"])
def test_a_text_without_words_has_no_sentences(text: str) -> None:
    assert split_sentences(text) == []
    assert not is_speakable(text)


def test_a_very_long_sentence_is_left_whole() -> None:
    text = "word " * 3999 + "end."
    assert split_sentences(text) == [text]


def test_the_number_of_sentences_is_limited() -> None:
    text = "好。" * 10_000
    found = split_sentences(text)
    assert len(found) <= MAX_SENTENCES
    assert "".join(found).replace(" ", "") == text


def test_a_hostile_script_is_split_quickly() -> None:
    for text in (
        "a. " * 6666,
        "." * 20_000,
        ". " * 10_000,
        "A.\n" * 6666,
        '"' * 20_000,
        "x." * 10_000,
        "etc. a " * 2857,
    ):
        began = time.process_time()
        split_sentences(text)
        assert time.process_time() - began < 2.0


@given(st.one_of(st.text(), st.text(alphabet="ab.A !?。\"')(\n1।…,-"), st.text(alphabet="Dr. U.S.A etc.5\n")))
def test_no_character_is_lost_and_no_sentence_is_mute(text: str) -> None:
    found = split_sentences(text)
    if found:
        assert "".join("".join(found).split()) == "".join(text.split())
    else:
        assert not is_speakable(text)
    for sentence in found:
        assert is_speakable(sentence)
        assert sentence == " ".join(sentence.split())


@pytest.mark.parametrize("text", ["Ⓗⓔⓛⓛⓞ", "🅗🅔🅛🅛🅞", "🄷🄸", "𝐇𝐢", "①"])
def test_decorated_letters_can_be_spoken(text: str) -> None:
    assert split_sentences(text) == [text]


@pytest.mark.parametrize("text", ["🎉", "🔤", "👍🏽", "***", "—"])
def test_symbols_cannot_be_spoken(text: str) -> None:
    assert split_sentences(text) == []


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("fr", ["« Où vas-tu ? » demanda-t-elle.", "« Loin ! »", "Il partit."]),
        ("", ["« Où vas-tu ? » demanda-t-elle, « et quand ? »", "Il se tut."]),
        ("", ["„Wirklich?“", "»Ja!«", "Sie ging."]),
        ("de", ["Der 3. Oktober ist ein Feiertag.", "Am 24. Dezember nicht.", "Im 19. Jahrhundert war das so."]),
        ("", ["Der 3. Oktober ist ein Feiertag.", "Wir trafen uns am 3. Oktober.", "Im 2. Weltkrieg auch."]),
        ("de", ["Er wurde der 1. Sieger.", "Sie gewann 3.", "Dann gingen wir."]),
        ("cs", ["Dne 28. října je svátek.", "Je jich 5.", "Konec."]),
        ("en", ["I have 3.", "Then I left.", "Chapter 2.", "October came."]),
        ("", ["She is 3.", "The other one is 5."]),
        ("ko", ["하나.", "둘.", "셋.", "시작합니다."]),
        ("zh", ["一.", "二.", "三."]),
        ("", ["We love it! 🎉", "What a party 😀 it was.", "The end. 👨‍👩‍👧 ❤️"]),
        ("", ["🔥 Hot deals!", "Go."]),
        ("", ["J. R. R. Tolkien wrote it."]),
    ],
)
def test_a_sentence_ends_where_a_reader_of_the_language_ends_it(language: str, expected: list[str]) -> None:
    assert split_sentences(" ".join(expected), language) == expected

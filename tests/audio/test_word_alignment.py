"""Word alignment: every word of a sentence has a time, whatever the events of the engine are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audio import word_alignment

RATE = 22_050


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("It's 3.5 km, really?!", ["It's", "3.5", "km,", "really?!"]),
        ("well-known e-mail — 🎉", ["well-known", "e-mail", "—", "🎉"]),
        ("你好，世界。", ["你", "好，", "世", "界。"]),
        ("「你好」他说", ["「你", "好」", "他", "说"]),
        ("我用iPhone看书", ["我", "用iPhone看", "书"]),
        ("안녕하세요 세계", ["안녕하세요", "세계"]),
        ("こんにちは", ["こ", "ん", "に", "ち", "は"]),
        ("  a   a a ", ["a", "a", "a"]),
    ],
)
def test_words_keep_their_spelling(sentence: str, words: list[str]) -> None:
    found = word_alignment.split_words(sentence)
    assert [unit.text for unit in found] == words
    assert all(sentence[unit.first : unit.last] == unit.text for unit in found)


def sound(*parts: tuple[float, float]) -> word_alignment.Pcm:
    """Parts of a length in seconds and an amplitude: 1 is a tone, 0 silence."""
    pieces = [
        loud * 8000 * np.sin(np.arange(round(seconds * RATE)) * 2 * np.pi * 300 / RATE) for seconds, loud in parts
    ]
    return np.concatenate(pieces).astype(np.int16)


def seconds(words: list[word_alignment.TimedWord]) -> list[tuple[float, float]]:
    return [(round(word.start / RATE, 2), round(word.end / RATE, 2)) for word in words]


def test_a_word_lasts_until_the_next_begins() -> None:
    words = word_alignment.align_words("one two", [(0, 0), (RATE // 2, 4)], sound((1.0, 1)), RATE)
    assert seconds(words) == [(0.0, 0.5), (0.5, 1.0)]


def test_a_pause_belongs_to_no_word() -> None:
    pcm = sound((0.2, 0), (0.5, 1), (0.4, 0), (0.5, 1), (0.3, 0))
    words = word_alignment.align_words("one, two", [(0, 0), (round(0.8 * RATE), 5)], pcm, RATE)
    assert [pytest.approx(time, abs=0.035) for pair in [(0.2, 0.7), (1.1, 1.6)] for time in pair] == [
        time for pair in seconds(words) for time in pair
    ]


def test_words_of_one_event_share_its_time_by_length() -> None:
    words = word_alignment.align_words("a bbb cc", [(0, 0), (round(0.8 * RATE), 6)], sound((1.0, 1)), RATE)
    assert seconds(words) == [(0.0, 0.2), (0.2, 0.8), (0.8, 1.0)]


def test_events_out_of_order_or_range_are_ignored() -> None:
    events = [(0, 0), (4000, 90), (9000, 0), (8000, 4), (10**7, 8)]
    words = word_alignment.align_words("one two three", events, sound((1.0, 1)), RATE)
    assert words[1].start == 8000
    assert [word.text for word in words] == ["one", "two", "three"]


@given(
    st.text(alphabet="ab 中。🎉.-", min_size=1).filter(str.strip),
    st.lists(st.tuples(st.integers(-10, 40_000), st.integers(-5, 60)), max_size=12),
    st.lists(st.tuples(st.floats(0.01, 0.4), st.integers(0, 1)), min_size=1, max_size=5),
)
def test_word_times_are_ordered_and_within_the_sound(
    sentence: str, events: list[tuple[int, int]], parts: list[tuple[float, int]]
) -> None:
    pcm = sound(*parts)
    words = word_alignment.align_words(sentence, events, pcm, RATE)
    assert "".join(word.text for word in words) == "".join(sentence.split())
    assert words[0].start >= 0
    assert all(word.start < word.end for word in words)
    assert all(before.end <= after.start for before, after in pairwise(words))
    assert words[-1].end <= len(pcm) + len(words)

"""Timings: every word of a sentence gets its time, whatever the engine tells."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audio import timings

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
    found = timings.units(sentence)
    assert [unit.text for unit in found] == words
    assert all(sentence[unit.first : unit.last] == unit.text for unit in found)


def sound(*parts: tuple[float, float]) -> timings.Pcm:
    """A tone where the second number is 1, silence where it is 0; the first is seconds."""
    pieces = [
        loud * 8000 * np.sin(np.arange(round(seconds * RATE)) * 2 * np.pi * 300 / RATE) for seconds, loud in parts
    ]
    return np.concatenate(pieces).astype(np.int16)


def seconds(words: list[timings.Timed]) -> list[tuple[float, float]]:
    return [(round(word.start / RATE, 2), round(word.end / RATE, 2)) for word in words]


def test_a_word_lasts_until_the_next_begins() -> None:
    words = timings.align("one two", [(0, 0), (RATE // 2, 4)], sound((1.0, 1)), RATE)
    assert seconds(words) == [(0.0, 0.5), (0.5, 1.0)]


def test_a_pause_belongs_to_no_word() -> None:
    pcm = sound((0.2, 0), (0.5, 1), (0.4, 0), (0.5, 1), (0.3, 0))
    words = timings.align("one, two", [(0, 0), (round(0.8 * RATE), 5)], pcm, RATE)
    assert [pytest.approx(time, abs=0.035) for pair in [(0.2, 0.7), (1.1, 1.6)] for time in pair] == [
        time for pair in seconds(words) for time in pair
    ]


def test_words_that_the_engine_took_together_share_their_time_by_length() -> None:
    words = timings.align("a bbb cc", [(0, 0), (round(0.8 * RATE), 6)], sound((1.0, 1)), RATE)
    assert seconds(words) == [(0.0, 0.2), (0.2, 0.8), (0.8, 1.0)]


def test_events_that_go_back_or_lie_outside_are_passed_over() -> None:
    events = [(0, 0), (4000, 90), (9000, 0), (8000, 4), (10**7, 8)]
    words = timings.align("one two three", events, sound((1.0, 1)), RATE)
    assert words[1].start == 8000
    assert [word.text for word in words] == ["one", "two", "three"]


@given(
    st.text(alphabet="ab 中。🎉.-", min_size=1).filter(str.strip),
    st.lists(st.tuples(st.integers(-10, 40_000), st.integers(-5, 60)), max_size=12),
    st.lists(st.tuples(st.floats(0.01, 0.4), st.integers(0, 1)), min_size=1, max_size=5),
)
def test_every_word_has_a_time_inside_and_in_order(
    sentence: str, events: list[tuple[int, int]], parts: list[tuple[float, int]]
) -> None:
    pcm = sound(*parts)
    words = timings.align(sentence, events, pcm, RATE)
    assert "".join(word.text for word in words) == "".join(sentence.split())
    assert words[0].start >= 0
    assert all(word.start < word.end for word in words)
    assert all(before.end <= after.start for before, after in pairwise(words))
    assert words[-1].end <= len(pcm) + len(words)

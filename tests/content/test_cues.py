"""Cues: on screen while their words are spoken, in lines that fit, without losing a character."""

from __future__ import annotations

import time
import unicodedata
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneyprinter.errors import InvalidArgument
from services.content.captions.cues import Cue, make_cues
from services.content.layout.line_breaking import Layout, Word, columns_per_line

TALE = (
    "In the quiet hours before dawn, when the city still sleeps, a baker kneads his dough, "
    "and dreams of the sea that he left behind many years ago."
)


def spoken(text: str, start: float = 0.15, each: float = 0.3, gap: float = 0.0) -> list[Word]:
    """The words of a text, one after the other."""
    words = []
    for part in text.split():
        words.append(Word(part, timedelta(seconds=start), timedelta(seconds=start + each)))
        start += each + gap
    return words


def lines(cues: list[Cue]) -> list[tuple[str, ...]]:
    return [cue.lines for cue in cues]


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else unicodedata.category(c) != "Mn" for c in text)


def test_cues_break_at_clauses_and_their_lines_are_balanced() -> None:
    assert lines(make_cues([spoken(TALE)], Layout(20))) == [
        ("In the quiet", "hours before dawn,"),
        ("when the city", "still sleeps,"),
        ("a baker kneads", "his dough,"),
        ("and dreams of", "the sea that he"),
        ("left behind", "many years ago."),
    ]
    assert lines(make_cues([spoken(TALE)], Layout(42))) == [
        ("In the quiet hours before dawn,",),
        ("when the city still sleeps,", "a baker kneads his dough,"),
        ("and dreams of the sea that he", "left behind many years ago."),
    ]


@pytest.mark.parametrize(
    ("size", "columns"),
    [((1080, 1920), 20), ((1920, 1080), 42), ((1080, 1080), 30), ((180, 320), 20), ((864, 1080), 20)],
)
def test_the_line_length_depends_on_the_canvas(size: tuple[int, int], columns: int) -> None:
    assert columns_per_line(*size) == columns


def test_a_cue_never_spans_two_sentences() -> None:
    cues = make_cues([spoken("One two."), spoken("Three four.", start=2.0)], Layout(42))
    assert lines(cues) == [("One two.",), ("Three four.",)]


def test_a_cue_is_on_screen_while_its_words_are_spoken() -> None:
    (cue,) = make_cues([spoken("One two three.", start=1.25, each=0.5)], Layout(42))
    assert (cue.start, cue.end) == (timedelta(seconds=1.25), timedelta(seconds=2.75))


@pytest.mark.parametrize(("gap", "end"), [(0.0, 0.75), (0.04, 0.79), (0.041, 0.75), (1.0, 0.75)])
def test_a_small_gap_is_bridged_and_a_pause_is_not(gap: float, end: float) -> None:
    first, second = make_cues([spoken("One two."), spoken("Three.", start=0.75 + gap)], Layout(42))
    assert first.end == timedelta(seconds=end)
    assert second.start == timedelta(seconds=0.75 + gap)


def test_a_word_wider_than_a_line_is_cut() -> None:
    cues = make_cues([spoken(f"See http://example.com/{'a' * 60} now", each=3.0)], Layout(20))
    assert all(len(line) <= 20 for cue in cues for line in cue.lines)
    assert (
        "".join(line for cue in cues for line in cue.lines).replace(" ", "") == f"Seehttp://example.com/{'a' * 60}now"
    )
    assert cues[0].start == timedelta(seconds=0.15) and cues[-1].end == timedelta(seconds=9.15)


@pytest.mark.parametrize("split", [False, True])
def test_chinese_is_broken_by_width_and_joined_without_blanks(split: bool) -> None:
    text = "你好世界，今天天气很好，我们去公园散步吧，然后回家吃饭。"
    words = spoken(" ".join(text.replace("，", "， ").replace(" ", "")) if split else text, each=0.25 if split else 7)
    if split:  # as the audio service hands them over: punctuation belongs to the character before it
        words = [w for w in words if w.text not in "，。"]
    cues = make_cues([words], Layout(20))
    joined = "".join(line for cue in cues for line in cue.lines)
    assert joined == (text.replace("，", "").replace("。", "") if split else text)
    for cue in cues:
        for line in cue.lines:
            assert width(line) <= 20
            assert line[0] not in "，。"


def test_an_emoji_of_several_characters_stays_one() -> None:
    family = "👩\u200d👩\u200d👧\u200d👦"
    cues = make_cues([spoken(family * 12, each=5)], Layout(20))
    assert {line.count("👩") / line.count("👧") for cue in cues for line in cue.lines} == {2.0}


def test_control_characters_are_left_out() -> None:
    words = [
        Word("a\x00b\x07", timedelta(0), timedelta(seconds=1)),
        Word(" \n", timedelta(seconds=1), timedelta(seconds=2)),
    ]
    assert lines(make_cues([words], Layout(42))) == [("ab",)]
    assert make_cues([words[1:]], Layout(42)) == []


@pytest.mark.parametrize(
    "times", [[(0.0, 1.0), (0.5, 2.0)], [(1.0, 1.0)], [(1.0, 0.5)], [(2.0, 3.0), (0.0, 1.0)], [(-1.0, 1.0)]]
)
def test_words_out_of_order_are_refused(times: list[tuple[float, float]]) -> None:
    words = [Word("x", timedelta(seconds=start), timedelta(seconds=end)) for start, end in times]
    with pytest.raises(InvalidArgument, match="must begin when the one before it has ended"):
        make_cues([words], Layout(42))


@pytest.mark.parametrize("max_lines", [1, 2, 3, 4])
def test_a_cue_has_at_most_the_allowed_lines(max_lines: int) -> None:
    cues = make_cues([spoken(TALE)], Layout(20, max_lines))
    assert max(len(cue.lines) for cue in cues) == max_lines
    assert " ".join(line for cue in cues for line in cue.lines) == TALE
    for cue in cues:
        widths = [len(line) for line in cue.lines]
        assert max(widths) <= 20
        assert max(widths) - min(widths) <= 10, "the lines are not balanced"


def test_lines_are_balanced_in_chinese_too() -> None:
    cues = make_cues([spoken("今天天气很好我们去公园散步吧", each=4)], Layout(20))
    assert lines(cues) == [("今天天气很好", "我们去公园散步吧")]


EAST_ASIAN = [
    "「はい」と言った。",
    "ちょっと待って！？",
    "スーパーへ行く、とね。",
    "人々（ひとびと）がいる。",
    "《书》很好，真的。",
]


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        *((text, apart) for text in EAST_ASIAN for apart in (False, True)),
        ("价格是￥100元。“好”吗？", False),
    ],
)
def test_closing_signs_begin_no_line_and_opening_signs_end_none(text: str, apart: bool) -> None:
    for columns in range(6, 20):
        words = spoken(" ".join(text * 3) if apart else text * 3, each=0.2 if apart else 9)
        shown = [line for cue in make_cues([words], Layout(columns)) for line in cue.lines]
        assert "".join(shown) == text * 3
        for line in shown:
            assert line[0] not in "」。！？、）》，ょっーャ々”" and line[-1] not in "「（《￥“"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("สวัสดีชาวโลกวันนี้อากาศดีมาก", ["สวัสดี", "ชาว", "โลก", "วัน", "นี้", "อากาศ", "ดี", "มาก"]),
        ("ສະບາຍດີຊາວໂລກ", ["ສະບາຍດີ", "ຊາວໂລກ"]),
        ("មានពិភពលោកថ្ងៃនេះ", ["មាន", "ពិភពលោក", "ថ្ងៃនេះ"]),
        ("မင်္ဂလာပါကမ္ဘာလောက", ["မင်္ဂလာ", "ပါ", "ကမ္ဘာ", "လောက"]),
    ],
)
def test_scripts_without_blanks_are_broken_between_words(text: str, parts: list[str]) -> None:
    ends = {sum(map(len, parts[: n + 1])) for n in range(len(parts))}
    for columns in range(max(map(width, parts)), 20):
        at = 0
        for cue in make_cues([spoken(text * 2, each=9)], Layout(columns)):
            for line in cue.lines:
                at += len(line)
                assert at % len(text) in ends | {0}
        assert at == 2 * len(text)


def test_a_sign_after_a_blank_stays_with_its_word() -> None:
    for columns in range(8, 30):
        for cue in make_cues([spoken("Bonjour tout le monde ! Ça va bien ?")], Layout(columns)):
            assert all(line[0] not in "!?" for line in cue.lines)


def test_each_word_keeps_its_time() -> None:
    words = spoken(TALE)
    cues = make_cues([words], Layout(20))
    shown = [word for cue in cues for line in cue.spoken for word in line]
    assert [(word.text.strip(), word.start, word.end) for word in shown] == [(w.text, w.start, w.end) for w in words]


def test_arabic_keeps_the_order_in_which_it_is_read() -> None:
    text = "مرحبا بالعالم، this is hello (نص) عربي طويل قليلا."
    cues = make_cues([spoken(text)], Layout(20))
    assert " ".join(line for cue in cues for line in cue.lines) == text


def test_a_very_long_sentence_is_laid_out_in_time() -> None:
    began = time.process_time()
    make_cues([spoken("字" * 5000, each=5000)], Layout(42, 4))
    make_cues([spoken("a " * 5000)], Layout(42, 4))
    assert time.process_time() - began < 5


WORDS = st.tuples(
    st.one_of(
        st.text(min_size=1, max_size=30), st.text(alphabet="abc,.中文。👩\u200d\u0301 {}\\N", min_size=1, max_size=60)
    ),
    st.integers(1, 3_000_000),
    st.integers(0, 2_000_000),
)


@given(
    st.lists(st.lists(WORDS, min_size=1, max_size=25), min_size=1, max_size=4),
    st.sampled_from([7, 20, 42]),
    st.integers(1, 4),
)
def test_no_caption_overlaps_loses_or_overflows(
    script: list[list[tuple[str, int, int]]], columns: int, most: int
) -> None:
    now, sentences = timedelta(0), []
    for sentence in script:
        words = []
        for text, lasts, gap in sentence:
            now += timedelta(microseconds=gap)
            words.append(Word(text, now, now + timedelta(microseconds=lasts)))
            now += timedelta(microseconds=lasts)
        sentences.append(words)
    cues = make_cues(sentences, Layout(columns, most))
    for before, after in pairwise(cues):
        assert before.end <= after.start
    for cue in cues:
        assert cue.start <= cue.end
        assert 1 <= len(cue.lines) <= most and all(cue.lines)
    expected = [c for words in sentences for w in words for c in w.text if unicodedata.category(c) not in ("Cc", "Cs")]
    shown = "".join(line for cue in cues for line in cue.lines)
    # Words that are wider than a line have hyphens.
    assert "".join(shown.split()).replace("-", "") == "".join("".join(expected).split()).replace("-", "")

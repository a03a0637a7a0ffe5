"""Lexicon: the spoken form of words is replaced as requested; spelling and times stay."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from services.audio import speech
from services.audio.espeak import Espeak
from services.audio.lexicon import Lexicon, Timed
from services.audio.speech import SpokenText
from tests.audio.conftest import Folder

ENTRIES = {
    "nginx": "engine x",
    "SQL": "sequel",
    "Nguyen": "win",
    "US": "united states",
    "C++": "c plus plus",
    "Ä": "ah",
}


@pytest.mark.parametrize(
    ("sentence", "spoken"),
    [
        ("Run nginx, then SQL.", "Run engine x, then sequel."),
        ("(Nginx)", "(engine x)"),
        ("Nguyen's and Nguyen’s dog", "win's and win’s dog"),
        ("nginxes and MySQL stay.", "nginxes and MySQL stay."),
        ("C++ beats c++", "c plus plus beats c++"),
        ("A\u0308 ist kein A.", "ah ist kein A."),
        ("... — 42", "... — 42"),
    ],
)
def test_whole_words_are_respelled(sentence: str, spoken: str) -> None:
    assert Lexicon(ENTRIES).respell(sentence).text == spoken


def test_case_counts_where_two_entries_differ_in_it() -> None:
    lexicon = Lexicon({"us": "us", "US": "united states"})
    assert lexicon.respell("The US and us").text == "The united states and us"


def timed(*words: str) -> list[Timed]:
    return [(word, timedelta(seconds=at), timedelta(seconds=at + 0.8)) for at, word in enumerate(words)]


def test_a_word_has_the_times_of_all_that_is_spoken_for_it() -> None:
    respelling = Lexicon(ENTRIES).respell("Run nginx, now.")
    restored = respelling.restore(timed("Run", "engine", "x,", "now."))
    assert [word for word, _, _ in restored] == ["Run", "nginx,", "now."]
    assert restored[1][1:] == (timedelta(seconds=1), timedelta(seconds=2.8))


def test_words_that_a_voice_splits_keep_their_parts() -> None:
    restored = Lexicon(ENTRIES).respell("A well-known SQL.").restore(timed("A", "well-", "known", "sequel."))
    assert [word for word, _, _ in restored] == ["A", "well-", "known", "SQL."]


@pytest.mark.parametrize("words", [("Run", "enginex", "now"), ("Runengine", "x,", "now.")])
def test_words_that_cannot_be_found_share_the_time_of_the_sentence(words: tuple[str, ...]) -> None:
    """A voice may report other words than those of its text, or join two."""
    spoken = timed(*words)
    restored = Lexicon(ENTRIES).respell("Run nginx, now.").restore(spoken)
    assert [word for word, _, _ in restored] == ["Run", "nginx,", "now."]
    assert (restored[0][1], restored[-1][2]) == (spoken[0][1], spoken[-1][2])
    assert all(before[2] <= after[1] for before, after in pairwise(restored))


TALE = ["We run nginx and SQL.", "Nothing else."]


async def speak(provider: Espeak, folder: Path, objects: Folder, lexicon: Lexicon) -> SpokenText:
    voice = provider.voice("en-US")
    assert voice is not None
    return (await speech.synthesize(provider, voice, objects, TALE, folder, lexicon=lexicon)).spoken


async def test_captions_keep_the_written_words(provider: Espeak, tmp_path: Path, objects: Folder) -> None:
    plain = await speak(provider, tmp_path, objects, Lexicon({}))
    long = Lexicon({"nginx": "engine x the very famous web server"})
    for _ in range(2):
        spoken = await speak(provider, tmp_path, objects, long)
        assert [[word.text for word in sentence] for sentence in spoken.sentences] == [
            [word.text for word in sentence] for sentence in plain.sentences
        ]
        word = spoken.sentences[0][2]
        assert word.end - word.start > timedelta(seconds=1.2)
        assert spoken.duration > plain.duration + timedelta(seconds=0.8)
    # A lexicon that no word is in changes nothing, and the stored speech is used.
    assert await speak(provider, tmp_path, objects, Lexicon({"apache": "x"})) == plain
    assert len(objects.puts) == 4

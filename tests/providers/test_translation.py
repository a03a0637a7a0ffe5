"""Translations and descriptions, by the real adapters over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from moneyprinter import errors
from services.content.scripts.scenes import Scene
from services.content.writers.social import PLATFORMS, add_credits, describe_video
from services.content.writers.translation import (
    MAX_CHARACTERS,
    translate_captions,
    translate_scenes,
    translate_texts,
    wrap_text,
)
from tests.providers.provider_server import json_answer
from tests.providers.test_writers import Bench, narration

SRT = """1
00:00:00,000 --> 00:00:01,500
<i>The sea is salty,</i>
and it is wide.

2
00:00:01,500 --> 00:00:03,000 X1:40
...

3
0:00:03,000 --> 0:00:04,000
Rivers carry the salt.
"""
VTT = "WEBVTT\n\nNOTE no text\n\n00:01.000 --> 00:02.000 line:0\nThe sea is salty.\n"
GERMAN = ["Das Meer ist salzig, und es ist weit.", "Flüsse tragen das Salz in das Meer."]
ALL = tuple(PLATFORMS)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        opened = Bench(stack)
        yield opened
        opened.check()


def translations(texts: list[str]) -> str:
    return json.dumps({"translations": texts})


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("language", ["de", "ja", "ar"])
async def test_texts_are_translated_one_by_one(bench: Bench, name: str, language: str) -> None:
    await bench.open(name)
    made = await translate_texts(bench.pool, ["Salt is old.", "...", "It is in the sea."], language, "user_1")
    assert (len(made.texts), made.texts[1], made.writer, made.notices) == (3, "...", name, ())
    assert bench.servers[name].wishes[0]["texts"] == ["Salt is old.", "It is in the sea."]


async def test_captions_keep_their_times_and_settings(bench: Bench) -> None:
    await bench.open("openai")
    bench.servers["openai"].texts = [translations(GERMAN)]
    file, made = await translate_captions(bench.pool, SRT, "de", "user_1")
    assert file == (
        "1\n00:00:00,000 --> 00:00:01,500\nDas Meer ist salzig,\nund es ist weit.\n\n"
        "2\n00:00:01,500 --> 00:00:03,000 X1:40\n...\n\n"
        "3\n0:00:03,000 --> 0:00:04,000\nFlüsse tragen das Salz in das Meer.\n"
    )
    assert bench.servers["openai"].wishes[0]["texts"] == ["The sea is salty, and it is wide.", "Rivers carry the salt."]
    assert made.writer == "openai"
    bench.servers["openai"].texts = [translations(GERMAN[:1])]
    file, _ = await translate_captions(bench.pool, VTT.replace("\n", "\r\n"), "de", "user_1")
    assert file == VTT.replace("The sea is salty.", GERMAN[0])


async def test_scenes_keep_their_structure_and_their_footage(bench: Bench) -> None:
    await bench.open("anthropic")
    scenes = (
        Scene(("The sea is wide.", "It is old."), ("sea",), "en", "The sea"),
        Scene(("Rivers run.",), ("river",), "en"),
    )
    bench.servers["anthropic"].texts = [
        translations(["Das Meer ist weit.", "Es ist alt.", "Das Meer", "Flüsse fließen."])
    ]
    made, translation = await translate_scenes(bench.pool, scenes, "de", "user_1")
    assert made == (
        Scene(("Das Meer ist weit.", "Es ist alt."), ("sea",), "en", "Das Meer"),
        Scene(("Flüsse fließen.",), ("river",), "en"),
    )
    assert translation.writer == "anthropic"


async def test_long_texts_are_translated_in_parts_and_parts_are_paid_once(bench: Bench) -> None:
    await bench.open("openai")
    texts = [f"Sentence number {number} is about the sea." for number in range(150)]
    made = await translate_texts(bench.pool, texts, "de", "user_1")
    assert len(made.texts) == 150 and bench.requests() == [3]
    bench.servers["openai"].answers.append(json_answer({}, 500))
    with pytest.raises(errors.Unavailable) as failed:
        await translate_texts(bench.pool, [*texts, "One more."], "de", "user_1")
    assert failed.value.reason == "WRITERS_FAILED" and "HTTP 500" in failed.value.message
    await translate_texts(bench.pool, [*texts, "One more."], "de", "user_1")
    # Only the part that failed is asked for again.
    assert bench.requests() == [5]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ([GERMAN[0]], "there are 1 translations; there must be 2"),
        ([GERMAN[0], " "], "translation 2 is empty"),
        (["The sea is wide and it is old.", "The salt of the rivers is in it."], "language"),
        (["**Das** Meer ist weit und es ist alt.", GERMAN[1]], "Markdown"),
    ],
)
async def test_a_bad_translation_is_corrected_or_done_by_the_next(bench: Bench, bad: list[str], problem: str) -> None:
    await bench.open("openai", "gemini")
    bench.servers["openai"].texts = [translations(bad), translations(bad)]
    made = await translate_texts(bench.pool, ["The sea.", "The salt."], "de", "user_1")
    assert (made.writer, bench.requests()) == ("gemini", [2, 1])
    assert problem in bench.servers["openai"].wishes[1]["problems"][0] and problem in made.notices[0].message


@pytest.mark.parametrize(
    ("texts", "reason"), [(["..."], "SCRIPT_EMPTY"), (["word"] * 5001, "REQUEST_TOO_LARGE"), ([], "SCRIPT_EMPTY")]
)
async def test_nothing_and_too_much_is_refused(bench: Bench, texts: list[str], reason: str) -> None:
    await bench.open("openai")
    with pytest.raises(errors.InvalidArgument) as refused:
        await translate_texts(bench.pool, texts, "de", "user_1")
    assert refused.value.reason == reason
    with pytest.raises(errors.InvalidArgument, match="in several calls"):
        await translate_texts(bench.pool, ["w" * (MAX_CHARACTERS + 1)], "de", "user_1")
    with pytest.raises(errors.InvalidArgument, match="there is no cue"):
        await translate_captions(bench.pool, "A text.\n\n1\nMore.", "de", "user_1")
    assert bench.requests() == [0]


async def test_without_a_writer_nothing_is_translated(bench: Bench) -> None:
    await bench.open()
    with pytest.raises(errors.FailedPrecondition, match=r"docs/providers\.md") as refused:
        await translate_texts(bench.pool, ["The sea."], "de", "user_1")
    assert refused.value.reason == "WRITER_MISSING"


@pytest.mark.parametrize(
    ("text", "count", "language", "lines"),
    [
        ("one two three four", 2, "en", ["one two", "three four"]),
        ("海の水は塩辛いです", 2, "ja", ["海の水は塩", "辛いです"]),
        ("one", 3, "en", ["one"]),
        ("a bb ccc dddd", 1, "en", ["a bb ccc dddd"]),
    ],
)
def test_lines_have_similar_lengths(text: str, count: int, language: str, lines: list[str]) -> None:
    assert wrap_text(text, count, language) == lines


async def describe(bench: Bench, script: str, title: str = "", language: str = "en", platforms: Any = ALL) -> Any:
    return await describe_video(bench.pool, script, title, language, platforms, "user_1")


@pytest.mark.parametrize("language", ["en", "de", "ja", "ar"])
async def test_each_platform_gets_texts_within_its_limits(bench: Bench, language: str) -> None:
    await bench.open("gemini")
    made = await describe(bench, "The sea is salty.", language=language, platforms=("tiktok", "youtube"))
    assert (made.writer, [text.platform for text in made.texts]) == ("gemini", ["tiktok", "youtube"])
    assert all(text.title and text.description and text.hashtags == ("Sea", "salt") for text in made.texts)
    assert bench.servers["gemini"].wishes[0]["platforms"][0]["title_characters"] == 100


async def test_a_bad_description_is_replaced_by_words_of_the_script(bench: Bench) -> None:
    await bench.open("openai")
    texts = {
        "title": "T" * 101,
        "description": "See **https://example.com** for the salt of the sea.",
        "hashtags": ["!"],
    }
    bench.servers["openai"].texts = [json.dumps({"platforms": [texts]}), narration("No.")]
    script = "The sea is salty. Rivers carry salt into the sea."
    made = await describe(bench, script, "Why the sea is salty", platforms=("youtube",))
    problems = " ".join(bench.servers["openai"].wishes[1]["problems"])
    assert all(word in problems for word in ("1 to 100", "no hashtags", "Markdown"))
    assert [notice.reason for notice in made.notices] == ["WRITER_SKIPPED", "METADATA_COMPOSED"]
    assert made.texts[0].title == "Why the sea is salty" and made.texts[0].description == script
    assert made.texts[0].hashtags[:2] == ("sea", "salty")


@pytest.mark.parametrize("script", ["x", "word " * 4000, "海の水は塩辛い。" * 2000])
async def test_offline_texts_fit_and_have_no_notice(bench: Bench, script: str) -> None:
    await bench.open()
    made = await describe(bench, script, "T" * 150, language="ja" if "海" in script else "en")
    assert made.notices == () and made.writer == "plain-template"
    for text in add_credits(made.texts, ["Footage: Jane Doe, Pexels License, https://www.pexels.com/video/1/"] * 20):
        limits = PLATFORMS[text.platform]
        assert 1 <= len(text.title) <= limits.title_characters
        assert 1 <= len(text.description) <= limits.description_characters
        assert "Jane Doe" in text.description and len(text.hashtags) <= limits.hashtag_count

"""Scenes of offline scripts: how sentences are divided, what footage is searched by, and how long a template is."""

from __future__ import annotations

import pytest

from services.content.scripts.key_words import find_key_words, find_phrase
from services.content.scripts.languages import (
    UNKNOWN_LANGUAGE,
    detect_language,
    identify_language,
    is_in_language,
)
from services.content.scripts.lengths import count_words
from services.content.scripts.scenes import group_sentences
from services.content.scripts.script_templates import TEMPLATES
from services.content.scripts.stop_words import STOP_WORDS
from services.content.scripts.writing import (
    Script,
    WritingOptions,
    complete_script,
    compose_script,
    fit_length,
    write_script,
)

SALT = (
    "Rivers carry minerals from rocks into the sea. The sun evaporates water and leaves salt behind. "
    "Whales and fish live in it. Nobody drinks it, since it makes people thirsty."
)


def scenes_of(
    text: str | None, title: str = "Why the sea is salty", language: str = "", scene_count: int = 0
) -> Script:
    return complete_script(write_script(title, text, language), title, WritingOptions(scene_count=scene_count))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9])
def test_scenes_have_all_sentences_in_order(count: int) -> None:
    script = scenes_of(SALT, scene_count=count)
    assert tuple(sentence for scene in script.scenes for sentence in scene.sentences) == script.sentences
    assert len(script.scenes) == (min(count, 4) or 2)
    assert all(scene.sentences and 1 <= len(scene.search_terms) <= 5 for scene in script.scenes)
    assert script.language == "en" and {scene.search_language for scene in script.scenes} == {"en"}
    assert scenes_of(SALT, scene_count=count) == script


def test_each_scene_is_searched_by_its_own_words_and_then_by_the_topic() -> None:
    first, second, third, _ = scenes_of(SALT, scene_count=4).scenes
    assert {"Rivers", "minerals", "rocks"} <= set(first.search_terms) and first.search_terms[-1] == "sea salty"
    assert "water" in second.search_terms and "fish" in third.search_terms
    assert not {term.lower() for term in first.search_terms} & {"the", "from", "into"}
    assert (first.title, second.title) == ("Why the sea is salty", "")


def test_the_filler_of_a_template_is_not_searched_by() -> None:
    script = complete_script(compose_script("Why the sea is salty"), "Why the sea is salty", WritingOptions())
    assert {term for scene in script.scenes for term in scene.search_terms} == {"sea salty", "sea", "salty"}


@pytest.mark.parametrize(
    ("topic", "language", "terms"),
    [
        ("Warum das Meer salzig ist", "de", ["Meer salzig", "Meer", "salzig"]),
        ("海の水はなぜ塩辛いのか", "ja", ["海水塩辛い", "塩辛い", "海", "水"]),
        ("لماذا البحر مالح", "ar", ["البحر مالح", "البحر", "مالح"]),
        ("海水为什么是咸的", "zh", ["海水"]),
        ("L'histoire de l'eau", "fr", ["histoire eau", "histoire", "eau"]),
        ("The", "en", ["The"]),
        ("x", "en", ["x"]),
    ],
)
def test_a_topic_is_searched_by_its_key_words(topic: str, language: str, terms: list[str]) -> None:
    script = complete_script(compose_script(topic, language), topic, WritingOptions())
    assert list(script.scenes[0].search_terms) == terms


def test_equal_words_in_another_case_count_as_one() -> None:
    assert find_key_words("Salt, salt and SALT. Pepper!", "en", 5) == ["Salt", "Pepper"]
    assert find_phrase("Why the sea is the sea", "en") == "sea"


def test_groups_have_similar_lengths_and_none_is_empty() -> None:
    assert [len(group) for group in group_sentences(["One two three."] * 12, "en", 4)] == [3, 3, 3, 3]
    long_last = [*["One two three."] * 3, "word " * 90]
    assert [len(group) for group in group_sentences(long_last, "en", 3)] == [2, 1, 1]
    assert len(group_sentences(["One."], "en", 50)) == 1


@pytest.mark.parametrize("language", TEMPLATES)
def test_the_language_of_a_text_is_identified(language: str) -> None:
    assert language in STOP_WORDS
    assert identify_language(" ".join(TEMPLATES[language].body)) == language


NEIGHBOURS = {
    "ca": "El mar és salat perquè els rius porten la sal de les roques al mar, i el sol fa que l'aigua pugi al cel.",
    "af": "Die see is sout omdat die riviere die sout van die rotse na die see dra, en dit is al lank so.",
    "ms": "Laut itu masin kerana sungai membawa garam dari batu ke laut, dan ini sudah lama begitu untuk kita semua.",
    "bg": "Морето е солено, защото реките носят солта от скалите в морето, и това е така от много години.",
    "da": "Havet er salt, fordi floderne fører saltet fra klipperne ud i havet, og det har de gjort i mange år.",
}


@pytest.mark.parametrize("language", NEIGHBOURS)
def test_a_text_is_not_taken_for_one_of_a_neighbouring_language(language: str) -> None:
    assert is_in_language(NEIGHBOURS[language] * 3, language)
    assert not is_in_language(SALT * 3, language)
    assert not is_in_language(" ".join(TEMPLATES["ja"].body), language)


@pytest.mark.parametrize("language", TEMPLATES)
def test_a_text_is_not_in_another_language(language: str) -> None:
    text = " ".join(TEMPLATES[language].body)
    assert [each for each in TEMPLATES if is_in_language(text, each)] == [language]


def test_a_text_without_common_words_is_undetermined() -> None:
    assert identify_language("Kubernetes Terraform") == UNKNOWN_LANGUAGE
    assert identify_language("Vuelos baratos") == UNKNOWN_LANGUAGE


def test_a_topic_of_a_few_words_shows_its_language() -> None:
    topics = {"de": "Warum das Meer salzig ist", "es": "Cómo hacen miel las abejas", "pl": "Dlaczego morze jest słone"}
    assert {language: detect_language(topic) for language, topic in topics.items()} == {each: each for each in topics}
    assert detect_language("Mars") == "en"


@pytest.mark.parametrize(("language", "seconds"), [("en", 25), ("de", 30), ("ja", 25), ("ar", 20), ("zh", 18)])
def test_a_template_comes_near_the_requested_duration(language: str, seconds: float) -> None:
    words = WritingOptions(seconds=seconds).count_words(language)
    script = compose_script("A topic", language, fit_length("A topic", language, words))
    assert count_words(" ".join(script.sentences), language) == pytest.approx(words, rel=0.25)


def test_what_a_template_cannot_do_is_reported() -> None:
    options = WritingOptions(words=500, tone="humorous", prompt="Mention Darwin.")
    notices = complete_script(compose_script("Whales", "en", 9), "Whales", options).notices
    assert [notice.reason for notice in notices] == ["SCRIPT_LENGTH_DIFFERS", "WRITING_OPTIONS_IGNORED"]
    assert "500 were requested" in notices[0].message and "tone, prompt" in notices[1].message
    assert complete_script(write_script("Whales", "A text."), "Whales", options).notices == ()

"""Scenes are edited as a text: scripts, titles, terms, and the scenes themselves."""

from __future__ import annotations

import pytest

from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.actions.scene_texts import format_scenes, parse_scenes
from services.commands.errors import WrongRequest

TOPIC = [
    pb.Scene(script="The sea is salty.", title="The sea", search_terms=["sea waves", "salt"], search_language="en",
             cuts=[pb.Cut(id="pexels:1", url="https://a.example/1.mp4", duration=4)]),
    pb.Scene(script="Rivers bring salt.\n## It is much.", search_terms=["river"],
             cuts=[pb.Cut(id="pexels:2", url="https://a.example/2.mp4", duration=4)]),
]  # fmt: skip
CLIPS = [pb.Scene(script="One."), pb.Scene(script="Two.")]


@pytest.mark.parametrize("scenes", [TOPIC, CLIPS, CLIPS[:1]])
def test_an_unchanged_text_has_the_same_scenes(scenes: list[pb.Scene]) -> None:
    assert parse_scenes(format_scenes(scenes), scenes) == scenes


def test_scenes_are_edited_moved_removed_and_added() -> None:
    text = format_scenes(TOPIC)
    edited = parse_scenes(text.replace("## Scene 1: The sea", "## scene 1:").replace("The sea is", "Seas are"), TOPIC)
    assert (edited[0].title, edited[0].script) == ("", "Seas are salty.")
    assert edited[0].cuts == TOPIC[0].cuts, "the clips stay"
    first, second = text[text.index("## Scene 1") : text.index("## Scene 2")], text[text.index("## Scene 2") :]
    assert parse_scenes(second + first, TOPIC) == [TOPIC[1], TOPIC[0]]
    assert parse_scenes(second, TOPIC) == [TOPIC[1]]
    added = parse_scenes(f"{text}\n## Scene: Foam\nterms: foam, beach\nWaves make foam.", TOPIC)
    assert added == [*TOPIC, pb.Scene(script="Waves make foam.", title="Foam", search_terms=["foam", "beach"])]


def test_other_terms_of_a_scene_need_other_clips() -> None:
    edited = parse_scenes(format_scenes(TOPIC).replace("terms: river", "terms: delta, mouth of a river"), TOPIC)
    assert list(edited[1].search_terms) == ["delta", "mouth of a river"]
    assert not edited[1].cuts
    assert edited[0] == TOPIC[0]


@pytest.mark.parametrize(
    ("scenes", "text", "words"),
    [
        (CLIPS, "## Scene 1\nOne.", "2 scenes"),
        (CLIPS, "One. Two.", "2 scenes"),
        (CLIPS, "## Scene 1\nOne.\n## Scene 2\n \n", "text to speak"),
        (CLIPS[:1], " \n", "text to speak"),
        (TOPIC, "", "2 scenes"),
        (TOPIC, "## Scene 1: The sea\nterms: sea\n", "text to speak"),
    ],
)
def test_a_text_without_its_scenes_is_refused(scenes: list[pb.Scene], text: str, words: str) -> None:
    with pytest.raises(WrongRequest, match=words):
        parse_scenes(text, scenes)

"""The choice of cuts: scenes are filled exactly, no clip repeats, and clips of earlier videos come last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.content.footage.backgrounds import Background
from services.content.footage.choice import MAX_CUT, MIN_CUT, Choice, ChoiceRequest, Cut, Scene, choose_footage
from services.content.footage.clips import FootageClip, FootageQuery, Shape
from services.content.footage.library import Library, LibraryAsset

PORTRAIT = Shape(1080, 1920)


class Shelf:
    """A source with a fixed result for each query, which records the queries."""

    name = "shelf"

    def __init__(self, **results: Sequence[FootageClip]) -> None:
        self._results = {words.replace("_", " "): clips for words, clips in results.items()}
        self.queries: list[str] = []

    async def search(self, query: FootageQuery) -> Sequence[FootageClip]:
        self.queries.append(query.words)
        return self._results.get(query.words, ())


def clip(number: int, seconds: float = 20, width: int = 1080, height: int = 1920, description: str = "") -> FootageClip:
    url = f"https://videos.example.com/{number}.mp4"
    return FootageClip(f"shelf:{number}", description, url, width=width, height=height, seconds=seconds)


def scene(seconds: float, *terms: str, narration: str = "") -> Scene:
    return Scene(terms, narration, timedelta(seconds=seconds))


def request(*scenes: Scene, topic: str = "", used: Sequence[str] = (), excluded: Sequence[str] = ()) -> ChoiceRequest:
    return ChoiceRequest(scenes, topic, PORTRAIT, used_keys=used, excluded_keys=frozenset(excluded))


def keys(choice: Choice) -> list[list[str]]:
    return [[cut.shows.key for cut in cuts] for cuts in choice.scenes]


def total(cuts: Sequence[Cut]) -> timedelta:
    return sum((cut.duration for cut in cuts), timedelta(0))


async def test_each_scene_shows_a_clip_of_its_own_terms() -> None:
    shelf = Shelf(waves=[clip(1)], forest=[clip(2)])
    choice = await choose_footage(request(scene(5, "waves"), scene(6, "forest")), [shelf])
    assert keys(choice) == [["shelf:1"], ["shelf:2"]]
    assert [cut.query for cuts in choice.scenes for cut in cuts] == ["waves", "forest"]
    assert choice.drawn_scenes == ()


async def test_a_long_scene_changes_its_picture() -> None:
    choice = await choose_footage(request(scene(16, "waves")), [Shelf(waves=[clip(n) for n in range(9)])])
    (cuts,) = choice.scenes
    assert len(cuts) == 3
    assert total(cuts) == timedelta(seconds=16)
    assert all(cut.duration <= MAX_CUT for cut in cuts)


async def test_a_single_long_clip_fills_a_long_scene() -> None:
    choice = await choose_footage(request(scene(16, "waves")), [Shelf(waves=[clip(1, seconds=40)])])
    assert [(cut.shows.key, cut.duration.total_seconds()) for cut in choice.scenes[0]] == [("shelf:1", 16)]


async def test_a_clip_is_not_read_beyond_its_end() -> None:
    choice = await choose_footage(request(scene(5, "waves")), [Shelf(waves=[clip(1, seconds=5.9)])])
    (cut,) = choice.scenes[0]
    assert (cut.start + cut.duration).total_seconds() <= 5.4
    assert cut.start > timedelta(0)


async def test_too_little_footage_ends_in_a_background_that_does_not_flicker() -> None:
    choice = await choose_footage(request(scene(6, "waves")), [Shelf(waves=[clip(1, seconds=6)])])
    cuts = choice.scenes[0]
    assert [isinstance(cut.shows, Background) for cut in cuts] == [False, True]
    assert cuts[1].duration == MIN_CUT
    assert total(cuts) == timedelta(seconds=6)
    assert choice.drawn_scenes == (0,)


async def test_broader_words_are_searched_for_and_then_the_topic() -> None:
    shelf = Shelf(the_salty_sea=[clip(1)])
    choice = await choose_footage(request(scene(5, "drone view of giant waves"), topic="the salty sea"), [shelf])
    assert keys(choice) == [["shelf:1"]]
    assert shelf.queries[0] == "drone view of giant waves"
    assert {"giant waves", "waves"} < set(shelf.queries)
    assert shelf.queries[-1] == "the salty sea"


async def test_a_scene_without_terms_is_searched_for_by_its_narration() -> None:
    shelf = Shelf(mountains_glaciers=[clip(1)])
    narration = "In the mountains, the glaciers are old."
    choice = await choose_footage(request(scene(4, narration=narration)), [shelf])
    assert keys(choice) == [["shelf:1"]]


async def test_clips_of_earlier_videos_come_last_and_the_oldest_of_them_first() -> None:
    shelf = Shelf(waves=[clip(1), clip(2), clip(3)])
    used = ["shelf:1", "shelf:2", "shelf:1"]
    choice = await choose_footage(request(*[scene(5, "waves")] * 3, used=used), [shelf])
    assert keys(choice) == [["shelf:3"], ["shelf:2"], ["shelf:1"]]
    assert choice.reused_keys == ("shelf:2", "shelf:1")


async def test_excluded_clips_are_not_chosen() -> None:
    shelf = Shelf(waves=[clip(1), clip(2)])
    choice = await choose_footage(request(scene(5, "waves"), excluded=["shelf:1"]), [shelf])
    assert keys(choice) == [["shelf:2"]]


async def test_a_clip_of_four_hours_is_left_out() -> None:
    choice = await choose_footage(request(scene(5, "waves")), [Shelf(waves=[clip(1, seconds=14400), clip(2)])])
    assert keys(choice) == [["shelf:2"]]


async def test_a_clip_in_the_shape_of_the_video_comes_first() -> None:
    clips = [clip(1, width=1920, height=1080), clip(2)]
    choice = await choose_footage(request(scene(5, "waves")), [Shelf(waves=clips)])
    assert keys(choice) == [["shelf:2"]]


async def test_the_words_of_the_narration_rank_clips() -> None:
    clips = [clip(1, description="waves harbour"), clip(2, description="waves storm lighthouse")]
    spoken = scene(5, "waves", narration="The lighthouse stands in the storm.")
    choice = await choose_footage(request(spoken), [Shelf(waves=clips)])
    assert keys(choice) == [["shelf:2"]]


async def test_backgrounds_differ_from_scene_to_scene_and_depend_only_on_the_topic() -> None:
    scenes = [scene(4, "x")] * 12
    first, second = [await choose_footage(request(*scenes, topic="The sea"), []) for _ in range(2)]
    assert first == second
    backgrounds = [cut.shows for cuts in first.scenes for cut in cuts]
    assert len(set(backgrounds)) == 12
    other = await choose_footage(request(*scenes, topic="The moon"), [])
    assert not set(backgrounds) & {cut.shows for cuts in other.scenes for cut in cuts}
    replaced = await choose_footage(request(scenes[0], topic="The sea", excluded=[b.key for b in backgrounds]), [])
    assert replaced.scenes[0][0].shows not in backgrounds


ASSETS = [
    LibraryAsset("ast_1", "Beach waves.MP4", 1920, 1080, 12.0),
    LibraryAsset("ast_2", "song about waves.mp3"),
    LibraryAsset("ast_3", "team-photo.jpg", 4000, 3000),
    LibraryAsset("ast_4", "../../etc/passwd"),
]


@pytest.mark.parametrize(
    ("all_match", "terms", "found"),
    [
        (False, "waves", ["library:ast_1"]),
        (False, "robot", []),
        (True, "robot", ["library:ast_1", "library:ast_3"]),
        (True, "team", ["library:ast_3", "library:ast_1"]),
    ],
)
async def test_uploads_are_found_by_their_file_names(all_match: bool, terms: str, found: list[str]) -> None:
    library = Library(ASSETS, all_match=all_match)
    assert [each.key for each in await library.search(FootageQuery(terms))] == found


async def test_a_picture_lasts_as_long_as_its_scene() -> None:
    choice = await choose_footage(request(scene(6, "team")), [Library(ASSETS, all_match=True)])
    assert [(cut.shows.key, cut.start, cut.duration.total_seconds()) for cut in choice.scenes[0]] == [
        ("library:ast_3", timedelta(0), 6)
    ]


CLIPS = st.lists(
    st.builds(
        clip,
        st.integers(0, 30),
        st.floats(0.2, 30),
        st.sampled_from([640, 1080, 3840]),
        st.sampled_from([360, 1080, 1920]),
    ),
    max_size=20,
)


@given(
    found=st.lists(CLIPS, min_size=1, max_size=4),
    seconds=st.lists(st.floats(0.05, 60), min_size=1, max_size=12),
    used=st.lists(st.integers(0, 30), max_size=30),
)
@settings(max_examples=60, deadline=None)
async def test_scenes_are_filled_exactly_and_no_clip_repeats(
    found: list[list[FootageClip]], seconds: list[float], used: list[int]
) -> None:
    shelf = Shelf(**{f"q{index}": clips for index, clips in enumerate(found)})
    scenes = [scene(each, f"q{index % len(found)}") for index, each in enumerate(seconds)]
    choice = await choose_footage(request(*scenes, used=[f"shelf:{n}" for n in used]), [shelf])
    chosen = [key for cuts in keys(choice) for key in cuts]
    assert len(chosen) == len(set(chosen))
    for each, cuts in zip(scenes, choice.scenes, strict=True):
        assert total(cuts) == each.duration
        for cut in cuts:
            assert cut.duration >= min(MIN_CUT, each.duration)
            if isinstance(cut.shows, FootageClip):
                assert (cut.start + cut.duration).total_seconds() <= cut.shows.seconds + 1e-5

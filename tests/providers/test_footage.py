"""Providers of footage over real HTTP: what they find, what they refuse, and what becomes of it in a choice."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from services.content.footage.answers import may_download
from services.content.footage.choice import Choice, ChoiceRequest, Scene, choose_footage
from services.content.footage.clips import Credit, FootageClip, FootageQuery, Orientation, Shape
from services.content.footage.pool import FootagePool
from services.providers.credentials import Credentials
from services.providers.failures import FailureKind, ProviderFailure
from tests.providers.footage_servers import (
    KEYS,
    CoverrServer,
    FootageServer,
    PexelsServer,
    PixabayServer,
    coverr_hit,
    pexels_video,
    pixabay_hit,
)
from tests.providers.provider_server import HTML, STALLED, Answer, Clock, json_answer

PORTRAIT = Shape(1080, 1920)
QUERY = FootageQuery("sea waves", "de", Orientation.PORTRAIT, PORTRAIT)
KINDS = {"pexels": PexelsServer, "pixabay": PixabayServer, "coverr": CoverrServer}
ITEMS = {"pexels": [pexels_video(7)], "pixabay": [pixabay_hit(7)], "coverr": [coverr_hit("S1Yb")]}


class Stock:
    """Servers of the three providers, and a pool that calls them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pool = FootagePool(clock=self.clock)
        self.servers: dict[str, FootageServer] = {}

    async def open(self, *names: str, keys: tuple[str, ...] = KEYS[:1]) -> None:
        given = {name: Credentials(keys, self.servers[name].url) for name in names}
        await self.pool.providers.replace(given)

    async def search(self, name: str, query: FootageQuery = QUERY) -> list[FootageClip]:
        (source,) = await self.pool.find_sources(name)
        return list(await source.search(query))

    async def choose(self, *terms: str, used: tuple[str, ...] = ()) -> Choice:
        scenes = tuple(Scene((each,), "", timedelta(seconds=5)) for each in terms)
        request = ChoiceRequest(scenes, "the sea", PORTRAIT, used_keys=used)
        return await choose_footage(request, await self.pool.find_sources())


@pytest.fixture
async def stock() -> AsyncIterator[Stock]:
    stock = Stock()
    async with AsyncExitStack() as stack:
        for name, kind in KINDS.items():
            stock.servers[name] = await stack.enter_async_context(kind({"sea waves": ITEMS[name]}))
        yield stock
        await stock.pool.providers.aclose()


def keys(choice: Choice) -> list[str]:
    return [cut.shows.key for cuts in choice.scenes for cut in cuts]


async def test_pexels_gives_the_smallest_file_that_covers_the_video(stock: Stock) -> None:
    await stock.open("pexels")
    (clip,) = await stock.search("pexels")
    assert clip == FootageClip(
        key="pexels:7",
        description="sea waves",
        url="https://videos.pexels.com/video-files/7/7-hd_1080_1920_25fps.mp4",
        width=1080,
        height=1920,
        seconds=14,
        preview_url="https://images.pexels.com/videos/7/free-video-7.jpg?auto=compress",
        credit=Credit(
            "pexels",
            "Ana Silva",
            "https://www.pexels.com/@ana-680589",
            "Pexels License",
            "https://www.pexels.com/license/",
            "https://www.pexels.com/video/sea-waves-7/",
        ),
    )
    (request,) = stock.servers["pexels"].requests
    assert (request.query["orientation"], request.query["locale"]) == ("portrait", "de-DE")


async def test_pixabay_has_its_key_in_the_query_and_in_no_log(
    stock: Stock, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    await stock.open("pixabay")
    (clip,) = await stock.search("pixabay")
    assert (clip.key, clip.width, clip.description) == ("pixabay:7", 1920, "sea waves ocean")
    assert clip.url == "https://cdn.pixabay.com/video/2024/05/01/7_medium.mp4"
    assert clip.credit is not None
    assert clip.credit.author_url == "https://pixabay.com/users/m%C3%BCller-12/"
    assert stock.servers["pixabay"].requests[0].query["key"] == KEYS[0]
    assert KEYS[0] not in caplog.text + "".join(capsys.readouterr())


async def test_coverr_gives_the_address_for_downloads(stock: Stock) -> None:
    await stock.open("coverr")
    (clip,) = await stock.search("coverr")
    assert (clip.key, clip.seconds, clip.width) == ("coverr:S1Yb", 11.625, 3840)
    assert clip.url == "https://storage.coverr.co/videos/S1Yb/download?token=t"
    assert clip.credit is not None
    assert clip.credit.page_url == "https://coverr.co/videos/S1Yb"


@pytest.mark.parametrize("name", KINDS)
async def test_a_search_is_kept_for_a_while(stock: Stock, name: str) -> None:
    await stock.open(name)
    first = await stock.search(name)
    stock.clock.now += 3500
    assert await stock.search(name) == first
    assert len(stock.servers[name].requests) == 1
    stock.clock.now += 24 * 3600
    assert await stock.search(name) == first
    assert len(stock.servers[name].requests) == 2


@pytest.mark.parametrize("name", KINDS)
async def test_a_limited_key_rests_until_its_reset(stock: Stock, name: str) -> None:
    await stock.open(name, keys=KEYS)
    server = stock.servers[name]
    server.answers[:] = [json_answer({"error": "too many requests"}, 429, x_ratelimit_reset="50")]
    assert await stock.search(name)
    # The second key was used, and is used until the first one's reset.
    assert len(server.requests) == 2
    for seconds, used in ((0, KEYS[1]), (49, KEYS[1]), (2, KEYS[0])):
        stock.clock.now += seconds
        await stock.search(name, FootageQuery(f"waves {stock.clock.now}"))
        given = str(server.requests[-1].headers) + str(server.requests[-1].query)
        assert used in given
    assert not server.violations


FAILURES = {
    "500": (Answer(500), FailureKind.UNAVAILABLE),
    "HTML": (HTML, FailureKind.BAD_RESPONSE),
    "cut": (Answer(200, b'{"videos": [', {"content-type": "application/json"}, cut_at=5), FailureKind.UNAVAILABLE),
    "no list": (json_answer({"error": "later"}), FailureKind.BAD_RESPONSE),
    "a list alone": (json_answer([]), FailureKind.BAD_RESPONSE),
    "429": (json_answer({}, 429, retry_after="9"), FailureKind.RATE_LIMITED),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failure_has_its_kind_and_is_not_kept(stock: Stock, name: str, failure: str) -> None:
    answer, kind = FAILURES[failure]
    await stock.open(name)
    # A cut body is shorter than its header claims.
    stock.servers[name].answers[:] = [answer]
    with pytest.raises(ProviderFailure) as failed:
        await stock.search(name)
    assert failed.value.kind in (kind, FailureKind.BAD_RESPONSE)
    assert KEYS[0] not in str(failed.value)
    stock.clock.now += 60
    assert await stock.search(name)


@pytest.mark.parametrize("name", KINDS)
async def test_a_wrong_key_is_reported_as_such(stock: Stock, name: str) -> None:
    await stock.open(name, keys=("wrong-key-99",))
    with pytest.raises(ProviderFailure, match="refuses the key") as failed:
        await stock.search(name)
    assert failed.value.kind is FailureKind.UNAUTHORIZED
    with pytest.raises(ProviderFailure, match="is not called for now"):
        await stock.search(name)
    assert len(stock.servers[name].requests) == 1


@pytest.mark.parametrize("name", KINDS)
async def test_the_next_key_takes_the_place_of_a_wrong_one(stock: Stock, name: str) -> None:
    await stock.open(name, keys=("wrong-key-99", KEYS[0]))
    assert await stock.search(name)


UNUSABLE: Mapping[str, tuple[str, dict[str, Any]]] = {
    "a file on another host": (
        "pexels",
        pexels_video(1, video_files=[{"file_type": "video/mp4", "width": 9, "height": 9, "link": "https://x.org/a"}]),
    ),
    "a host in the user part": (
        "coverr",
        coverr_hit("a", urls={"mp4_download": "https://storage.coverr.co@evil.example/a.mp4"}),
    ),
    "an address without TLS": ("coverr", coverr_hit("a", urls={"mp4_download": "http://storage.coverr.co/a.mp4"})),
    "another port": ("coverr", coverr_hit("a", urls={"mp4_download": "https://storage.coverr.co:22/a.mp4"})),
    "no files": ("pexels", pexels_video(1, video_files=None)),
    "files of no size": ("pixabay", pixabay_hit(1, videos={"large": {"url": "https://cdn.pixabay.com/a"}})),
    "no duration": ("pixabay", pixabay_hit(1, duration=None)),
    "a duration that is no number": ("coverr", coverr_hit("a", duration="NaN")),
    "an id with a path": ("coverr", coverr_hit("../../etc")),
    "an id that is no number": ("pexels", pexels_video(1, id={"a": 1})),
}


@pytest.mark.parametrize("case", UNUSABLE)
async def test_an_unusable_clip_is_left_out(stock: Stock, case: str) -> None:
    name, item = UNUSABLE[case]
    stock.servers[name].results["sea waves"] = [item, *ITEMS[name], "no object"]  # type: ignore[list-item]
    await stock.open(name)
    assert [clip.key for clip in await stock.search(name)] == [
        {"pexels": "pexels:7", "pixabay": "pixabay:7", "coverr": "coverr:S1Yb"}[name]
    ]


def test_a_host_with_a_port_stands_for_that_port_alone() -> None:
    hosts = ("files.example.com:8443", "cdn.example.com")
    for url in ("https://files.example.com:8443/a.mp4", "https://cdn.example.com/a", "https://cdn.example.com:443/a"):
        assert may_download(url, hosts)
    for url in (
        "https://files.example.com/a.mp4",
        "https://cdn.example.com:8443/a",
        "http://cdn.example.com/a",
        "https://files.example.com:8443@evil.example/a",
        "https://cdn.example.com:99999/a",
    ):
        assert not may_download(url, hosts)


async def test_texts_of_providers_are_one_bounded_line(stock: Stock) -> None:
    user = {"name": "A\x00na\u202e\nSilva" + "x" * 500, "url": "javascript:alert(1)"}
    stock.servers["pexels"].results["sea waves"] = [pexels_video(1, user=user, image="file:///etc/passwd")]
    await stock.open("pexels")
    (clip,) = await stock.search("pexels")
    assert clip.credit is not None
    assert clip.credit.author.startswith("A na Silva")
    assert len(clip.credit.author) == 200
    assert (clip.credit.author_url, clip.preview_url) == ("", "")


async def test_a_scene_uses_the_next_provider_when_one_fails_or_finds_nothing(stock: Stock) -> None:
    stock.servers["pexels"].answers[:] = [Answer(500)]
    stock.servers["pixabay"].results.clear()
    await stock.open("pexels", "pixabay", "coverr")
    choice = await stock.choose("sea waves")
    assert keys(choice) == ["coverr:S1Yb"]
    assert [(each.provider, each.kind) for each in choice.skipped] == [("pexels", FailureKind.UNAVAILABLE)]


async def test_a_failing_provider_is_called_once_for_a_video(stock: Stock) -> None:
    stock.servers["pexels"].answers[:] = [Answer(503)] * 20
    await stock.open("pexels")
    choice = await stock.choose("sea waves", "beach", "harbour")
    assert len(stock.servers["pexels"].requests) == 1
    assert all(key.startswith("background:") for key in keys(choice))
    assert len(choice.skipped) == 1


async def test_all_wrong_keys_end_in_backgrounds(stock: Stock) -> None:
    await stock.open(*KINDS, keys=("wrong-key-99",))
    choice = await stock.choose("sea waves")
    assert keys(choice)[0].startswith("background:")
    assert {each.provider: each.kind for each in choice.skipped} == dict.fromkeys(KINDS, FailureKind.UNAUTHORIZED)


async def test_no_clip_repeats_though_providers_repeat_theirs(stock: Stock) -> None:
    videos = [pexels_video(each) for each in (1, 1, 2, 2, 1, 3)]
    for words in ("sea waves", "beach", "the sea"):
        stock.servers["pexels"].results[words] = videos
    await stock.open("pexels")
    choice = await stock.choose("sea waves", "beach", "sea waves", "beach", used=("pexels:1",))
    assert keys(choice)[:3] == ["pexels:2", "pexels:3", "pexels:1"]
    assert keys(choice)[3].startswith("background:")


async def test_zero_results_are_searched_for_with_fewer_words(stock: Stock) -> None:
    await stock.open("pexels")
    assert keys(await stock.choose("slow sea waves")) == ["pexels:7"]
    assert stock.servers["pexels"].searches == ["slow sea waves", "sea waves"]
    assert not stock.servers["pexels"].violations


async def test_a_clip_of_four_hours_is_not_chosen(stock: Stock) -> None:
    stock.servers["pexels"].results["sea waves"] = [pexels_video(1, seconds=4 * 3600), pexels_video(2)]
    await stock.open("pexels")
    assert keys(await stock.choose("sea waves")) == ["pexels:2"]


async def test_longest_queries_and_other_languages_are_accepted(stock: Stock) -> None:
    await stock.open(*KINDS)
    for name in KINDS:
        for query in (
            FootageQuery("wörter " * 14, "ja"),
            FootageQuery("x" * 200, "xx", limit=1),
            FootageQuery("&q=1#"),
        ):
            assert await stock.search(name, query) == []
        assert not stock.servers[name].violations


async def test_new_keys_replace_the_old_ones(stock: Stock) -> None:
    await stock.open("pexels", keys=("wrong-key-99",))
    with pytest.raises(ProviderFailure):
        await stock.search("pexels")
    await stock.open("pexels")
    assert await stock.search("pexels")
    await stock.pool.providers.replace({})
    assert await stock.pool.find_sources() == []


async def test_a_slow_provider_ends_at_its_time_limit(stock: Stock) -> None:
    stock.servers["pexels"].answers[:] = [STALLED]
    stock.pool = FootagePool(clock=stock.clock, timeout_seconds=0.2)
    await stock.open("pexels")
    with pytest.raises(ProviderFailure) as failed:
        await stock.search("pexels")
    assert failed.value.kind is FailureKind.TIMEOUT

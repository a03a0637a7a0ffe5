"""Footage of providers through a whole platform: searched for, downloaded, validated, rendered and credited."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import media
from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_engine import wait_for_video
from tests.e2e.test_outputs import file
from tests.e2e.test_review import run_command
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
from tests.providers.provider_server import HTML, json_answer
from tests.up import up
from tests.validation.site import Site

SMALL: dict[str, Any] = {"resolution": "480p", "quality": "draft", "frame_rate": 24, "transition": "none"}
WRONG_KEY = "the key is missing or wrong"
KINDS = {"pexels": PexelsServer, "pixabay": PixabayServer, "coverr": CoverrServer}


@dataclass(frozen=True)
class Stock:
    """A platform with keys of three providers, and the servers that stand for them and for their files."""

    platform: RunningPlatform
    servers: Mapping[str, FootageServer]

    def offer(self, provider: str, words: str, *items: Mapping[str, Any]) -> None:
        self.servers[provider].results[words] = items

    def pexels(self, number: int, name: str, **changes: Any) -> dict[str, Any]:
        """A video of Pexels whose file is a page of the site."""
        link = self.platform.site.url(f"/{name}.mp4")
        files = [{"file_type": "video/mp4", "width": 1280, "height": 720, "link": link}]
        return pexels_video(number, width=1280, height=720, video_files=files, **changes)

    def pixabay(self, number: int, name: str) -> dict[str, Any]:
        size = {"url": self.platform.site.url(f"/{name}.mp4"), "width": 1280, "height": 720, "size": 1}
        return pixabay_hit(number, videos={"medium": size})

    def coverr(self, key: str, name: str) -> dict[str, Any]:
        return coverr_hit(key, urls={"mp4_download": self.platform.site.url(f"/{name}.mp4")})

    async def make(self, *terms: str, **fields: Any) -> dict[str, Any]:
        """Make the video of a script with a scene for each of the terms."""
        scenes = [{"script": f"The {term}.", "search_terms": [term]} for term in terms]
        request = {"title": "The sea", "scenes": scenes, "settings": SMALL, **fields}
        video = await wait_for_video(self.platform, await self.platform.http.post("/v1/videos", json=request))
        for server in self.servers.values():
            assert set(server.violations) <= {WRONG_KEY}
        return video


@pytest.fixture(scope="module")
async def running(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stock]:
    folder = tmp_path_factory.mktemp("stock")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "gateway" / "cert.pem", certificates / "gateway" / "key.pem")
    data = folder / "data"
    data.mkdir(mode=0o700)
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(Site(context))
        for colour in ("red", "lime", "blue"):
            path = media.clip(
                folder / f"{colour}.mp4", f"color={colour}:s={{w}}x{{h}}:r={{rate}}", seconds=12, rate="2"
            )
            site.file(f"/{colour}.mp4", path.read_bytes())
        # Five hours, although the provider announces 14 seconds.
        endless = media.clip(folder / "long.mp4", "color=black:s=64x36:r=1/600", rate="1/600", seconds=18_000)
        site.file("/long.mp4", endless.read_bytes())
        servers = {name: await stack.enter_async_context(kind()) for name, kind in KINDS.items()}
        keys = {"pexels": KEYS, "pixabay": ("wrong-key-99", KEYS[0]), "coverr": KEYS[:1]}
        given = {name: {"keys": keys[name], "base_url": server.url} for name, server in servers.items()}
        (data / "providers.json").write_text(json.dumps(given))
        hosts = json.dumps({name: [f"127.0.0.1:{site.port}"] for name in servers})
        environment = {
            "MONEYPRINTER_VALIDATION_ALLOWED_NETWORKS": json.dumps(["127.0.0.0/8"]),
            "MONEYPRINTER_VALIDATION_EXTRA_AUTHORITY": str(certificates / "ca.pem"),
            "MONEYPRINTER_CONTENT_FOOTAGE_HOSTS": hosts,
        }
        platform = await stack.enter_async_context(up(data, environment=environment))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=platform.url, timeout=30))
        account = json.loads((data / "first-account").read_text())
        tokens = await http.post("/v1/auth/sign-in", json=account)
        http.headers["authorization"] = f"Bearer {tokens.json()['access_token']}"
        yield Stock(RunningPlatform(platform.url, data, http, site), servers)


@pytest.fixture
def stock(running: Stock) -> Stock:
    """The platform with servers that offer nothing, and have counted nothing."""
    for server in running.servers.values():
        server.results, server.requests, server.answers, server.default = {}, [], [], None
    return running


def shown_ids(video: Mapping[str, Any]) -> list[str]:
    return [cut["id"] for scene in video["scenes"] for cut in scene["cuts"]]


def notices(video: Mapping[str, Any], reason: str) -> list[str]:
    return [notice["message"] for notice in video["notices"] if notice["reason"] == reason]


async def assert_shows(stock: Stock, video: dict[str, Any], colours: Sequence[str], folder: Path) -> None:
    """Assert that the middle of each scene shows a colour; an empty one is any."""
    pictures = list(media.pictures(await file(stock.platform, video, "video.mp4", folder)))
    at = 0.0
    for scene, colour in zip(video["scenes"], colours, strict=True):
        seconds = sum(cut["duration"] for cut in scene["cuts"])
        middle = pictures[int((at + seconds / 2) * SMALL["frame_rate"])]
        assert not colour or media.is_near(middle[100, 400], colour, 60), (colour, middle[100, 400])
        at += seconds


async def test_clips_of_three_providers_are_shown_and_credited(stock: Stock, tmp_path: Path) -> None:
    """The first key of Pexels reaches its limit in mid-job, and that of Pixabay is wrong."""
    stock.offer("pexels", "sea waves", stock.pexels(11, "red"))
    stock.offer("pixabay", "salt field", stock.pixabay(12, "lime"))
    stock.offer("coverr", "river mouth", stock.coverr("S1Yb", "blue"))
    stock.servers["pexels"].answers[:] = [None, json_answer({"error": "limit"}, 429, retry_after="60")]
    video = await stock.make("sea waves", "salt field", "river mouth")
    assert shown_ids(video) == ["pexels:11", "pixabay:12", "coverr:S1Yb"]
    await assert_shows(stock, video, ("red", "lime", "blue"), tmp_path)
    used = [request.headers["authorization"] for request in stock.servers["pexels"].requests]
    assert used[:3] == [KEYS[0], KEYS[0], KEYS[1]]
    assert not notices(video, "FOOTAGE_PROVIDER_FAILED")

    assert [credit["provider"] for credit in video["credits"]] == ["pexels", "pixabay", "coverr"]
    first = video["credits"][0]
    assert (first["author"], first["licence"]) == ("Ana Silva", "Pexels License")
    assert first["page_url"] == "https://www.pexels.com/video/sea-waves-11/"
    lines = [f"{credit['author']}: {credit['page_url']}" for credit in video["credits"]]
    request = {"script": "The sea is salty.", "credits": lines}
    made = await stock.platform.http.post("/v1/scripts/metadata", json=request)
    assert all(all(line in text["description"] for line in lines) for text in made.json()["platforms"])


async def test_clips_that_cannot_be_used_are_replaced(stock: Stock, tmp_path: Path) -> None:
    """A dead link, a file of five hours, and a clip that is announced with four hours; the next provider answers HTML,
    nothing is found for the second scene, and the first result for the third scene is in an earlier video."""
    dead, long, announced = (
        stock.pexels(21, "gone"),
        stock.pexels(22, "long"),
        stock.pexels(23, "blue", duration=4 * 3600),
    )
    stock.offer("pexels", "harbour", dead, long, announced)
    stock.offer("coverr", "harbour", stock.coverr("S2", "lime"))
    stock.offer("pexels", "calm sea", stock.pexels(11, "red"), stock.pexels(24, "blue"))
    stock.servers["pixabay"].default = HTML
    video = await stock.make("harbour", "quiet lighthouse", "calm sea")
    ids = shown_ids(video)
    assert (ids[0], ids[1].partition(":")[0], ids[2]) == ("coverr:S2", "background", "pexels:24")
    await assert_shows(stock, video, ("lime", "", "blue"), tmp_path)
    assert [credit["provider"] for credit in video["credits"]] == ["coverr", "pexels"]
    [failed] = notices(video, "FOOTAGE_PROVIDER_FAILED")
    assert "pixabay" in failed
    assert KEYS[0] not in failed
    assert any("scene 2" in message for message in notices(video, "FOOTAGE_NOT_FOUND"))
    assert [message.split()[1] for message in notices(video, "FOOTAGE_REPLACED")] == ["pexels:21", "pexels:22"]


async def run_in_terminal(data: Path, *arguments: str | Path, typed: str, editor: str) -> str:
    """Run the command in a pseudo-terminal in which a user types. Returns what it shows."""
    terminal, its_end = pty.openpty()
    os.write(terminal, typed.encode())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.cli", *map(str, arguments), "--data", str(data)),
        env={"PATH": os.environ["PATH"], "XDG_STATE_HOME": str(data), "EDITOR": editor, "TMPDIR": str(data)},
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    )
    os.close(its_end)
    reading = asyncio.ensure_future(asyncio.to_thread(_read_terminal, terminal))
    try:
        async with asyncio.timeout(90):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        shown = await reading
        os.close(terminal)
    assert process.returncode == 0, shown
    return shown


def _read_terminal(terminal: int) -> str:
    shown = b""
    # Reading fails once no process has the terminal open.
    with suppress(OSError):
        while part := os.read(terminal, 65536):
            shown += part
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode(errors="replace"))


async def test_script_and_clips_are_edited_in_the_terminal(stock: Stock, tmp_path: Path) -> None:
    stock.offer("pexels", "cliff", stock.pexels(31, "red"), stock.pexels(32, "blue"))
    stock.offer("pexels", "gulls", stock.pexels(33, "lime"), stock.pexels(34, "red"))
    scenes = [{"script": "Cliffs.", "search_terms": ["cliff"]}, {"script": "Birds.", "search_terms": ["cliff"]}]
    (tmp_path / "request.json").write_text(json.dumps({"scenes": scenes, "settings": SMALL}))
    typed = "replace 9\nr 2\nsearch nothing for 2\nsearch gulls for 2\n2\ne\na\n"
    shown = await run_in_terminal(
        stock.platform.data,
        *("make", tmp_path / "request.json", "--title", "Coast", "--review", "footage", "--out", tmp_path / "a.mp4"),
        typed=typed,
        editor="sed -i s/Birds/Gulls/",
    )
    assert "pexels:31 by Ana Silva on pexels (cliff)" in shown
    assert "there is no clip 9" in shown
    assert "no other clip was found for 2" in shown
    assert "shows nothing; try fewer words" in shown
    assert "pexels:34 by Ana Silva" in shown
    [newest] = (await stock.platform.http.get("/v1/videos?page_size=1")).json()["videos"]
    video = (await stock.platform.http.get(f"/v1/videos/{newest['job_id']}")).json()["video"]
    assert shown_ids(video) == ["pexels:31", "pexels:34"]
    assert [scene["script"] for scene in video["scenes"]] == ["Cliffs.", "Gulls."]
    assert "Gulls." in (tmp_path / "a.srt").read_text()


async def test_own_keys_are_set_checked_and_removed_by_the_command(stock: Stock) -> None:
    async def run(*arguments: str, typed: str = "") -> str:
        return await run_command(stock.platform.data, "providers", *arguments, typed=typed)

    listed = await run()
    assert re.search(r"pexels\W+footage\W+deployment\W+closed", listed)
    assert re.search(r"kokoro\W+speech\W+not needed|espeak\W+speech\W+not needed", listed)
    shown = await run("set", "pexels", typed=f"{KEYS[1]}\n")
    assert re.search(r"pexels\W+footage\W+account\W+closed", shown)
    assert KEYS[1] not in shown
    wrong = await run("set", "pexels", typed="px-wrong\n")
    assert re.search(r"pexels\W+footage\W+account\W+open", wrong)
    assert "px-wrong" not in wrong
    assert "is deleted" in await run("remove", "pexels")
    answer = await stock.platform.http.get("/v1/providers")
    assert ("px-wrong" in answer.text, "pexels" in answer.text) == (False, True)

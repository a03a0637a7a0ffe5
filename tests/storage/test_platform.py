"""A whole platform whose objects are in a bucket of S3: it makes a video, and links open its files without a header."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.storage.s3_server import S3Server, open_blobs
from tests.up import up

REQUEST = {
    "title": "Tides",
    "clips": [{"colour": "#336699"}, {"colour": "#993366"}],
    "audio": {"script": "The tide turns twice. It never waits for anyone."},
    "settings": {"resolution": "480p", "aspect_ratio": "16:9", "quality": "draft"},
}


@dataclass(frozen=True)
class BucketPlatform:
    """A platform on a bucket, with a client of its first account, one without a token, and a finished video."""

    http: httpx.AsyncClient
    anonymous: httpx.AsyncClient
    server: S3Server
    prefix: str
    video: dict[str, Any]
    job_id: str


async def make_video(http: httpx.AsyncClient) -> str:
    created = await http.post("/v1/videos", json=REQUEST)
    assert created.status_code == 202, created.text
    return str(created.json()["job_id"])


async def wait_for_video(http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    async with http.stream("GET", f"/v1/videos/{job_id}/watch", timeout=120) as events:
        async for line in events.aiter_lines():
            if line.startswith("data:") and json.loads(line[5:])["status"]["status"] != "processing":
                break
    video: dict[str, Any] = (await http.get(f"/v1/videos/{job_id}")).json()["video"]
    assert video["status"] == "completed", video
    return video


@pytest.fixture(scope="module")
async def platform(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BucketPlatform]:
    """The platform. The server of S3 is killed and started again while it makes the video."""
    prefix = uuid.uuid4().hex
    environment = {
        "MONEYPRINTER_STORAGE_URL": f"s3://media/{prefix}",
        "MONEYPRINTER_STORAGE_ENDPOINT": s3_server.endpoint,
        "MONEYPRINTER_STORAGE_ALLOW_HTTP": "true",
        "MONEYPRINTER_STORAGE_CREDENTIALS": "file",
        "MONEYPRINTER_STORAGE_CREDENTIALS_FILE": str(s3_server.folder / "credentials.json"),
    }
    data = tmp_path_factory.mktemp("bucket") / "data"
    async with (
        up(data, environment=environment) as running,
        httpx.AsyncClient(base_url=running.url, timeout=30) as http,
        httpx.AsyncClient(base_url=running.url, timeout=30) as anonymous,
    ):
        account = json.loads((data / "first-account").read_text())
        tokens = await http.post("/v1/auth/sign-in", json=account)
        http.headers["authorization"] = f"Bearer {tokens.json()['access_token']}"
        job_id = await make_video(http)
        await s3_server.kill()
        await s3_server.start()
        video = await wait_for_video(http, job_id)
        assert not (data / "objects").exists() or not any(path.is_file() for path in (data / "objects").rglob("*"))
        yield BucketPlatform(http, anonymous, s3_server, prefix, video, job_id)


async def create_links(platform: BucketPlatform, **fields: Any) -> dict[str, Any]:
    created = await platform.http.post(f"/v1/videos/{platform.job_id}/links", json=fields)
    assert created.status_code == 200, created.text
    links: dict[str, Any] = created.json()
    return links


async def test_the_objects_are_in_the_bucket_and_encrypted(platform: BucketPlatform) -> None:
    files = {each["name"]: each["size_bytes"] for each in platform.video["files"]}
    content = (await platform.http.get(f"/v1/videos/{platform.job_id}/file")).content
    assert len(content) == files["video.mp4"]
    async with open_blobs(platform.server.config(platform.prefix)) as (blobs, _):
        names = [entry.name async for batch in blobs.entries("jobs") for entry in batch]
        assert len(names) >= len(files)
        [name] = [each for each in names if each.endswith("video.mp4!")]
        assert content[:64] not in bytes(await blobs.read(name, 0, 10_000))


async def test_links_open_files_without_a_header(platform: BucketPlatform) -> None:
    links = await create_links(platform)
    expected = (await platform.http.get(f"/v1/videos/{platform.job_id}/file")).content
    got = await platform.anonymous.get(links["file"])
    assert (got.status_code, got.headers["content-type"], got.content) == (200, "video/mp4", expected)
    assert re.fullmatch("public, max-age=(29[0-9]|300)", got.headers["cache-control"])
    assert got.headers["content-disposition"].startswith("inline")
    assert "x-cache-control" not in got.headers
    head = await platform.anonymous.head(links["file"])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(expected)))
    assert head.headers["cache-control"].startswith("public, max-age=") and "x-cache-control" not in head.headers
    part = await platform.anonymous.get(links["file"], headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, expected[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(expected)}"
    same = await platform.anonymous.get(links["file"], headers={"if-none-match": got.headers["etag"]})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", got.headers["etag"])
    for name, kind in (("poster", "image/jpeg"), ("captions", "text/vtt")):
        opened = await platform.anonymous.get(links[name])
        assert (opened.status_code, opened.headers["content-type"]) == (200, kind)
    assert {each["name"] for each in links["files"]} == {each["name"] for each in platform.video["files"]}
    wrong = await platform.anonymous.post(links["file"])
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")


async def test_the_preview_plays_by_its_relative_links(platform: BucketPlatform) -> None:
    links = await create_links(platform)
    main = await platform.anonymous.get(links["preview"])
    assert main.status_code == 200, main.text
    assert main.headers["cache-control"] == "no-store", "a playlist grows"
    opened = 0
    for address in re.findall(r'(?:URI="|^)([^"#\n]+\.m3u8)', main.text, re.MULTILINE):
        playlist = await platform.anonymous.get(main.url.join(address))
        assert playlist.status_code == 200, playlist.text
        for file in re.findall(r'(?:URI="|^)([^"#\n]+\.(?:mp4|m4s))', playlist.text, re.MULTILINE):
            segment = await platform.anonymous.get(playlist.url.join(file))
            assert segment.status_code == 200, file
            assert segment.headers["cache-control"].startswith("public, max-age=")
            opened += 1
    assert opened >= 4


def reason(refused: httpx.Response) -> str:
    """Return the reason of an error."""
    return next(str(each["reason"]) for each in refused.json()["details"] if "reason" in each)


def changed(text: str, place: int) -> str:
    """Return a text with another character at a place."""
    other = "A" if text[place] != "A" else "B"
    return text[:place] + other + text[place + 1 :]


async def test_a_link_is_bound_to_its_file_time_and_video(platform: BucketPlatform) -> None:
    links = await create_links(platform)
    root, _, name = links["file"].rpartition("/")
    ticket = links["file"].split("/")[4]
    expiry, link_id, signature = ticket.split(".")
    others = [
        f"{root}/poster.jpg",
        links["file"].replace(ticket, links["preview"].split("/")[4]),
        links["preview"].replace(links["preview"].split("/")[4], ticket),
        links["file"].replace(platform.job_id, "vid_other"),
        links["file"].replace(ticket, f"{int(expiry) + 1}.{link_id}.{signature}"),
        links["file"].replace(ticket, f"{expiry}.lnk_other.{signature}"),
        links["file"].replace(ticket, f"{expiry}.{link_id}."),
        links["file"].replace(ticket, "x"),
        *(links["file"].replace(signature, changed(signature, place)) for place in (0, 20, len(signature) - 2)),
    ]
    for other in others:
        refused = await platform.anonymous.get(other)
        assert (refused.status_code, reason(refused)) == (403, "LINK_INVALID"), other
        assert refused.headers["cache-control"] == "no-store"
    assert (await platform.anonymous.get(f"{root}/{name}")).status_code == 200


async def test_links_expire_and_are_revoked(platform: BucketPlatform) -> None:
    short, long = await create_links(platform, seconds=2), await create_links(platform)
    assert (await platform.anonymous.get(short["poster"])).headers["cache-control"] in (
        "public, max-age=0",
        "public, max-age=1",
    )
    async with asyncio.timeout(10):
        while (await platform.anonymous.get(short["poster"])).status_code != 403:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert (await platform.anonymous.get(long["poster"])).status_code == 200
    revoked = await platform.http.delete(f"/v1/videos/{platform.job_id}/links")
    assert revoked.status_code == 200, revoked.text
    refused = await platform.anonymous.get(long["poster"])
    assert (refused.status_code, reason(refused)) == (403, "LINK_INVALID")


async def test_links_are_limited_and_belong_to_the_owner(platform: BucketPlatform) -> None:
    for seconds in (-1, 604_801):
        refused = await platform.http.post(f"/v1/videos/{platform.job_id}/links", json={"seconds": seconds})
        assert refused.status_code == 400
    for call in (platform.http.post, platform.http.delete):
        assert (await call("/v1/videos/vid_none/links")).status_code == 404
        assert (await getattr(platform.anonymous, call.__name__)("/v1/videos/vid_none/links")).status_code == 401
    created = await asyncio.gather(
        *(platform.http.post(f"/v1/videos/{platform.job_id}/links", json={}) for _ in range(101))
    )
    codes = sorted(each.status_code for each in created)
    assert codes[:90] == [200] * 90
    assert codes[-1] == 429
    assert {reason(each) for each in created if each.status_code == 429} == {"LINKS_EXHAUSTED"}
    await platform.http.delete(f"/v1/videos/{platform.job_id}/links")

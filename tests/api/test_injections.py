"""Injections: whatever stands in a field is the field's text, and nothing else to anybody who handles it.

Every text is sent in every field that takes one, to a whole platform, over REST and gRPC. What a text would bring about
if somebody took it for a path, a command, a filter, a script or a query is looked for afterwards. (That such texts are
drawn as they are written: tests/content; that no key of an object or a secret is one: tests/storage, tests/config.)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import pytest

from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from tests.api.conftest import Running
from tests.security.traps import CANARY, Trap

# `SECRET` is a file that may not be told, `MARK` one that may not come into being, `PORT` a port that may not be
# connected.
TEXTS = [
    # Paths.
    "../../../../../../../../etc/passwd",
    "/etc/passwd",
    "SECRET",
    "file://SECRET",
    "..%2f..%2f..%2fetc%2fpasswd",
    "....//....//etc/passwd",
    "..\\..\\..\\windows\\win.ini",
    "~/.ssh/id_rsa",
    "/proc/self/environ",
    "/dev/zero",
    "a\0.mp4",
    "a\nb",
    ".",
    "..",
    # Commands.
    "'; touch MARK; '",
    '"; touch MARK; "',
    "$(touch MARK)",
    "`touch MARK`",
    "| touch MARK",
    "&& touch MARK #",
    "\ntouch MARK\n",
    "-i SECRET",
    "-y MARK",
    "--help",
    "@SECRET",
    # Filters, scripts and lists of ffmpeg and libass.
    "[in]movie=SECRET[out]",
    "x:textfile=SECRET",
    "x',drawtext=textfile=SECRET,'",
    "movie='http\\://127.0.0.1\\:PORT/a.ts'",
    "amovie=SECRET;[0:a]anullsink",
    "sendcmd=f=SECRET",
    "%{pts} %{expr:1} %{metadata:x}",
    "subtitles=SECRET:fontsdir=/",
    "concat:SECRET|SECRET",
    "ffconcat version 1.0\nfile SECRET",
    "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:PORT/\n",
    "{\\fnSECRET}{\\p1}m 0 0 l 9999 0 9999 9999{\\p0}",
    "{\\fs9999\\pos(0,0)}\\N\\h{",
    "[Fonts]\nfontname: x.ttf\n!!!!",
    "x\n\n[Events]\nDialogue: 9,0:00:00.00,9:59:59.99,Default,,0,0,0,,x",
    "1\n00:00:00,000 --> 99:59:59,999\nx",
    # Queries and templates.
    "'; DROP TABLE orchestrator.jobs; --",
    "' OR '1'='1",
    "\\'; SELECT pg_sleep(60); --",
    "%s %d %n {0} {} {self.__class__}",
    "{{7*7}}${7*7}#{7*7}<%= 7*7 %>",
    "${jndi:ldap://127.0.0.1:PORT/a}",
    '{"$ne": null}',
    "__proto__",
    "<script>fetch('http://127.0.0.1:PORT/')</script>",
    '<!DOCTYPE x [<!ENTITY y SYSTEM "file://SECRET">]><x>&y;</x>',
    # Headers.
    "a\r\nset-cookie: injected=1",
    "a\r\n\r\nHTTP/1.1 200 OK\r\nset-cookie: injected=1\r\n\r\n",
    'a"; filename="/etc/passwd',
    # Letters that are not what they seem.
    "\u202e\u2066gpj.exe\u2069",
    "\ufeff\u200b\u2060",
    "\u0430\u0440\u0440\u04cf\u0435",
    "\ud7ff\ue000\U0010ffff",
    "x" * 200,
]
ADDRESS = {"url": "https://127.0.0.1:1/"}

# The fields that have a few forms, or a few values, and no others.
CHOSEN = {
    *("clips[0].asset_id", "clips[1].colour", "clips[2].start_time", "clips[2].fit", "clips[2].motion"),
    *("clips[2].transition", "overlays[0].asset_id", "priority", "audio.background_music", "captions.colour"),
    *("captions.position", "settings.resolution", "settings.codec", "settings.renditions[0]"),
}


@dataclass(frozen=True)
class Attacked:
    """A platform, and what may not be touched."""

    api: Running
    bearer: dict[str, str]
    trap: Trap
    mark: Path
    secret: Path

    def texts(self) -> list[str]:
        said = {"SECRET": str(self.secret), "MARK": str(self.mark), "PORT": str(self.trap.port)}
        found = list(TEXTS)
        for word, meaning in said.items():
            found = [text.replace(word, meaning) for text in found]
        return found

    async def ask(self, verb: str, path: str, **more: Any) -> httpx.Response:
        """Send a request, whose answer is a good one: no failure of ours, no foreign header, nothing secret."""
        answer = await self.api.http.request(verb, path, headers=self.bearer, **more)
        assert answer.status_code < 500, (verb, path, more, answer.text)
        assert "set-cookie" not in answer.headers, (verb, path, more)
        assert CANARY not in answer.text and "root:" not in answer.text, (verb, path, more)
        if answer.status_code >= 400:
            assert set(answer.json()) == {"code", "message", "details"}
        return answer

    async def refused(self, verb: str, path: str, statuses: tuple[int, ...] = (400,), **more: Any) -> None:
        answer = await self.ask(verb, path, **more)
        assert answer.status_code in statuses, (verb, path, more, answer.text)

    async def ended(self, job_id: str) -> dict[str, Any]:
        """The last status of a job, watched until it has ended."""
        stub = pb_grpc.VideoServiceStub(self.api.channel)
        async with asyncio.timeout(120):
            async for _ in stub.WatchVideo(pb.WatchVideoRequest(job_id=job_id), metadata=tuple(self.bearer.items())):
                pass
        answer = await self.ask("GET", f"/v1/videos/{job_id}/status")
        status: dict[str, Any] = answer.json()
        return status

    def defects(self) -> list[str]:
        log = (self.api.data / "logs" / "services.log").read_text()
        return [line for line in log.splitlines() if '"defect"' in line or "Traceback" in line]


@pytest.fixture
async def attacked(api: Running, tmp_path: Path) -> AsyncIterator[Attacked]:
    secret = tmp_path / "secret"
    secret.write_text(CANARY)
    async with Trap() as trap:
        yield Attacked(api, {"authorization": f"Bearer {api.token}"}, trap, tmp_path / "mark", secret)
        assert trap.connections == 0
        assert not (tmp_path / "mark").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_there_are_enough() -> None:
    assert len(set(TEXTS)) == len(TEXTS) >= 40


def video(**changes: Any) -> dict[str, Any]:
    return {"title": "x", "clips": [ADDRESS], **changes}


async def test_what_takes_no_text_of_ones_own_takes_none_of_these(attacked: Attacked) -> None:
    defects = attacked.defects()
    for text in attacked.texts():
        clips = [
            {"asset_id": text},
            {"colour": text},
            {**ADDRESS, "start_time": text, "fit": text, "motion": text, "transition": text},
        ]
        wish = video(clips=clips, overlays=[{"asset_id": text}], priority=text, audio={"background_music": text})
        wish |= {"captions": {"colour": text, "position": text}}
        wish |= {"settings": {"resolution": text, "codec": text, "renditions": [text]}}
        answer = await attacked.ask("POST", "/v1/videos", json=wish)
        details = {detail["@type"].rpartition(".")[2]: detail for detail in answer.json()["details"]}
        named = {violation["field"] for violation in details["BadRequest"]["field_violations"]}
        if "\0" in text:
            # It ends the reading of a request at the first field that holds one.
            assert named and named <= CHOSEN, text
        else:
            assert named >= CHOSEN, (text, CHOSEN - named)
        for changes in ({"clips": [{"url": text}]}, {"audio": {"voice": text}}, {"captions": {"font": text}}):
            await attacked.refused("POST", "/v1/videos", json=video(**changes))
        part = quote(text, safe="")
        if part in (".", ".."):
            continue  # In a path they have a meaning, wherever they come from: tests/security/test_claims.py.
        for verb, path in (
            ("GET", f"/v1/videos/{part}"),
            ("GET", f"/v1/videos/{part}/status"),
            ("DELETE", f"/v1/videos/{part}"),
            ("POST", f"/v1/videos/{part}/cancel"),
            ("GET", f"/v1/videos/vid_1/files/{part}"),
            ("GET", f"/v1/accounts/{part}"),
            ("DELETE", f"/v1/accounts/me/sessions/{part}"),
        ):
            # What has slashes in it may be another path, or none at all.
            await attacked.refused(verb, path, (400, 403, 404, 405))
        for query in ({"page_token": text}, {"status": text}):
            await attacked.refused("GET", "/v1/videos", params=query)
    assert attacked.defects() == defects


async def test_what_takes_any_text_gives_it_back_as_it_was(attacked: Attacked) -> None:
    """Titles, file names, names of people and of requests: kept and told to the letter, or refused with a reason."""
    defects, made = attacked.defects(), {}
    for place, text in enumerate(attacked.texts()):
        upload = await attacked.ask("POST", "/v1/assets", params={"filename": text}, content=b"bytes")
        assert upload.status_code == 400 or upload.json()["filename"] == text
        name = await attacked.ask("PATCH", "/v1/accounts/me", json={"display_name": text})
        assert name.status_code == 400 or name.json()["account"]["display_name"] == text
        created = await attacked.ask("POST", "/v1/videos", json=video(title=text, request_id=f"{place} {text}"))
        assert created.status_code in (202, 400), created.text
        if created.status_code == 202:
            made[created.json()["job_id"]] = text
    assert len(made) > len(TEXTS) * 3 // 4
    for job_id, text in made.items():
        assert (await attacked.ask("GET", f"/v1/videos/{job_id}")).json()["video"]["title"] == text
    # The rows are as many as there were requests, and each is whole.
    listed, token = set(), ""
    while True:
        page = (await attacked.ask("GET", "/v1/videos", params={"page_size": 100, "page_token": token})).json()
        listed |= {each["job_id"] for each in page["videos"]}
        if not (token := page["next_page_token"]):
            break
    assert listed >= set(made)
    for job_id in made:
        await attacked.ask("DELETE", f"/v1/videos/{job_id}")
    assert (await attacked.ask("GET", "/health")).json()["status"] == "healthy"
    assert attacked.defects() == defects


async def test_grpc_which_carries_what_json_does_not(attacked: Attacked) -> None:
    defects = attacked.defects()
    stub = pb_grpc.VideoServiceStub(attacked.api.channel)
    metadata = tuple(attacked.bearer.items())
    allowed = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    for text in attacked.texts():
        calls: list[Any] = [
            stub.GetVideo(pb.GetVideoRequest(job_id=text[:64]), metadata=metadata, timeout=10),
            stub.ListVideos(pb.ListVideosRequest(page_token=text), metadata=metadata, timeout=10),
            stub.CreateVideo(
                pb.CreateVideoRequest(title="x", clips=[pb.Clip(asset_id=text)]), metadata=metadata, timeout=10
            ),
        ]
        for call in calls:
            assert await call.code() in allowed - {grpc.StatusCode.OK}, (text, await call.details())
            assert CANARY not in (await call.details() or "")
    assert attacked.defects() == defects


DRAWN = ("movie", "textfile", "\\fn", "\\fs", "Dialogue", "touch", "subtitles", "sendcmd", "%{pts}")


async def test_a_video_of_such_texts_is_made_and_shows_them(attacked: Attacked) -> None:
    """The worst of them, as title, titles of clips, and script, all the way through ffmpeg."""
    worst = [text for text in attacked.texts() if any(word in text for word in DRAWN) and "\0" not in text]
    assert len(worst) >= 12
    clips = [{"colour": "#204060", "title": text, "duration": 0.2} for text in worst]
    wish = video(title=worst[0], clips=clips, audio={"script": f"$(touch {attacked.mark}). '; DROP TABLE jobs; --"})
    wish["settings"] = {"width": 160, "height": 90, "quality": "draft", "frame_rate": 24}
    created = await attacked.ask("POST", "/v1/videos", json=wish)
    assert created.status_code == 202, created.text
    job_id = created.json()["job_id"]
    status = await attacked.ended(job_id)
    assert status["status"] == "completed", status
    captions = (await attacked.ask("GET", f"/v1/videos/{job_id}/files/captions.srt")).text
    assert "DROP TABLE" in captions
    files = (await attacked.ask("GET", f"/v1/videos/{job_id}")).json()["video"]["files"]
    for file in files:
        content = (await attacked.ask("GET", f"/v1{file['url']}")).content
        assert CANARY.encode() not in content
    for log in (attacked.api.data / "logs").glob("*.log"):
        assert CANARY not in log.read_text(errors="replace")


# An address, and words that its job ends with.
FETCHES = [
    ("https://127.0.0.1:PORT/", "private or reserved network"),
    ("https://2130706433:PORT/", "private or reserved network"),
    ("https://[::ffff:127.0.0.1]:PORT/", "private or reserved network"),
    ("https://good@169.254.169.254/latest/meta-data/", "user name or a password"),
    ("https://xn--127-0-0-1:PORT/", "no host of the name"),
    ("https://localhost:PORT/", "private or reserved network"),
]


async def test_a_clip_at_a_private_address_fails_its_job_and_says_why(attacked: Attacked) -> None:
    """Of the spellings of tests/security, a few that go all the way."""
    for address, words in FETCHES:
        clips = [{"url": address.replace("PORT", str(attacked.trap.port))}]
        job_id = (await attacked.ask("POST", "/v1/videos", json=video(clips=clips))).json()["job_id"]
        status = await attacked.ended(job_id)
        assert status["status"] == "failed"
        assert status["error"]["reason"] in ("CLIP_ADDRESS_REFUSED", "CLIP_UNREACHABLE"), status
        assert words in status["error"]["message"], json.dumps(status)

"""Injections: every service treats the content of a field as plain text.

Every text is sent in every text field of a complete platform, over REST and gRPC. Afterwards the tests look for the
effects that it would have as a path, a command, a filter, a script or a query. (tests/content checks that captions show
such texts literally; tests/storage and tests/config check the keys of objects and the names of secrets.)
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

# `SECRET` is a file whose content must not leak, `MARK` a file that must not be created, `PORT` a port that must not
# receive a connection.
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
    # Characters that look like others.
    "\u202e\u2066gpj.exe\u2069",
    "\ufeff\u200b\u2060",
    "\u0430\u0440\u0440\u04cf\u0435",
    "\ud7ff\ue000\U0010ffff",
    "x" * 200,
]
ADDRESS = {"url": "https://127.0.0.1:1/"}

# The fields with a fixed format or a fixed set of values.
CHOSEN = {
    *("clips[0].asset_id", "clips[1].colour", "clips[2].start_time", "clips[2].fit", "clips[2].motion"),
    *("clips[2].transition", "overlays[0].asset_id", "priority", "audio.background_music", "captions.colour"),
    *("captions.position", "settings.resolution", "settings.codec", "settings.renditions[0]"),
}


@dataclass(frozen=True)
class Attacked:
    """A platform, and the traps that an attack would trigger."""

    api: Running
    bearer: dict[str, str]
    trap: Trap
    mark: Path
    secret: Path

    def texts(self) -> list[str]:
        values = {"SECRET": str(self.secret), "MARK": str(self.mark), "PORT": str(self.trap.port)}
        found = list(TEXTS)
        for word, meaning in values.items():
            found = [text.replace(word, meaning) for text in found]
        return found

    async def ask(self, verb: str, path: str, **more: Any) -> httpx.Response:
        """Send a request; the response must have no server error, no injected header and no secret."""
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
        """Watch a job until it has ended; returns its last status."""
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


async def test_fields_with_a_fixed_format_refuse_injections(attacked: Attacked) -> None:
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
            # The server stops parsing at the first field that has one.
            assert named and named <= CHOSEN, text
        else:
            assert named >= CHOSEN, (text, CHOSEN - named)
        for changes in ({"clips": [{"url": text}]}, {"audio": {"voice": text}}, {"captions": {"font": text}}):
            await attacked.refused("POST", "/v1/videos", json=video(**changes))
        part = quote(text, safe="")
        if part in (".", ".."):
            continue  # In a path they have a meaning of their own: see tests/security/test_claims.py.
        for verb, path in (
            ("GET", f"/v1/videos/{part}"),
            ("GET", f"/v1/videos/{part}/status"),
            ("DELETE", f"/v1/videos/{part}"),
            ("POST", f"/v1/videos/{part}/cancel"),
            ("GET", f"/v1/videos/vid_1/files/{part}"),
            ("GET", f"/v1/accounts/{part}"),
            ("DELETE", f"/v1/accounts/me/sessions/{part}"),
        ):
            # A text with slashes may be another path, or an unknown one.
            await attacked.refused(verb, path, (400, 403, 404, 405))
        for query in ({"page_token": text}, {"status": text}):
            await attacked.refused("GET", "/v1/videos", params=query)
    assert attacked.defects() == defects


async def test_free_text_fields_return_injections_unchanged(attacked: Attacked) -> None:
    """Titles, file names, display names and request ids are stored and returned literally, or refused with a reason."""
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
    # Titles of signs alone cannot be spoken.
    assert len(made) > len(TEXTS) * 2 // 3
    for job_id, text in made.items():
        assert (await attacked.ask("GET", f"/v1/videos/{job_id}")).json()["video"]["title"] == text
    # There are as many rows as requests, and each is complete.
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


async def test_grpc_texts_that_json_cannot_carry(attacked: Attacked) -> None:
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


DRAWN = ("movie", "textfile", "\\fn", "\\fs", "Dialogue", "$(touch", "`touch", "subtitles", "sendcmd", "%{pts}")


async def test_a_video_shows_injections_as_plain_text(attacked: Attacked) -> None:
    """The most dangerous ones, as title, clip titles and script, all the way through ffmpeg."""
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


# An address, and a part of the error message of its job.
FETCHES = [
    ("https://127.0.0.1:PORT/", "private or reserved network"),
    ("https://2130706433:PORT/", "private or reserved network"),
    ("https://[::ffff:127.0.0.1]:PORT/", "private or reserved network"),
    ("https://good@169.254.169.254/latest/meta-data/", "user name or a password"),
    ("https://xn--127-0-0-1:PORT/", "no host of the name"),
    ("https://localhost:PORT/", "private or reserved network"),
]


async def test_a_clip_at_a_private_address_fails_its_job_with_the_reason(attacked: Attacked) -> None:
    """A few of the spellings in tests/security, through the whole platform."""
    for address, words in FETCHES:
        clips = [{"url": address.replace("PORT", str(attacked.trap.port))}]
        job_id = (await attacked.ask("POST", "/v1/videos", json=video(clips=clips))).json()["job_id"]
        status = await attacked.ended(job_id)
        assert status["status"] == "failed"
        assert status["error"]["reason"] in ("CLIP_ADDRESS_REFUSED", "CLIP_UNREACHABLE"), status
        assert words in status["error"]["message"], json.dumps(status)

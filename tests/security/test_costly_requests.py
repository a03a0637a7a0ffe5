"""Expensive requests: none blocks the platform, and a second user hardly notices.

A complete platform runs in one process with a monitored event loop, which records every long step.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import psutil
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from gateway.contracts import Method, load_methods
from moneyprinter import contract
from moneyprinter.video.v1 import video_service_pb2 as pb
from tests import watchdog
from tests.api import calls
from tests.security import requests
from tests.up import up
from tests.watchdog import LONGEST_SECONDS

PASSWORD = "four tides a day, all year"
# The maximum duration of a call of the second user beyond what a busy machine adds, and the CPU time of the platform in
# which 90 % of these calls end during an attack; on a machine that does nothing else, it is their duration. There are
# some twenty calls in a short attack, and the platform has work of its own beside them.
GOOD_SECONDS = 2.0
GOOD_CPU_SECONDS = 0.3
ATTACK_SECONDS = 20.0
# Some methods need a sign-in within the last five minutes.
SESSION_SECONDS = 60.0
MEMORY_BYTES = 400 << 20
UNARY = [method for method in load_methods() if method.public and not method.client_streaming and not method.events]
# A watch lasts until its client disconnects.
ASKING = [method for method in UNARY if not method.has_empty_request and not method.path.endswith("/Watch")]
WITH_BODY = [method for method in ASKING if any(binding.body for binding in method.rest)]
STREAMS = [method for method in load_methods() if method.public and method.client_streaming]
EVENTS = [method for method in load_methods() if method.public and method.events]


def name(method: Method) -> str:
    return method.path.rpartition(".")[2]


@dataclass
class Platform:
    """A platform with a monitored event loop, an attacker's clients, and a second user's."""

    http: httpx.AsyncClient
    channel: grpc.aio.Channel
    mallory: dict[str, str]
    good: dict[str, str]
    process: psutil.Process
    log: Path
    """The file with the long steps."""
    seen: int = 0
    sign_in_time: float = 0.0
    """When the attacker has signed in, by the monotonic clock."""
    cpu_seconds: list[float] = field(default_factory=list)
    """The CPU time of the platform during each call of the second user in the last attack."""

    def steps(self) -> list[dict[str, Any]]:
        """Return the long steps since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.seen, new = len(lines), lines[self.seen :]
        return [json.loads(line) for line in new]

    def waited_seconds(self) -> float:
        """Return how long the event loop's thread waited for a core (Documentation/scheduler/sched-stats)."""
        thread = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/schedstat")
        return int(thread.read_text().split()[1]) / 1e9

    def used_seconds(self) -> float:
        """Return the CPU time that the platform's process has used."""
        times = self.process.cpu_times()
        return times.user + times.system

    async def clear(self) -> None:
        """Delete the attacker's videos."""
        listed = (await self.http.get("/v1/videos?page_size=100", headers=self.mallory)).json()["videos"]
        deletes = (self.http.delete(f"/v1/videos/{video['job_id']}", headers=self.mallory) for video in listed)
        await asyncio.gather(*deletes)

    async def raw(self, method: Method, data: bytes, **options: Any) -> tuple[grpc.StatusCode, str]:
        """Send bytes as a request; returns the code and the reason of the response."""
        start: Any = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = start(method.path)(data, metadata=tuple(self.mallory.items()), timeout=ATTACK_SECONDS, **options)
        if method.server_streaming:
            with suppress(grpc.aio.AioRpcError):
                async for _ in call:
                    pass
        code, info = await call.code(), error_details_pb2.ErrorInfo()
        for key, value in (*(await call.trailing_metadata() or ()), *(await call.initial_metadata() or ())):
            if key == "grpc-status-details-bin":
                for detail in status_pb2.Status.FromString(value).details:
                    detail.Unpack(info)
        return code, info.reason

    async def attacked(self, attack: Awaitable[Any]) -> Any:
        """Run an attack; returns its outcome. A second user must be served, and the event loop must never block."""
        self.steps()
        before = self.process.memory_info().rss
        self.cpu_seconds = []
        running = asyncio.ensure_future(attack)
        try:
            while not running.done():
                began, waited, cpu = time.monotonic(), self.waited_seconds(), self.used_seconds()
                answer = await self.http.get("/v1/videos", headers=self.good)
                took, busy = time.monotonic() - began, self.waited_seconds() - waited
                self.cpu_seconds.append(self.used_seconds() - cpu)
                assert answer.status_code == 200, answer.text
                # What a busy machine adds does not count.
                assert took - busy < GOOD_SECONDS
        finally:
            running.cancel()
            await asyncio.wait([running])
        long = [step for step in self.steps() if step["seconds"] > LONGEST_SECONDS]
        assert not long
        assert self.process.memory_info().rss - before < MEMORY_BYTES
        return await running


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[Platform]:
    log = data.parent / "steps"
    environment = {
        "MONEYPRINTER_GATEWAY_USER_BURST": "1000000",
        "MONEYPRINTER_GATEWAY_ADDRESS_BURST": "1000000",
        "MONEYPRINTER_ORCHESTRATOR_CHECK_SECONDS": "1",
    }
    program = (str(watchdog.__file__), str(log))
    async with (
        up(data, environment=environment, program=program) as started,
        httpx.AsyncClient(base_url=started.url, timeout=30) as http,
        grpc.aio.insecure_channel(started.url.removeprefix("http://")) as channel,
    ):
        account = json.loads((data / "first-account").read_text())
        admin = (await http.post("/v1/auth/sign-in", json=account)).json()["access_token"]
        users = {}
        roles = ["video.process", "audio.generate", "content.manage"]
        for user, more in (("mallory", ["user.admin"]), ("good", [])):
            headers = {"authorization": f"Bearer {admin}"}
            asked = await http.post("/v1/auth/invitations", json={"roles": [*roles, *more]}, headers=headers)
            token = asked.json()["invitation_token"]
            named = {"username": user, "password": PASSWORD}
            (await http.post("/v1/auth/register", json={**named, "invitation_token": token})).raise_for_status()
            signed_in = await http.post("/v1/auth/sign-in", json=named)
            users[user] = {"authorization": f"Bearer {signed_in.json()['access_token']}"}
        yield Platform(http, channel, users["mallory"], users["good"], psutil.Process(started.process.pid), log)


@pytest.fixture(scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with running(tmp_path_factory.mktemp("exhaustion") / "data") as started:
        yield started


@pytest.fixture(autouse=True)
async def signed_in(platform: Platform) -> None:
    """Sign the attacker in again when a request has ended the session."""
    own = await platform.http.get("/v1/accounts/me", headers=platform.mallory)
    if own.is_success and time.monotonic() - platform.sign_in_time < SESSION_SECONDS:
        return
    answer = await platform.http.post("/v1/auth/sign-in", json={"username": "mallory", "password": PASSWORD})
    if answer.is_success:
        platform.mallory["authorization"] = f"Bearer {answer.json()['access_token']}"
        platform.sign_in_time = time.monotonic()


def kind(method: Method) -> Any:
    assert calls  # It imports the contracts.
    described = contract.method(method.path)
    assert described is not None
    return described.input_type


@pytest.mark.parametrize("method", [*ASKING, *EVENTS], ids=name)
async def test_a_request_with_too_many_elements_is_refused_at_once(platform: Platform, method: Method) -> None:
    async def attack() -> None:
        for what, data in requests.raw(kind(method)):
            code, _ = await platform.raw(method, data)
            assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED), (what, code)

    await platform.attacked(attack())


@pytest.mark.parametrize("method", [*UNARY, *STREAMS, *EVENTS], ids=name)
async def test_a_compressed_request_is_refused(platform: Platform, method: Method) -> None:
    data = b"\x12\x00" * 2_000_000
    code, reason = await platform.attacked(platform.raw(method, data, compression=grpc.Compression.Gzip))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "COMPRESSION_UNSUPPORTED")


@pytest.mark.parametrize("method", ASKING, ids=name)
async def test_the_largest_valid_requests_are_answered(platform: Platform, method: Method) -> None:
    request = requests.filled(kind(method)).SerializeToString()

    async def attack() -> list[tuple[grpc.StatusCode, str]]:
        return list(await asyncio.gather(*(platform.raw(method, request) for _ in range(3))))

    for code, reason in await platform.attacked(attack()):
        assert reason != "INTERNAL"
        assert code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)


def filled(called: str) -> Callable[[str], Message]:
    return lambda words: requests.filled(kind(calls.method(called)), words)


LONG_TEXTS: dict[str, Callable[[str], Message]] = {
    "SpeechService/CreateSpeech": filled("SpeechService/CreateSpeech"),
    "SpeechService/TimeSpeech": filled("SpeechService/TimeSpeech"),
    "WritingService/CreateScript": filled("WritingService/CreateScript"),
    "WritingService/CreateCaptions": requests.captions,
    "VideoService/CreateVideo": requests.video,
}
# The last ones have zero width, and no font has them.
WORDS = [
    "word ",
    "x",
    "\u597d",
    "\u0301",
    ".",
    "a b. ",
    "\u0627",
    "\n",
    "*",
    "[a](",
    "![",
    "<",
    "\U0001f600",
    "\U00020123",
]


@pytest.mark.parametrize("words", WORDS, ids=ascii)
@pytest.mark.parametrize("called", LONG_TEXTS)
async def test_the_longest_texts_of_every_kind_are_answered(platform: Platform, called: str, words: str) -> None:
    async def attack() -> str:
        _, reason = await platform.raw(calls.method(called), LONG_TEXTS[called](words).SerializeToString())
        # The work on accepted jobs is not measured here, and would take CPU time.
        await platform.clear()
        return reason

    assert await platform.attacked(attack()) not in ("INTERNAL", "DEADLINE_EXCEEDED")


async def test_captions_of_the_maximum_number_of_words_are_answered(platform: Platform) -> None:
    request = requests.timed_captions().SerializeToString()
    code, _ = await platform.attacked(platform.raw(calls.method("WritingService/CreateCaptions"), request))
    assert code is grpc.StatusCode.OK
    # The gateway also accepts it as JSON, and counts its elements.
    body = json_format.MessageToDict(requests.timed_captions(), preserving_proto_field_name=True)
    answer = await platform.attacked(platform.http.post("/v1/captions", json=body, headers=platform.mallory))
    assert answer.status_code == 200


@pytest.mark.parametrize("method", WITH_BODY, ids=name)
async def test_large_bodies_are_refused_at_once(platform: Platform, method: Method) -> None:
    binding = next(binding for binding in method.rest if binding.body)
    path = re.sub(r"{\w+}", quote("vid_1"), binding.path)

    async def attack() -> None:
        for what, body in requests.bodies(kind(method)):
            headers = {**platform.mallory, "content-type": "application/json"}
            answer = await platform.http.request(binding.verb, path, content=body, headers=headers)
            assert 400 <= answer.status_code < 500, (what, answer.text)
            assert answer.json()["details"], what

    await platform.attacked(attack())


@pytest.mark.parametrize("method", STREAMS, ids=name)
async def test_a_stream_with_too_many_elements_is_refused_at_once(platform: Platform, method: Method) -> None:
    """`HttpBody` has an unused repeated field."""

    async def attack() -> None:
        for what, data in requests.raw(kind(method)):
            code, _ = await platform.raw(method, data)
            assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED), (what, code)

    await platform.attacked(attack())


async def test_many_large_jobs_are_listed_without_blocking(platform: Platform) -> None:
    # A forbidden address: the jobs fail at once, and stay on the list.
    clips = [{"url": f"https://10.0.0.1/{number:02}/{'x' * 2000}"} for number in range(100)]
    body = {"title": "A long one", "clips": clips, "audio": {"script": "word " * 3000}}

    async def attack() -> None:
        made = [
            (await platform.http.post("/v1/videos", json=body, headers=platform.mallory)).json()["job_id"]
            for _ in range(20)
        ]
        for _ in range(5):
            listed = await platform.http.get("/v1/videos?page_size=100", headers=platform.mallory)
            assert {video["job_id"] for video in listed.json()["videos"]} >= set(made)
        for job_id in made:
            await platform.http.delete(f"/v1/videos/{job_id}", headers=platform.mallory)

    await platform.attacked(attack())


async def test_an_upload_beyond_the_quota_is_refused_before_it_is_sent(platform: Platform) -> None:
    """The gateway forwards its length, because the transcoder does not."""
    url = platform.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    headers = f"authorization: {platform.mallory['authorization']}\r\ncontent-length: 600000000\r\n"
    writer.write(f"POST /v1/assets?filename=a HTTP/1.1\r\nhost: here\r\n{headers}\r\n0123456789".encode())
    async with asyncio.timeout(ATTACK_SECONDS):
        assert b" 429 " in await reader.readline()
        assert b"ASSET_TOO_LARGE" in await reader.read(10_000)
    writer.close()
    # A client cannot set this header.
    headers_of_a_liar = {**platform.mallory, "x-upload-length": "600000000"}
    answer = await platform.http.post("/v1/assets?filename=a", content=b"small", headers=headers_of_a_liar)
    assert answer.status_code == 201
    usage = (await platform.http.get("/v1/usage", headers=platform.mallory)).json()
    assert (usage["bytes"], usage["files"], usage["max_jobs"]) == (5, 1, 1000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity"])
async def test_a_compressed_upload_is_refused(platform: Platform, encoding: str) -> None:
    headers = {**platform.mallory, "content-encoding": encoding}
    answer = await platform.http.post("/v1/assets?filename=a", content=bytes(100), headers=headers)
    assert (answer.status_code, answer.json()["details"][0]["reason"]) == (415, "COMPRESSION_UNSUPPORTED")


SCRIPT = pb.CreateVideoRequest(title="A long one", audio=pb.Audio(script="word " * 600))
FULL = requests.video("word ")
HUNDREDS: dict[str, tuple[str, bytes]] = {
    "empty clips": ("CreateVideo", b"\x12\x00" * 500_000),
    "full clips": ("CreateVideo", FULL.SerializeToString()),
    "scripts": ("CreateVideo", SCRIPT.SerializeToString()),
    "lists of full videos": ("ListVideos", pb.ListVideosRequest(page_size=100).SerializeToString()),
    "revisions of a full video": (
        "ReviseVideo",
        json_format.ParseDict({"changes": {"title": "b"}}, pb.ReviseVideoRequest()).SerializeToString(),
    ),
}


@pytest.mark.parametrize("requested", HUNDREDS)
async def test_a_hundred_concurrent_requests(platform: Platform, requested: str) -> None:
    name, data = HUNDREDS[requested]
    create = calls.method("VideoService/CreateVideo")
    # The first script whose words do not show its language loads a model, once in the life of a process.
    await platform.raw(create, SCRIPT.SerializeToString())
    await platform.clear()

    async def attack() -> set[str]:
        if "full video" in requested:
            await asyncio.gather(*(platform.raw(create, FULL.SerializeToString()) for _ in range(3)))
        listed = (await platform.http.get("/v1/videos", headers=platform.mallory)).json()["videos"]
        job = pb.ReviseVideoRequest(job_id=listed[0]["job_id"]) if name == "ReviseVideo" else pb.ReviseVideoRequest()
        # Serialized messages that follow each other are merged.
        request = data + job.SerializeToString()
        answers = await asyncio.gather(
            *(platform.raw(calls.method(f"VideoService/{name}"), request) for _ in range(100))
        )
        await platform.clear()
        return {reason for _, reason in answers}

    reasons = await platform.attacked(attack())
    assert reasons <= {"", "BUSY", "REQUEST_INVALID", "QUOTA_EXCEEDED"}
    seconds = sorted(platform.cpu_seconds)
    assert seconds[int(0.9 * (len(seconds) - 1))] < GOOD_CPU_SECONDS, seconds

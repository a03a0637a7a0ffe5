"""Exhaustion: how one user tries to take from all others what a platform has: each attack in a process of its own.

`python -m tests.security.exhaustion NAME TARGET`, where TARGET is a `Target` as JSON, goes on until it is killed. It
prints a line of JSON when all that it opens is open, and counts in it what was answered. Tests and `scripts/bench api
--attacks` run the same table: to add an attack is to write a coroutine that takes a target, and to name it in ATTACKS.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc

from moneyprinter.user.v1 import account_service_pb2
from moneyprinter.video.v1 import video_service_pb2, webhook_service_pb2

VIDEOS = "/moneyprinter.video.v1.VideoService"
# A connection that was closed, or has been open for so long, is opened again.
AGAIN_SECONDS = 20.0
OPENED_SECONDS = 15.0
REFUSED_SECONDS = 5.0


@dataclass(frozen=True)
class Target:
    """What is attacked, and what the attacker has there as any user may."""

    port: int
    token: str
    job_id: str
    """A finished video of some 10 MB."""
    waiting_job_id: str
    """One that is not finished."""
    hostile_url: str
    """A page that answers with interim answers for ever."""


class Counted:
    """What was answered so far; the first line is printed when `count` attempts have come to something."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._answers: collections.Counter[str] = collections.Counter()
        self.all_begun = asyncio.Event()

    def begun(self, answer: str) -> None:
        """Count an answer, or that there is none yet."""
        self._answers[answer] += 1
        self._left -= 1
        if self._left <= 0:
            self.all_begun.set()

    async def told(self) -> None:
        """Print a line when all have begun, or after some time, and then now and then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(OPENED_SECONDS):
                await self.all_begun.wait()
        while True:
            print(json.dumps(self._answers), flush=True)
            await asyncio.sleep(1)


def head(target: Target, verb: str, path: str, *more: str) -> bytes:
    """The head of a request."""
    lines = (f"{verb} {path} HTTP/1.1", "host: here", f"authorization: Bearer {target.token}", *more)
    return "\r\n".join((*lines, "", "")).encode()


async def hold(target: Target, first: bytes, counted: Counted, drip: bytes = b"", every: float = 1.0) -> None:
    """Send the beginning of a request, again and again, and then a drop now and then; read its first line only."""
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket() as sock, suppress(OSError, TimeoutError):
            # The less this side takes in, the more the other one has to keep.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            async with asyncio.timeout(AGAIN_SECONDS):
                await loop.sock_connect(sock, ("127.0.0.1", target.port))
                await loop.sock_sendall(sock, first)
            if drip:
                counted.begun("sent")
            counted.begun(await answered(sock, drip, every))
            # What was refused is tried again later, what was accepted is kept and not read.
            await asyncio.sleep(AGAIN_SECONDS)
        await asyncio.sleep(0.5)


async def answered(sock: socket.socket, drip: bytes, every: float) -> str:
    """Send a drop now and then until there is an answer; returns its status."""
    loop = asyncio.get_running_loop()
    answer = asyncio.ensure_future(loop.sock_recv(sock, 12))
    try:
        async with asyncio.timeout(AGAIN_SECONDS):
            while not answer.done():
                await asyncio.wait([answer], timeout=every)
                if drip and not answer.done():
                    await loop.sock_sendall(sock, drip)
            return answer.result().decode()[9:] or "closed"
    finally:
        # Before the socket is closed, whose number the next one gets.
        answer.cancel()
        await asyncio.wait([answer])


async def many(target: Target, first: bytes, count: int, drip: bytes = b"") -> None:
    """Hold many of a request at once."""
    counted = Counted(count)
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(hold(target, first, counted, drip))
        group.create_task(counted.told())


async def call_again(target: Target, count: int, one: Callable[[grpc.aio.Channel, Counted], Awaitable[None]]) -> None:
    """Make a call over gRPC so often at once, and each again when it has ended; 50 share a connection."""
    counted = Counted(count)
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20))
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{target.port}", options) for _ in range(-(-count // 50))]

    async def again(channel: grpc.aio.Channel) -> None:
        while True:
            try:
                await one(channel, counted)
                counted.begun("OK")
            except grpc.aio.AioRpcError as failure:
                counted.begun(failure.code().name)
            await asyncio.sleep(REFUSED_SECONDS)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(again(channels[number % len(channels)]))
        group.create_task(counted.told())


def bearer(target: Target) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {target.token}"),)


async def watch_unread(target: Target, count: int, path: str, message: bytes) -> None:
    """Open so many streams over gRPC, and read nothing."""

    async def one(channel: grpc.aio.Channel, counted: Counted) -> None:
        open_stream: Any = channel.unary_stream(path)
        stream = open_stream(message, metadata=bearer(target))
        ended = asyncio.ensure_future(stream.code())
        await stream.initial_metadata()
        await asyncio.wait([ended], timeout=1)
        counted.begun(ended.result().name if ended.done() else "open")
        if not ended.done():
            await asyncio.wait([ended], timeout=AGAIN_SECONDS)
        stream.cancel()

    await call_again(target, count, one)


async def send_nothing(target: Target, count: int, path: str) -> None:
    """Open so many uploads over gRPC, and send nothing."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(AGAIN_SECONDS)
        yield b""

    async def one(channel: grpc.aio.Channel, counted: Counted) -> None:
        upload: Any = channel.stream_unary(path)
        call = upload(nothing(), metadata=bearer(target))
        ended = asyncio.ensure_future(call.code())
        await asyncio.wait([ended], timeout=1)
        counted.begun("refused" if ended.done() else "open")
        await call

    await call_again(target, count, one)


async def unary(target: Target, count: int, path: str, message: bytes) -> None:
    """Make a call over gRPC again and again, whose message is sent compressed."""

    async def one(channel: grpc.aio.Channel, counted: Counted) -> None:
        counted.begun("sent")
        call: Any = channel.unary_unary(path)
        await call(message, metadata=bearer(target), timeout=30, compression=grpc.Compression.Gzip)

    await call_again(target, count, one)


# Answers that are not read.


async def unread_downloads(target: Target) -> None:
    """Thirty downloads of 10 MB."""
    await many(target, head(target, "GET", f"/v1/videos/{target.job_id}/file"), 30)


async def unread_downloads_over_grpc(target: Target) -> None:
    """The same over gRPC."""
    message = video_service_pb2.DownloadVideoRequest(job_id=target.job_id).SerializeToString()
    await watch_unread(target, 30, f"{VIDEOS}/DownloadVideo", message)


def posted(target: Target, path: str, body: Any) -> bytes:
    data = json.dumps(body).encode()
    return head(target, "POST", path, "content-type: application/json", f"content-length: {len(data)}") + data


async def unread_speech(target: Target) -> None:
    """Twenty texts that are spoken."""
    await many(target, posted(target, "/v1/speech", {"text": "One two three four. " * 100}), 20)


async def unread_captions(target: Target) -> None:
    """Twenty files of captions."""
    body = {"script": "Words that are shown. " * 800, "duration": 600.0, "format": "ass"}
    await many(target, posted(target, "/v1/captions", body), 20)


# Streams that last.


async def watched_events(target: Target) -> None:
    """510 streams of events."""
    await many(target, head(target, "GET", "/v1/events"), 510)


async def watched_events_over_grpc(target: Target) -> None:
    """The same over gRPC."""
    await watch_unread(target, 510, "/moneyprinter.video.v1.EventService/WatchEvents", b"")


async def watched_video(target: Target) -> None:
    """510 streams of the status of one video."""
    await many(target, head(target, "GET", f"/v1/videos/{target.waiting_job_id}/watch"), 510)


# Requests that do not end.


async def slow_uploads(target: Target) -> None:
    """110 uploads of a byte a second."""
    await many(target, head(target, "POST", "/v1/assets?filename=a.mp4", "content-length: 99999999") + b"x", 110, b"x")


async def silent_uploads_over_grpc(target: Target) -> None:
    """110 uploads of nothing."""
    await send_nothing(target, 110, f"{VIDEOS}/UploadAsset")


async def slow_probes(target: Target) -> None:
    """40 clips that are sent to be looked at, a byte a second."""
    await many(target, head(target, "POST", "/v1/clips/probe-file", "content-length: 99999999") + b"x", 40, b"x")


async def silent_probes_over_grpc(target: Target) -> None:
    """40 clips of nothing."""
    await send_nothing(target, 40, "/moneyprinter.video.v1.ClipService/ProbeFile")


async def unfinished_bodies(target: Target) -> None:
    """900 requests of 1 MB whose last bytes do not come."""
    first = head(target, "POST", "/v1/videos", "content-type: application/json", "content-length: 1048000")
    await many(target, first + b" " * 1_000_000, 900, drip=b" ")


async def large_bodies(target: Target) -> None:
    """900 requests of 1 MB, again and again, which are read as JSON."""
    first = head(target, "POST", "/v1/videos", "content-type: application/json", "content-length: 1000000")
    await many(target, first + b" " * 1_000_000, 900)


# Work.


async def passwords(target: Target) -> None:
    """Forty changes of a password at once, each of which has one checked."""
    body = {"old_password": "not the password of mine", "new_password": "another one that is long enough"}
    await many(target, posted(target, "/v1/accounts/me/password", body), 40)


async def sign_ins(target: Target) -> None:
    """Forty sign-ins at once from one address."""
    body = {"username": "nobody_at_all", "password": "not the password of anybody"}
    await many(target, posted(target, "/v1/auth/sign-in", body), 40)


async def spoken_texts(target: Target) -> None:
    """Forty texts at once of which the times are asked."""
    await many(target, posted(target, "/v1/speech/timings", {"text": "One two three four. " * 200}), 40)


async def slow_hosts(target: Target) -> None:
    """Twenty clips at once at a host that answers with interim answers for ever."""
    await many(target, posted(target, "/v1/clips/probe", {"url": target.hostile_url}), 20)


# Messages that are more than they seem.


async def many_elements(target: Target) -> None:
    """Two million clips in some 4 KB."""
    element = video_service_pb2.CreateVideoRequest(clips=[video_service_pb2.Clip()]).SerializeToString()
    await unary(target, 4, f"{VIDEOS}/CreateVideo", element * 2_000_000)


async def empty_clips(target: Target) -> None:
    """1 MB of JSON with clips of nothing."""
    body = b'{"title":"x","clips":[' + b"{}," * 340_000 + b"{}]}"
    first = head(target, "POST", "/v1/videos", "content-type: application/json", f"content-length: {len(body)}")
    await many(target, first + body, 4)


async def many_roles(target: Target) -> None:
    """100,000 roles in some 300 bytes."""
    element = account_service_pb2.CreateApiKeyRequest(roles=["a"]).SerializeToString()
    path = "/moneyprinter.user.v1.AccountService/CreateApiKey"
    await unary(target, 4, path, element * 100_000)


async def many_event_types(target: Target) -> None:
    """A million types of events of a webhook."""
    element = webhook_service_pb2.CreateWebhookRequest(event_types=["a"]).SerializeToString()
    await unary(target, 4, "/moneyprinter.video.v1.WebhookService/CreateWebhook", element * 1_000_000)


async def compressed_uploads(target: Target) -> None:
    """Uploads of 200 MB that are some 200 KB as they are sent."""
    part = video_service_pb2.UploadAssetRequest(filename="zeros.mp4")
    part.data.data = bytes(1_000_000)
    message = part.SerializeToString()

    async def one(channel: grpc.aio.Channel, counted: Counted) -> None:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(200):
                yield message

        counted.begun("sent")
        call: Any = channel.stream_unary(f"{VIDEOS}/UploadAsset")
        await call(parts(), metadata=bearer(target), compression=grpc.Compression.Gzip)

    await call_again(target, 4, one)


Attack = Callable[[Target], Awaitable[None]]

HELD: Sequence[Attack] = (
    *(unread_downloads, unread_downloads_over_grpc, unread_speech, unread_captions),
    *(watched_events, watched_events_over_grpc, watched_video),
    *(slow_uploads, silent_uploads_over_grpc, slow_probes, silent_probes_over_grpc),
    *(unfinished_bodies, large_bodies),
    *(passwords, sign_ins, spoken_texts),
)
"""What a client holds, at its own pace."""
EXPANDED: Sequence[Attack] = (
    many_elements,
    empty_clips,
    many_roles,
    many_event_types,
    compressed_uploads,
    slow_hosts,
)
"""What becomes far more than was sent."""

ATTACKS: dict[str, Attack] = {attack.__name__: attack for attack in (*HELD, *EXPANDED)}


if __name__ == "__main__":
    # An attacker comes from elsewhere: it is not to take the processor from those whom it attacks.
    os.nice(19)
    asyncio.run(ATTACKS[sys.argv[1]](Target(**json.loads(sys.argv[2]))))  # type: ignore[arg-type]

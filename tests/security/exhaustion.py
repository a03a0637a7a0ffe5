"""Exhaustion: attacks in which one user tries to take a platform's resources from all others, one process each.

`python -m tests.security.exhaustion NAME TARGET`, where TARGET is a `Target` as JSON, runs until it is killed. When all
its streams are open, it prints a line of JSON with the counts of the responses. Tests and `scripts/bench api --attacks`
run the same table: to add an attack, write a coroutine that takes a target, and add it to ATTACKS.
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
# A connection is reopened when it was closed or has been open for this long.
AGAIN_SECONDS = 20.0
OPENED_SECONDS = 15.0
REFUSED_SECONDS = 5.0


@dataclass(frozen=True)
class Target:
    """The attacked platform, and the attacker's own account, job and videos on it."""

    port: int
    token: str
    job_id: str
    """A finished video of some 8 MB."""
    waiting_job_id: str
    """An unfinished job."""
    hostile_url: str
    """The address of a page with endless interim responses."""


class ResponseCounter:
    """Counts responses; prints the first line when `count` attempts have a result."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._answers: collections.Counter[str] = collections.Counter()
        self.all_begun = asyncio.Event()

    def count_response(self, answer: str) -> None:
        """Count a response, or a missing one."""
        self._answers[answer] += 1
        self._left -= 1
        if self._left <= 0:
            self.all_begun.set()

    async def report(self) -> None:
        """Print a line when all attempts have a result or after some time, and then at intervals."""
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


async def hold(target: Target, first: bytes, counter: ResponseCounter, drip: bytes = b"", every: float = 1.0) -> None:
    """Repeatedly start a request, and then send a few bytes at intervals; read only the first line of the response."""
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket() as sock, suppress(OSError, TimeoutError):
            # The less this side reads, the more the other side must buffer.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            async with asyncio.timeout(AGAIN_SECONDS):
                await loop.sock_connect(sock, ("127.0.0.1", target.port))
                await loop.sock_sendall(sock, first)
            if drip:
                counter.count_response("sent")
            counter.count_response(await answered(sock, drip, every))
            # A refused request is repeated later; an accepted one stays open, and its response is not read.
            await asyncio.sleep(AGAIN_SECONDS)
        await asyncio.sleep(0.5)


async def answered(sock: socket.socket, drip: bytes, every: float) -> str:
    """Send a few bytes at intervals until there is a response; returns its status."""
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
        # Before the socket is closed, because the next one gets its file descriptor.
        answer.cancel()
        await asyncio.wait([answer])


async def many(target: Target, first: bytes, count: int, drip: bytes = b"") -> None:
    """Hold many concurrent requests of one kind."""
    counter = ResponseCounter(count)
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(hold(target, first, counter, drip))
        group.create_task(counter.report())


async def repeat_calls(
    target: Target, count: int, one: Callable[[grpc.aio.Channel, ResponseCounter], Awaitable[None]]
) -> None:
    """Keep `count` concurrent gRPC calls open, and repeat each when it has ended; 50 share a connection."""
    counter = ResponseCounter(count)
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20))
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{target.port}", options) for _ in range(-(-count // 50))]

    async def again(channel: grpc.aio.Channel) -> None:
        while True:
            try:
                await one(channel, counter)
                counter.count_response("OK")
            except grpc.aio.AioRpcError as failure:
                counter.count_response(failure.code().name)
            await asyncio.sleep(REFUSED_SECONDS)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(again(channels[number % len(channels)]))
        group.create_task(counter.report())


def bearer(target: Target) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {target.token}"),)


async def watch_unread(target: Target, count: int, path: str, message: bytes) -> None:
    """Open `count` streams over gRPC, and read nothing."""

    async def one(channel: grpc.aio.Channel, counter: ResponseCounter) -> None:
        open_stream: Any = channel.unary_stream(path)
        stream = open_stream(message, metadata=bearer(target))
        ended = asyncio.ensure_future(stream.code())
        await stream.initial_metadata()
        await asyncio.wait([ended], timeout=1)
        counter.count_response(ended.result().name if ended.done() else "open")
        if not ended.done():
            await asyncio.wait([ended], timeout=AGAIN_SECONDS)
        stream.cancel()

    await repeat_calls(target, count, one)


async def send_nothing(target: Target, count: int, path: str) -> None:
    """Open `count` uploads over gRPC, and send nothing."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(AGAIN_SECONDS)
        yield b""

    async def one(channel: grpc.aio.Channel, counter: ResponseCounter) -> None:
        upload: Any = channel.stream_unary(path)
        call = upload(nothing(), metadata=bearer(target))
        ended = asyncio.ensure_future(call.code())
        await asyncio.wait([ended], timeout=1)
        counter.count_response("refused" if ended.done() else "open")
        await call

    await repeat_calls(target, count, one)


async def unary(target: Target, count: int, path: str, message: bytes) -> None:
    """Repeatedly make a gRPC call with a compressed message."""

    async def one(channel: grpc.aio.Channel, counter: ResponseCounter) -> None:
        counter.count_response("sent")
        call: Any = channel.unary_unary(path)
        await call(message, metadata=bearer(target), timeout=30, compression=grpc.Compression.Gzip)

    await repeat_calls(target, count, one)


# Unread responses.


async def unread_downloads(target: Target) -> None:
    """Thirty downloads of 8 MB."""
    await many(target, head(target, "GET", f"/v1/videos/{target.job_id}/file"), 30)


async def unread_downloads_over_grpc(target: Target) -> None:
    """The same over gRPC."""
    message = video_service_pb2.DownloadVideoRequest(job_id=target.job_id).SerializeToString()
    await watch_unread(target, 30, f"{VIDEOS}/DownloadVideo", message)


def posted(target: Target, path: str, body: Any) -> bytes:
    data = json.dumps(body).encode()
    return head(target, "POST", path, "content-type: application/json", f"content-length: {len(data)}") + data


async def unread_speech(target: Target) -> None:
    """Twenty syntheses of speech."""
    await many(target, posted(target, "/v1/speech", {"text": "One two three four. " * 100}), 20)


async def unread_captions(target: Target) -> None:
    """Twenty caption files."""
    body = {"script": "Words that are shown. " * 800, "duration": 600.0, "format": "ass"}
    await many(target, posted(target, "/v1/captions", body), 20)


# Long streams.


async def watched_events(target: Target) -> None:
    """510 streams of events."""
    await many(target, head(target, "GET", "/v1/events"), 510)


async def watched_events_over_grpc(target: Target) -> None:
    """The same over gRPC."""
    await watch_unread(target, 510, "/moneyprinter.video.v1.EventService/WatchEvents", b"")


async def watched_video(target: Target) -> None:
    """510 streams of the status of one video."""
    await many(target, head(target, "GET", f"/v1/videos/{target.waiting_job_id}/watch"), 510)


# Unfinished requests.


async def slow_uploads(target: Target) -> None:
    """110 uploads at one byte per second."""
    await many(target, head(target, "POST", "/v1/assets?filename=a.mp4", "content-length: 99999999") + b"x", 110, b"x")


async def silent_uploads_over_grpc(target: Target) -> None:
    """110 uploads without data."""
    await send_nothing(target, 110, f"{VIDEOS}/UploadAsset")


async def slow_probes(target: Target) -> None:
    """40 clip probes at one byte per second."""
    await many(target, head(target, "POST", "/v1/clips/probe-file", "content-length: 99999999") + b"x", 40, b"x")


async def silent_probes_over_grpc(target: Target) -> None:
    """40 clip probes without data."""
    await send_nothing(target, 40, "/moneyprinter.video.v1.ClipService/ProbeFile")


async def unfinished_bodies(target: Target) -> None:
    """900 requests of 1 MB without their last bytes."""
    first = head(target, "POST", "/v1/videos", "content-type: application/json", "content-length: 1048000")
    await many(target, first + b" " * 1_000_000, 900, drip=b" ")


async def large_bodies(target: Target) -> None:
    """900 requests of 1 MB of JSON, repeatedly."""
    first = head(target, "POST", "/v1/videos", "content-type: application/json", "content-length: 1000000")
    await many(target, first + b" " * 1_000_000, 900)


# Expensive work.


async def passwords(target: Target) -> None:
    """Forty concurrent password changes, each of which verifies a password."""
    body = {"old_password": "not the password of mine", "new_password": "another one that is long enough"}
    await many(target, posted(target, "/v1/accounts/me/password", body), 40)


async def sign_ins(target: Target) -> None:
    """Forty concurrent sign-ins from one address."""
    body = {"username": "nobody_at_all", "password": "not the password of anybody"}
    await many(target, posted(target, "/v1/auth/sign-in", body), 40)


async def spoken_texts(target: Target) -> None:
    """Forty concurrent requests for speech timings."""
    await many(target, posted(target, "/v1/speech/timings", {"text": "One two three four. " * 200}), 40)


async def slow_hosts(target: Target) -> None:
    """Twenty concurrent clips at a host with endless interim responses."""
    await many(target, posted(target, "/v1/clips/probe", {"url": target.hostile_url}), 20)


# Messages that expand.


async def many_elements(target: Target) -> None:
    """Two million clips in some 4 KB."""
    element = video_service_pb2.CreateVideoRequest(clips=[video_service_pb2.Clip()]).SerializeToString()
    await unary(target, 4, f"{VIDEOS}/CreateVideo", element * 2_000_000)


async def empty_clips(target: Target) -> None:
    """1 MB of JSON with empty clips."""
    body = b'{"title":"x","clips":[' + b"{}," * 340_000 + b"{}]}"
    first = head(target, "POST", "/v1/videos", "content-type: application/json", f"content-length: {len(body)}")
    await many(target, first + body, 4)


async def many_roles(target: Target) -> None:
    """100,000 roles in some 300 bytes."""
    element = account_service_pb2.CreateApiKeyRequest(roles=["a"]).SerializeToString()
    path = "/moneyprinter.user.v1.AccountService/CreateApiKey"
    await unary(target, 4, path, element * 100_000)


async def many_event_types(target: Target) -> None:
    """A million event types of a webhook."""
    element = webhook_service_pb2.CreateWebhookRequest(event_types=["a"]).SerializeToString()
    await unary(target, 4, "/moneyprinter.video.v1.WebhookService/CreateWebhook", element * 1_000_000)


async def compressed_uploads(target: Target) -> None:
    """Uploads of 200 MB that are some 200 KB on the wire."""
    part = video_service_pb2.UploadAssetRequest(filename="zeros.mp4")
    part.data.data = bytes(1_000_000)
    message = part.SerializeToString()

    async def one(channel: grpc.aio.Channel, counter: ResponseCounter) -> None:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(200):
                yield message

        counter.count_response("sent")
        call: Any = channel.stream_unary(f"{VIDEOS}/UploadAsset")
        await call(parts(), metadata=bearer(target), compression=grpc.Compression.Gzip)

    await repeat_calls(target, 4, one)


Attack = Callable[[Target], Awaitable[None]]

HELD: Sequence[Attack] = (
    *(unread_downloads, unread_downloads_over_grpc, unread_speech, unread_captions),
    *(watched_events, watched_events_over_grpc, watched_video),
    *(slow_uploads, silent_uploads_over_grpc, slow_probes, silent_probes_over_grpc),
    *(unfinished_bodies, large_bodies),
    *(passwords, sign_ins, spoken_texts),
)
"""Attacks that hold resources at the client's own pace."""
EXPANDED: Sequence[Attack] = (
    many_elements,
    empty_clips,
    many_roles,
    many_event_types,
    compressed_uploads,
    slow_hosts,
)
"""Attacks with messages that expand."""

ATTACKS: dict[str, Attack] = {attack.__name__: attack for attack in (*HELD, *EXPANDED)}


if __name__ == "__main__":
    # A real attacker has a machine of its own: this one must not take the CPU from its victim.
    os.nice(19)
    asyncio.run(ATTACKS[sys.argv[1]](Target(**json.loads(sys.argv[2]))))  # type: ignore[arg-type]

"""The Python client through the gateway: local errors, tokens, and streams that outlast their deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from moneyprinter import contract, errors
from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb
from tests.gateway.platform import FILE, Platform
from tests.gateway.proxy import Proxy


@pytest.fixture
async def client(platform: Platform, gateway: Proxy) -> AsyncIterator[Client]:
    async with Client(gateway.address, token=platform.mesh.token()) as client:
        yield client


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(FILE)
    return clip


@pytest.mark.parametrize(
    ("name", "error"),
    [("missing.mp4", FileNotFoundError), (".", IsADirectoryError), ("clip.mp4/x", NotADirectoryError)],
)
async def test_a_file_that_cannot_be_read_is_that_error(
    client: Client, clip: Path, name: str, error: type[OSError]
) -> None:
    for work in (client.upload, client.probe):
        with pytest.raises(error):
            await work(clip.parent / name)


async def test_a_path_may_be_text(client: Client, clip: Path, tmp_path: Path) -> None:
    assert await client.upload(str(clip)) == "ast_1"
    saved = tmp_path / "saved.mp4"
    assert await client.download("vid_1", str(saved)) == len(FILE)
    assert saved.read_bytes() == FILE


async def test_a_file_is_probed(client: Client, clip: Path) -> None:
    assert (await client.probe(clip)).file_size == len(FILE)


async def test_an_error_of_a_callback_is_raised_and_not_mistaken_for_a_cancellation(
    client: Client, clip: Path, tmp_path: Path
) -> None:
    def fail(*_: int) -> None:
        raise ZeroDivisionError

    saved = tmp_path / "saved.mp4"
    calls: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
        lambda: client.upload(clip, fail),
        lambda: client.probe(clip, fail),
        lambda: client.download("vid_1", saved, on_progress=fail),
    )
    for call in calls:
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.TaskGroup() as group:
                group.create_task(call())
        assert isinstance(raised.value.exceptions[0], ZeroDivisionError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"], "no part of a file is left"


async def test_an_error_of_a_stubs_requests_is_raised(client: Client) -> None:
    async def requests() -> AsyncIterator[pb.UploadAssetRequest]:
        yield pb.UploadAssetRequest(filename="a.mp4")
        raise KeyError("b")

    with pytest.raises(KeyError):
        await client.videos.UploadAsset(requests())


async def test_an_upload_can_be_cancelled(client: Client, clip: Path) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(client.upload(clip, lambda _: begun.set()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stub_renews_its_token_before_a_call_and_after_a_refusal(platform: Platform, gateway: Proxy) -> None:
    # The stub exchanges a refresh token for an access token of the same text.
    good = platform.mesh.token()
    for token, expires_in in (("", 0.0), ("a.refused.token", 3600.0)):
        async with Client(gateway.address, token=token, refresh_token=good, expires_in=expires_in) as client:
            found = await client.videos.GetVideo(pb.GetVideoRequest(job_id="vid_1"))
            assert found.video.title == "user_1"
            assert client.token == good


async def test_a_client_needs_no_context_to_renew_its_token(platform: Platform, gateway: Proxy) -> None:
    client = Client(gateway.address, refresh_token=platform.mesh.token())
    try:
        assert (await client.videos.GetVideo(pb.GetVideoRequest(job_id="vid_1"))).video.title == "user_1"
        assert [update.status.progress async for update in client.watch("vid_1")] == [0, 50, 100]
    finally:
        await client.__aexit__(None, None, None)


async def test_a_token_that_cannot_be_renewed_ends_a_stream_with_that_error(gateway: Proxy) -> None:
    async with Client(gateway.address, token="a.refused.token") as client:
        for stream in (client.watch("vid_1"), client.events()):
            with pytest.raises(errors.Unauthenticated):
                await anext(stream)


async def test_a_stream_continues_after_its_deadline(
    platform: Platform, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "deadline_seconds", lambda _: 0.5)
    monkeypatch.setattr("moneyprinter.client.WATCH_PAUSE_SECONDS", 0.0)
    async with asyncio.timeout(30), aclosing(client.events()) as found:
        seen = [(await anext(found)).position for _ in range(5)]
    assert seen == ["7", "12", "7", "12", "7"], "the stub starts from the first event on every call"
    assert platform.events.requests[-1].after == "12"


async def test_a_watch_continues_after_its_deadline(
    platform: Platform, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moneyprinter.client.WATCH_PAUSE_SECONDS", 0.0)
    seen = [update.status.progress async for update in client.watch("vid_long")]
    assert seen == [0, 0, 0, 50, 100], "two streams that end at their deadlines, and the last one"

"""A damaged store of NATS is moved aside, or its streams are created anew: jobs continue, since PostgreSQL has them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from nats.errors import Error
from nats.js.errors import APIError
from structlog.testing import capture_logs

from services.embedded import binaries, nats, ports
from services.embedded.errors import PlatformError
from services.orchestrator.jetstream import relay, streams
from services.orchestrator.jetstream.job_queue import consume_jobs, subscribe
from services.orchestrator.jetstream.relay import relay_outbox
from services.orchestrator.jetstream.streams import make_streams
from services.runtime import events
from services.runtime.config import RuntimeConfig
from tests.up import up


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip_bits(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :: 37] = bytes(byte ^ 0x40 for byte in data[len(data) // 2 :: 37])
    path.write_bytes(data)


def _damage_all(folder: Path, damage: Callable[[Path], None]) -> None:
    for path in list(folder.rglob("*")):
        if path.is_file() and path.stat().st_size and path.name != "nats.conf":
            damage(path)


def _replace(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def _randomize(path: Path) -> None:
    path.write_bytes(os.urandom(200))


def _make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


STREAMS = "jetstream/mesh/streams"
DAMAGE: dict[str, Callable[[Path], None]] = {
    "all files changed": lambda folder: _damage_all(folder, _flip_bits),
    "all files cut": lambda folder: _damage_all(folder, _truncate),
    "all files emptied": lambda folder: _damage_all(folder, lambda path: os.truncate(path, 0)),
    "all files noise": lambda folder: _damage_all(folder, _randomize),
    "no meta": lambda folder: _damage_all(folder, lambda path: path.unlink() if path.name.startswith("meta") else None),
    "consumer's state cut": lambda folder: _damage_all(
        folder, lambda path: _truncate(path) if path.name == "o.dat" else None
    ),
    "messages changed": lambda folder: _damage_all(
        folder, lambda path: _flip_bits(path) if path.suffix == ".blk" else None
    ),
    "no messages": lambda folder: _damage_all(folder, lambda path: path.unlink() if path.suffix == ".blk" else None),
    "no streams": lambda folder: shutil.rmtree(folder / STREAMS),
    "a file for the store": lambda folder: _replace(folder / "jetstream"),
    "a file for the folder": _replace,
    "a file for the streams": lambda folder: _replace(folder / STREAMS),
    "a folder for a file": lambda folder: _damage_all(
        folder, lambda path: _make_folder(path) if path.name in ("meta.inf", "1.blk") else None
    ),
}


@pytest.fixture(scope="module")
async def filled(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a stopped server with both streams, messages in them, and a consumer."""
    config, base = RuntimeConfig(certificates=certificates), tmp_path_factory.mktemp("filled")
    [port] = ports.pick_ports()
    async with (
        nats.run_server(config, base / "nats", log_file=base / "log", port=port) as url,
        events.connect(config, "orchestrator", url) as client,
    ):
        stream = client.jetstream()
        await make_streams(stream)
        for subject in ("jobs.video", "video.processing.started") * 20:
            await stream.publish(subject, b"{}" * 50)
        subscription = await subscribe(stream, 10)
        await (await subscription.fetch(1, timeout=5))[0].ack()
    return base / "nats"


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_queue_on_a_damaged_store_delivers_work(
    config: RuntimeConfig, tmp_path: Path, filled: Path, damage: str
) -> None:
    folder = Path(shutil.copytree(filled, tmp_path / "nats"))
    DAMAGE[damage](folder)
    [port] = ports.pick_ports()
    driven = asyncio.Event()

    async def drive(_: object) -> None:
        driven.set()

    with capture_logs() as logs:
        async with (
            nats.run_server(config, folder, log_file=tmp_path / "nats.log", port=port) as url,
            events.connect(config, "orchestrator", url) as client,
        ):
            stream = client.jetstream()
            await make_streams(stream)
            consuming = asyncio.create_task(consume_jobs(stream, drive, jobs_at_once=1, lease_seconds=10))
            try:
                async with asyncio.timeout(30):
                    while not driven.is_set():
                        assert not consuming.done() or consuming.result()
                        for subject in ("jobs.video", "video.processing.started"):
                            # While the stream is created anew, there is none.
                            with suppress(Error, APIError, TimeoutError):
                                await stream.publish(subject, b"{}", timeout=2)
                        with suppress(TimeoutError):
                            await asyncio.wait_for(driven.wait(), 0.1)
            finally:
                consuming.cancel()
                await asyncio.gather(consuming, return_exceptions=True)
    kept = list(tmp_path.glob("nats.damaged-*"))
    reported = [each for each in logs if "moved aside" in each["event"]]
    assert len(kept) == len(reported) <= 1
    if damage in ("a file for the store", "a file for the folder"):
        assert kept


async def test_an_intact_store_stays_when_nats_cannot_start(
    config: RuntimeConfig, tmp_path: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "nats_program", lambda: "/bin/false")
    folder = Path(shutil.copytree(filled, tmp_path / "nats"))
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    [port] = ports.pick_ports()
    with pytest.raises(PlatformError):
        async with nats.run_server(config, folder, log_file=tmp_path / "nats.log", port=port):
            pass
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before
    assert not list(tmp_path.glob("nats.damaged-*"))


async def test_a_stream_that_fails_for_good_is_created_anew(
    config: RuntimeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its files, a stream fails for good at its next block."""
    monkeypatch.setattr(relay, "PUBLISH_SECONDS", 0.5)
    monkeypatch.setattr(relay, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(streams, "MIN_STREAM_AGE", timedelta(0))
    published = asyncio.Event()

    class Outbox:
        """Has a message, until it is published, and many that fill the block before."""

        async def deliver(self, publish: Callable[..., object]) -> bool:
            if published.is_set():
                return False
            for _ in range(100):
                await publish("video.processing.started", bytes(500_000), {})  # type: ignore[misc]
            published.set()
            return False

    folder = tmp_path / "nats"
    [port] = ports.pick_ports()
    async with (
        nats.run_server(config, folder, log_file=tmp_path / "nats.log", port=port) as url,
        events.connect(config, "orchestrator", url) as client,
    ):
        stream = client.jetstream()
        await make_streams(stream)
        shutil.rmtree(folder / STREAMS)
        relaying = asyncio.create_task(relay_outbox(Outbox(), stream, asyncio.Event()))
        try:
            await asyncio.wait_for(published.wait(), 60)
        finally:
            relaying.cancel()
            await asyncio.gather(relaying, return_exceptions=True)


async def test_a_platform_on_a_damaged_store_finishes_its_jobs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    request = {"title": "A walk", "clips": [{"colour": "#336699"}], "audio": {"script": "One."}}
    settings = {"settings": {"resolution": "480p", "quality": "draft"}}
    # The first platform was killed, and holds the job until its lease expires; its messages were in the lost store.
    soon = dict.fromkeys(
        ("MONEYPRINTER_ORCHESTRATOR_LEASE_SECONDS", "MONEYPRINTER_ORCHESTRATOR_RECONCILE_SECONDS"), "2"
    )

    @asynccontextmanager
    async def signed_in(url: str) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            tokens = await http.post("/v1/auth/sign-in", json=json.loads((data / "first-account").read_text()))
            http.headers["authorization"] = f"Bearer {tokens.json()['access_token']}"
            yield http

    async with up(data, environment=soon) as running, signed_in(running.url) as http:
        made = (await http.post("/v1/videos", json={**request, **settings})).json()["job_id"]
    _replace(data / "nats" / "jetstream")
    async with up(data, environment=soon) as running, signed_in(running.url) as http, asyncio.timeout(120):
        while (status := (await http.get(f"/v1/videos/{made}/status")).json())["status"] == "processing":  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        assert status["status"] == "completed", status
    assert len(list(data.glob("nats.damaged-*"))) == 1
    assert "NATS store damaged, moved aside" in (data / "logs" / "services.log").read_text()

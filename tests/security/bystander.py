"""Bystander: a second user of a platform under attack, and the durations of that user's calls."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from services.runtime import children
from tests import media
from tests.security.exhaustion import OPENED_SECONDS, Target
from tests.up import up
from tests.validation.site import Site

PASSWORD = "four tides a day, all year"
PATIENCE_SECONDS = 30.0
LIMITS = children.Limits(memory_bytes=0, open_files=4096, wall_seconds=600)
# Noise, which does not compress: a video of some 8 MB.
NOISE = "nullsrc=s={w}x{h}:r={rate},geq=random(1)*255:128:128"
SETTINGS = {
    "MONEYPRINTER_USER_REGISTRATION": "open",
    "MONEYPRINTER_USER_MAX_ADDRESS_FAILURES": "1000000",
    "MONEYPRINTER_GATEWAY_USER_BURST": "1000000",
    "MONEYPRINTER_GATEWAY_ADDRESS_BURST": "1000000",
    "MONEYPRINTER_ORCHESTRATOR_CHECK_SECONDS": "1",
    "MONEYPRINTER_VALIDATION_ALLOWED_NETWORKS": json.dumps(["127.0.0.0/8"]),
}


@dataclass
class Account:
    """A user, signed in."""

    name: str
    http: httpx.AsyncClient
    token: str = ""

    async def sign_in(self) -> None:
        """Start a session, with a new token."""
        answer = await self.http.post("/v1/auth/sign-in", json={"username": self.name, "password": PASSWORD})
        assert answer.is_success, answer.text
        self.token = answer.json()["access_token"]
        self.http.headers["authorization"] = f"Bearer {self.token}"

    async def job(self, asset: str = "", url: str = "", **settings: Any) -> str:
        """Create a job with one clip; returns its id."""
        clip = {"url": url} if url else {"asset_id": asset}
        settings = {"resolution": "480p", "quality": "draft", **settings}
        body = {"title": "Noise", "clips": [clip], "audio": {"script": "One two."}, "settings": settings}
        answer = await self.http.post("/v1/videos", json=body)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(answer.json()["job_id"])

    async def finished(self, job_id: str) -> None:
        """Wait until a job has completed."""
        async with asyncio.timeout(180):
            async with self.http.stream("GET", f"/v1/videos/{job_id}/watch", timeout=None) as events:
                async for _ in events.aiter_bytes():
                    pass
        status = (await self.http.get(f"/v1/videos/{job_id}/status")).json()
        assert status["status"] == "completed", status

    async def upload(self, data: bytes) -> str:
        """Upload a file; returns the id of the asset."""
        answer = await self.http.post("/v1/assets?filename=a.mp4", content=data)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return str(answer.json()["asset_id"])


@dataclass
class Times:
    """The durations of a user's calls, by name, and the failed calls."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    async def timed(self, name: str, call: Callable[[], Awaitable[str]]) -> None:
        """Make a call, which returns the error in its response, and record its duration."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                wrong = await call()
        except (httpx.HTTPError, TimeoutError) as failure:
            wrong = repr(failure)
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        if wrong:
            self.failures.append(f"{name}: {wrong}")


class Bystander:
    """The second user."""

    def __init__(self, account: Account, elsewhere: httpx.AsyncClient, clip: bytes, asset: str, job_id: str) -> None:
        self.account = account
        self._http = account.http
        self._elsewhere = elsewhere
        self._clip = clip
        self._asset = asset
        self._job = job_id
        self.quick_calls: Mapping[str, Callable[[], Awaitable[str]]] = {
            "health": self.health,
            "list": lambda: self._get("/v1/videos"),
            "status": lambda: self._get(f"/v1/videos/{self._job}/status"),
            "create": self.create,
            "events": lambda: self._first("/v1/events?after=0"),
            "watch": lambda: self._first(f"/v1/videos/{self._job}/watch"),
            "upload": self.upload,
            "download": lambda: self._get(f"/v1/videos/{self._job}/file"),
            "voices": lambda: self._get("/v1/voices"),
            "sign in": self.sign_in,
        }
        """Calls that need no media work."""
        self.media_calls: Mapping[str, Callable[[], Awaitable[str]]] = {
            "probe": self.probe,
            "speech": lambda: self._post("/v1/speech", {"text": "Hello."}),
            "captions": lambda: self._post("/v1/captions", {"script": "Hello there.", "duration": 2.0}),
            "script": lambda: self._post("/v1/scripts", {"topic": "tides"}),
        }
        """Calls that need media work."""

    async def make_calls(self, times: Times, calls: Mapping[str, Callable[[], Awaitable[str]]]) -> None:
        """Make each call once."""
        for name, call in calls.items():
            await times.timed(name, call)

    async def _get(self, path: str) -> str:
        return _wrong(await self._http.get(path))

    async def _post(self, path: str, body: Any) -> str:
        return _wrong(await self._http.post(path, json=body))

    async def _first(self, path: str) -> str:
        """Wait for the first event of a stream."""
        async with self._http.stream("GET", path) as answer:
            if answer.is_success:
                await anext(answer.aiter_bytes())
                return ""
            await answer.aread()
            return _wrong(answer)

    async def health(self) -> str:
        answer = await self._http.get("/health")
        return _wrong(answer) or ("" if answer.json()["status"] == "healthy" else answer.text)

    async def create(self) -> str:
        job_id = await self.account.job(self._asset)
        return _wrong(await self._http.delete(f"/v1/videos/{job_id}"))

    async def upload(self) -> str:
        answer = await self._http.post("/v1/assets?filename=a.mp4", content=self._clip)
        return _wrong(answer) or _wrong(await self._http.delete(f"/v1/assets/{answer.json()['asset_id']}"))

    async def probe(self) -> str:
        return _wrong(await self._http.post("/v1/clips/probe-file", content=self._clip))

    async def sign_in(self) -> str:
        body = {"username": self.account.name, "password": PASSWORD}
        answer = await self._elsewhere.post("/v1/auth/sign-in", json=body)
        # Beyond the maximum number of sessions the oldest ends, and that is the one of all other calls.
        if answer.is_success:
            await self._elsewhere.post("/v1/auth/sign-out", json={"refresh_token": answer.json()["refresh_token"]})
        return _wrong(answer)


def _wrong(answer: httpx.Response) -> str:
    return "" if answer.is_success else f"{answer.status_code} {answer.text[:300]}"


@dataclass
class Scene:
    """A platform with an attacker and a bystander."""

    attacker: Account
    bystander: Bystander
    port: int
    job_id: str
    site: Site

    async def target(self) -> Target:
        """The input of an attack."""
        waiting = await self.attacker.job(url=self.site.url("/stalled"))
        hostile = self.site.url("/interim")
        return Target(self.port, self.attacker.token, self.job_id, waiting, hostile)

    @asynccontextmanager
    async def attacked(self, name: str) -> AsyncIterator[str]:
        """Run an attack while the context is open; yields the responses that it had until then."""
        # All attacks together take longer than a token lasts.
        for account in (self.attacker, self.bystander.account):
            await account.sign_in()
        target = json.dumps(asdict(await self.target()))
        command = [sys.executable, "-m", "tests.security.exhaustion", name, target]
        async with children.start(command, limits=LIMITS) as child:
            async with asyncio.timeout(4 * OPENED_SECONDS):
                line = await child.stdout.readline()
            assert line, f"the attack {name} broke off"
            yield line.decode().strip()
            child.process.kill()


@asynccontextmanager
async def scene(folder: Path, certificates: Path, *options: str) -> AsyncIterator[Scene]:
    """Run a platform (`moneyprinter up` with options) with two users while the context is open."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "gateway" / "cert.pem", certificates / "gateway" / "key.pem")
    authority = {"MONEYPRINTER_VALIDATION_EXTRA_AUTHORITY": str(certificates / "ca.pem")}
    noise = media.clip(folder / "noise.mp4", NOISE, size=(640, 360), seconds=2.0).read_bytes()
    small = media.corners(folder / "small.mp4", seconds=1.0).read_bytes()
    async with (
        Site(context) as site,
        up(folder / "data", *options, environment={**SETTINGS, **authority}) as running,
        _account(running.url, "mallory", "127.0.0.1") as attacker,
        _account(running.url, "bob", "127.0.0.2") as bystander,
        httpx.AsyncClient(base_url=running.url, transport=_from("127.0.0.2"), timeout=PATIENCE_SECONDS) as elsewhere,
    ):
        site.stalled("/stalled")
        site.page("/interim", _interim)
        job_id = await attacker.job(await attacker.upload(noise), resolution="720p")
        asset = await bystander.upload(small)
        own = await bystander.job(asset)
        await asyncio.gather(attacker.finished(job_id), bystander.finished(own))
        second = Bystander(bystander, elsewhere, small, asset, own)
        yield Scene(attacker, second, int(running.url.rpartition(":")[2]), job_id, site)


async def _interim(writer: asyncio.StreamWriter) -> None:
    while not writer.transport.is_closing():
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 100)
        await writer.drain()
        # This process also runs the bystander.
        await asyncio.sleep(0.01)


def _from(address: str) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(local_address=address)


@asynccontextmanager
async def _account(url: str, name: str, address: str) -> AsyncIterator[Account]:
    async with httpx.AsyncClient(base_url=url, transport=_from(address), timeout=PATIENCE_SECONDS) as http:
        body = {"username": name, "password": PASSWORD}
        registered = await http.post("/v1/auth/register", json=body)
        assert registered.is_success, registered.text
        account = Account(name, http)
        await account.sign_in()
        yield account

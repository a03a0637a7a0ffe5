"""Random work: users create videos of clips, of topics with a review, and of own recordings; they revise, approve,
cancel, retry, delete and repeat them, upload and download. Notes record it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
# Valid responses besides success: the job has ended or is deleted meanwhile, or a limit is exceeded.
EXPECTED = {400, 404, 409, 429}
MOST_AT_ONCE = 2
TOPICS = ("Why the sea is salty", "How bees find their way", "The oldest bridges")
# A sentence in Italian with its recording, which the tests of the alignment use, too.
RECORDING = Path(__file__).parents[1] / "audio" / "alignment" / "it.opus"
RECORDED = json.loads(RECORDING.with_suffix(".json").read_text())["sentences"]


@dataclass
class Notes:
    """The responses to all users, and what they know of their jobs."""

    accepted: dict[str, str] = field(default_factory=dict)
    """The user of every accepted job (202)."""
    deleted: set[str] = field(default_factory=set)
    """Jobs with a deletion request, whatever the response."""
    ends_more: Counter[str] = field(default_factory=Counter)
    """The maximum number of retries of each job; after each it may end once more."""
    cancelled: set[str] = field(default_factory=set)
    """Jobs with a cancellation request, whatever the response."""
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    """Calls without a response, by kind of failure."""
    wrong: list[str] = field(default_factory=list)
    """Invalid responses."""


class User:
    """A user that makes random calls, one after another."""

    def __init__(self, name: str, password: str, url: str, clip: bytes, seed: int, notes: Notes) -> None:
        self.name = name
        self.assets: list[str] = []
        self.recording = ""
        """The upload of a recording."""
        self.jobs: list[str] = []
        self.http = httpx.AsyncClient(base_url=url, timeout=20)
        self._password = password
        self._clip = clip
        self._random = random.Random(f"{seed} {name}")
        self._notes = notes
        self._requests: dict[str, Any] = {}
        """The requests, by idempotency key."""
        self._made: dict[str, str] = {}
        """The jobs, by idempotency key."""

    async def sign_in(self) -> bool:
        """Get a new token; returns whether that succeeded."""
        answer = await self.call(
            "POST", "/v1/auth/sign-in", json={"username": self.name, "password": self._password}, name="sign-in"
        )
        if answer is None or answer.status_code != httpx.codes.OK:
            return False
        self.http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        return True

    async def work(self, until: asyncio.Event) -> None:
        """Make random calls until `until` is set."""
        creates = (self.create, self.create, self.create_from_topic, self.create_from_recording)
        deeds = (*creates, self.repeat, self.revise, self.approve, self.approve, self.cancel, self.retry, self.delete)
        looks = (self.upload, self.download, self.look, self.look)
        while not until.is_set():
            if "authorization" not in self.http.headers and not await self.sign_in():
                await asyncio.sleep(1)
                continue
            await self._random.choice(deeds + looks)()
            await asyncio.sleep(self._random.uniform(0.2, 2.0))

    async def call(self, method: str, path: str, *, name: str, **options: Any) -> httpx.Response | None:
        """Call the gateway and record the response; returns None when there was none."""
        try:
            answer = await self.http.request(method, path, **options)
        except httpx.HTTPError as failure:
            self._notes.cut[type(failure).__name__] += 1
            return None
        code = answer.status_code
        self._notes.answers[name, code] += 1
        if code == httpx.codes.UNAUTHORIZED and name != "sign-in":
            self.http.headers.pop("authorization", None)
        elif code >= httpx.codes.INTERNAL_SERVER_ERROR:
            if not answer.headers.get("retry-after"):
                self._notes.wrong.append(f"{method} {path}: {code} without retry-after: {answer.text[:300]}")
        elif code >= httpx.codes.BAD_REQUEST and code not in EXPECTED:
            self._notes.wrong.append(f"{method} {path}: {code} {answer.text[:300]}")
        return answer

    async def create(self) -> None:
        if await self._busy():
            return
        clips: list[dict[str, Any]] = [{"colour": f"#{self._random.randrange(1 << 24):06x}", "duration": 1}]
        if self.assets:
            clips.append({"asset_id": self._random.choice(self.assets)})
        wish = {
            "title": f"{self.name} {self._random.randrange(1000)}",
            "clips": clips,
            "audio": {"script": " ".join(self._random.choices(WORDS, k=6)) + "."},
            "settings": {"resolution": "480p", "quality": "draft"},
        }
        await self._request(wish)

    async def create_from_topic(self) -> None:
        """Create a video of a topic, whose script waits for a review."""
        if not await self._busy():
            await self._request(
                {
                    "title": self._random.choice(TOPICS),
                    "writing": {"language": "en", "seconds": 6, "scene_count": 1},
                    "settings": {"resolution": "480p", "quality": "draft", "frame_rate": 24},
                    "review": "script",
                }
            )

    async def create_from_recording(self) -> None:
        """Create a video whose narration is an upload."""
        if not self.recording:
            self.recording = await self._upload("voice.opus", RECORDING.read_bytes())
        if self.recording and not await self._busy():
            script = " ".join(sentence["text"] for sentence in RECORDED)
            await self._request(
                {
                    "title": f"{self.name} speaks",
                    "clips": [{"colour": "#203040", "duration": 1}],
                    "audio": {"script": script, "voice": "it-IT", "narration_asset_id": self.recording},
                    "settings": {"width": 160, "height": 90, "quality": "draft"},
                }
            )

    async def approve(self) -> None:
        """Approve the scripts that wait for a review."""
        answer = await self.call("GET", "/v1/videos?status=processing", name="list")
        for video in answer.json()["videos"] if answer is not None and answer.status_code == httpx.codes.OK else ():
            await self.call("POST", f"/v1/videos/{video['job_id']}/approve", json={}, name="approve")

    async def _request(self, wish: dict[str, Any]) -> None:
        key = f"{self.name}-{self._random.randrange(1 << 40)}"
        self._requests[key] = wish
        await self._post(key)

    async def repeat(self) -> None:
        """Send a request again with its key: the response must name the same job."""
        keys = [key for key in self._requests if self._made.get(key) not in self._notes.deleted]
        if keys:
            await self._post(self._random.choice(keys))

    async def _post(self, key: str) -> None:
        wish = self._requests[key]
        answer = await self.call("POST", "/v1/videos", json=wish, headers={"idempotency-key": key}, name="create")
        if job := self._accepted(answer):
            known = self._made.setdefault(key, job)
            if known != job:
                self._notes.wrong.append(f"the key {key} made {known} and {job}")

    def _accepted(self, answer: httpx.Response | None) -> str:
        if answer is None or answer.status_code != httpx.codes.ACCEPTED:
            return ""
        job = str(answer.json()["job_id"])
        if job not in self.jobs:
            self.jobs.append(job)
        self._notes.accepted[job] = self.name
        return job

    async def _busy(self) -> bool:
        answer = await self.call("GET", "/v1/videos?status=processing", name="list")
        return answer is None or answer.status_code != 200 or len(answer.json()["videos"]) >= MOST_AT_ONCE

    def _some(self) -> str:
        return self._random.choice(self.jobs) if self.jobs else ""

    async def revise(self) -> None:
        if (job := self._some()) and not await self._busy():
            changes = {"settings": {"aspect_ratio": self._random.choice(["16:9", "9:16", "1:1"])}}
            self._accepted(await self.call("POST", f"/v1/videos/{job}/revise", json=changes, name="revise"))

    async def cancel(self) -> None:
        if job := self._some():
            self._notes.cancelled.add(job)
            await self.call("POST", f"/v1/videos/{job}/cancel", name="cancel")

    async def retry(self) -> None:
        if job := self._some():
            answer = await self.call("POST", f"/v1/videos/{job}/retry", name="retry")
            if answer is None or answer.status_code not in EXPECTED:
                self._notes.ends_more[job] += 1

    async def delete(self) -> None:
        if self._random.random() < 0.5 and (job := self._some()):
            self._notes.deleted.add(job)
            await self.call("DELETE", f"/v1/videos/{job}", name="delete")

    async def upload(self) -> None:
        if len(self.assets) < 3 and (asset := await self._upload("clip.mp4", self._clip)):
            self.assets.append(asset)

    async def _upload(self, filename: str, content: bytes) -> str:
        answer = await self.call("POST", f"/v1/assets?filename={filename}", content=content, name="upload")
        created = answer is not None and answer.status_code == httpx.codes.CREATED
        return str(answer.json()["asset_id"]) if answer is not None and created else ""

    async def download(self) -> None:
        if job := self._some():
            await self.call("GET", f"/v1/videos/{job}/file", name="download")

    async def look(self) -> None:
        if job := self._some():
            answer = await self.call("GET", f"/v1/videos/{job}/status", name="status")
            if answer is not None and answer.status_code == 200 and answer.json()["status"] == "failed":
                self._notes.wrong.append(f"{job} failed: {json.dumps(answer.json())[:400]}")

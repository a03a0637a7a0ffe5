"""Links: signed URLs of the files and the preview of a video, which expire and can be revoked.

    /v1/links/<job>/<ticket>/files/<name>          one file
    /v1/links/<job>/<ticket>/preview.m3u8          the preview, whose playlists have relative URLs
    /v1/links/<job>/<ticket>/preview/<name>

A ticket is `<expiry>.<id>.<signature>`. The signature is the HMAC-SHA256 of the job, the id, the expiry and the file,
under a key that the config service stores. So an altered link is refused without a read of the database, and a row for
each id makes links revocable.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from moneyprinter.errors import PermissionDenied
from services.orchestrator.jobs.store import Store
from services.orchestrator.videos.videos import find_video
from services.runtime.secrets import LazyKey

KEY_NAME = "orchestrator/link-key"
DEFAULT_SECONDS = 3600
MAX_LINKS = 100
"""The number of valid links of one video."""
MAX_CACHE_SECONDS = 300
"""How long caches may keep a file: a revoked link works no longer than this."""

_PREVIEW = "preview"


@dataclass(frozen=True)
class Link:
    """A link in the store."""

    id: str
    job_id: str
    user_id: str
    expire_time: datetime


@dataclass(frozen=True)
class VideoLinks:
    """The links of one request."""

    expire_time: datetime
    preview: str
    files: dict[str, str]
    """The link to each file of the finished video, by name; the video itself comes first."""

    def find(self, name: str) -> str:
        """Return the link to a file; empty when there is none."""
        return self.files.get(name, "")


class LinkStore(Protocol):
    """The links that were created and not revoked."""

    async def add(self, link: Link, at_most: int, now: datetime) -> None:
        """Store a link. Raises `ResourceExhausted` when its job has `at_most` that are valid."""

    async def find_owner(self, link_id: str, job_id: str) -> str | None:
        """Return the user whose link it is; None when it does not exist, or was revoked."""

    async def delete(self, user_id: str, job_id: str) -> None:
        """Delete all links of a user's job."""


@dataclass
class Links:
    """Creates, checks and revokes links."""

    store: Store
    links: LinkStore
    key: LazyKey
    now: Callable[[], datetime]
    new_id: Callable[[str], str]

    async def create(self, user_id: str, job_id: str, seconds: int) -> VideoLinks:
        """Create links that are valid for `seconds`; 0: DEFAULT_SECONDS. Raises `NotFound`, `ResourceExhausted`."""
        job = await find_video(self.store, user_id, job_id)
        now = self.now().replace(microsecond=0)
        link = Link(self.new_id("lnk"), job.id, user_id, now + timedelta(seconds=seconds or DEFAULT_SECONDS))
        key = await self.key.fetch()
        await self.links.add(link, MAX_LINKS, now)
        files = {
            file.name: f"{_root(link, key, _file_scope(file.name))}/files/{file.name}"
            for file in (job.result.files if job.result else ())
        }
        return VideoLinks(link.expire_time, f"{_root(link, key, _PREVIEW)}/preview.m3u8", files)

    async def revoke(self, user_id: str, job_id: str) -> None:
        """Revoke all links of a video. Raises `NotFound`."""
        await self.links.delete(user_id, (await find_video(self.store, user_id, job_id)).id)

    async def check_file(self, job_id: str, ticket: str, name: str) -> tuple[str, int]:
        """Return the owner of the file of a link, and for how many seconds caches may keep it.

        Raises `PermissionDenied` (LINK_INVALID).
        """
        return await self._check(job_id, ticket, _file_scope(name))

    async def check_preview(self, job_id: str, ticket: str) -> tuple[str, int]:
        """Return the owner of the preview of a link, and for how many seconds caches may keep a segment.

        Raises `PermissionDenied` (LINK_INVALID).
        """
        return await self._check(job_id, ticket, _PREVIEW)

    async def _check(self, job_id: str, ticket: str, scope: str) -> tuple[str, int]:
        expiry, _, rest = ticket.partition(".")
        link_id, _, signature = rest.partition(".")
        if not (expiry.isascii() and expiry.isdecimal() and len(expiry) <= 12):
            raise _invalid()
        expected = _sign(await self.key.fetch(), job_id, link_id, expiry, scope)
        left = int(expiry) - self.now().timestamp()
        if not hmac.compare_digest(signature, expected) or left <= 0:
            raise _invalid()
        owner = await self.links.find_owner(link_id, job_id)
        if owner is None:
            raise _invalid()
        return owner, min(MAX_CACHE_SECONDS, int(left))


def _file_scope(name: str) -> str:
    return f"file {name}"


def _root(link: Link, key: bytes, scope: str) -> str:
    """Return the path of a link up to its ticket."""
    expiry = str(int(link.expire_time.astimezone(UTC).timestamp()))
    return f"/v1/links/{link.job_id}/{expiry}.{link.id}.{_sign(key, link.job_id, link.id, expiry, scope)}"


def _sign(key: bytes, job_id: str, link_id: str, expiry: str, scope: str) -> str:
    text = "\n".join(("moneyprinter link", job_id, link_id, expiry, scope))
    return base64.urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).decode().rstrip("=")


def _invalid() -> PermissionDenied:
    return PermissionDenied(
        "this link is not valid: it has expired, was revoked, or was altered; create new links of the video",
        reason="LINK_INVALID",
    )

"""Coverr: https://api.coverr.co/docs/videos/."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from services.content.footage.answers import (
    may_download,
    read_address,
    read_items,
    read_number,
    read_object,
    read_text,
    without_duplicates,
)
from services.content.footage.clips import Credit, FootageClip, FootageQuery
from services.providers.client import ProviderClient

NAME = "coverr"
BASE_URL = "https://api.coverr.co"
HOSTS = ("storage.coverr.co", "cdn.coverr.co")

_LICENCE, _LICENCE_URL = "Coverr License", "https://coverr.co/license"
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Coverr:
    """The videos of Coverr.

    Args:
        client: Calls the provider.
        hosts: The hosts of files; clips on others are left out.
    """

    name = NAME

    def __init__(self, client: ProviderClient, hosts: Sequence[str] = HOSTS) -> None:
        self._client = client
        self._hosts = hosts

    async def search(self, query: FootageQuery) -> Sequence[FootageClip]:
        """Return the clips that fit a query, the best ones first. Raises `ProviderFailure`."""
        params = {"query": query.words, "page_size": str(max(1, min(50, query.limit))), "urls": "true"}
        document = await self._client.request_json("GET", "/videos", params=params)
        hits = read_items(NAME, document, "hits")
        return without_duplicates((clip for each in hits if (clip := self._to_clip(each))), query.limit)

    def _to_clip(self, hit: Mapping[str, Any]) -> FootageClip | None:
        number, seconds = read_text(hit, "id"), read_number(hit, "duration")
        # The address for downloads counts the use of a clip for its author.
        url = read_address(read_object(hit, "urls"), "mp4_download") or read_address(read_object(hit, "urls"), "mp4")
        if not _ID.fullmatch(number) or not may_download(url, self._hosts) or not seconds:
            return None
        tags, creator = hit.get("tags"), read_object(hit, "creator")
        words = [read_text(hit, "title"), *(each for each in (tags if isinstance(tags, list) else []))]
        page = read_address(hit, "canonical_url").partition("?")[0] or f"https://coverr.co/videos/{quote(number)}"
        return FootageClip(
            key=f"{NAME}:{number}",
            description=" ".join(word for word in words if isinstance(word, str))[:1000],
            url=url,
            width=int(read_number(hit, "max_width")),
            height=int(read_number(hit, "max_height")),
            seconds=seconds,
            preview_url=read_address(hit, "thumbnail") or read_address(hit, "poster"),
            credit=Credit(
                NAME,
                read_text(creator, "name"),
                read_address(creator, "profile_url").partition("?")[0],
                _LICENCE,
                _LICENCE_URL,
                page,
            ),
        )

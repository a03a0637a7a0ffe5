"""Coverr: https://api.coverr.co/docs/videos/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from services.content.footage.answers import (
    StockSource,
    may_download,
    read_address,
    read_number,
    read_object,
    read_text,
)
from services.content.footage.clips import Credit, FootageClip, FootageQuery

NAME = "coverr"
BASE_URL = "https://api.coverr.co"
HOSTS = ("storage.coverr.co", "cdn.coverr.co")

_LICENCE, _LICENCE_URL = "Coverr License", "https://coverr.co/license"
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Coverr(StockSource):
    """The videos of Coverr."""

    name = NAME
    results = "hits"

    def _build_request(self, query: FootageQuery) -> tuple[str, Mapping[str, str]]:
        params = {"query": query.words, "page_size": str(max(1, min(50, query.limit))), "urls": "true"}
        return "/videos", params

    def _to_clip(self, item: Mapping[str, Any], query: FootageQuery) -> FootageClip | None:
        number, seconds = read_text(item, "id"), read_number(item, "duration")
        # The address for downloads counts the use of a clip for its author.
        url = read_address(read_object(item, "urls"), "mp4_download") or read_address(read_object(item, "urls"), "mp4")
        if not _ID.fullmatch(number) or not may_download(url, self.hosts) or not seconds:
            return None
        tags, creator = item.get("tags"), read_object(item, "creator")
        words = [read_text(item, "title"), *(each for each in (tags if isinstance(tags, list) else []))]
        page = read_address(item, "canonical_url").partition("?")[0] or f"https://coverr.co/videos/{quote(number)}"
        return FootageClip(
            key=f"{NAME}:{number}",
            description=" ".join(word for word in words if isinstance(word, str))[:1000],
            url=url,
            width=int(read_number(item, "max_width")),
            height=int(read_number(item, "max_height")),
            seconds=seconds,
            preview_url=read_address(item, "thumbnail") or read_address(item, "poster"),
            credit=Credit(
                NAME,
                read_text(creator, "name"),
                read_address(creator, "profile_url").partition("?")[0],
                _LICENCE,
                _LICENCE_URL,
                page,
            ),
        )

"""Pixabay: https://pixabay.com/api/docs/#api_search_videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from services.content.footage.answers import (
    ClipFile,
    StockSource,
    choose_file,
    may_download,
    read_address,
    read_number,
    read_object,
    read_text,
)
from services.content.footage.clips import Credit, FootageClip, FootageQuery
from services.providers.client import Authentication

NAME = "pixabay"
BASE_URL = "https://pixabay.com"
HOSTS = ("cdn.pixabay.com",)
# Pixabay answers 400 to a wrong key; our other parameters are always valid.
KEY_STATUSES = (400, 401, 403)

_LANGUAGES = (
    *("cs", "da", "de", "en", "es", "fr", "id", "it", "hu", "nl", "no", "pl", "pt"),
    *("ro", "sk", "fi", "sv", "tr", "vi", "th", "bg", "ru", "el", "ja", "ko", "zh"),
)
_LICENCE, _LICENCE_URL = "Pixabay Content License", "https://pixabay.com/service/license-summary/"
_MAX_QUERY = 100
_SIZES = ("large", "medium", "small", "tiny")


def authenticate(key: str) -> Authentication:
    """The key in the parameter `key`."""
    return Authentication(params={"key": key})


class Pixabay(StockSource):
    """The videos of Pixabay, which cannot be searched for an orientation."""

    name = NAME
    results = "hits"

    def _build_request(self, query: FootageQuery) -> tuple[str, Mapping[str, str]]:
        params = {
            "q": query.words[:_MAX_QUERY],
            "per_page": str(max(3, min(200, query.limit))),
            "safesearch": "true",
            "lang": query.language if query.language in _LANGUAGES else "en",
        }
        return "/api/videos/", params

    def _to_clip(self, item: Mapping[str, Any], query: FootageQuery) -> FootageClip | None:
        number, sizes = read_text(item, "id"), read_object(item, "videos")
        files = {
            size: ClipFile(read_address(each, "url"), int(read_number(each, "width")), int(read_number(each, "height")))
            for size in _SIZES
            if (each := read_object(sizes, size))
        }
        offered = [each for each in files.values() if may_download(each.url, self.hosts)]
        file, seconds = choose_file(offered, query.cover), read_number(item, "duration")
        if not number.isdigit() or file is None or not seconds:
            return None
        author, author_id = read_text(item, "user"), read_text(item, "user_id")
        page = f"{BASE_URL}/users/{quote(author.lower(), safe='')}-{author_id}/"
        return FootageClip(
            key=f"{NAME}:{number}",
            description=read_text(item, "tags").replace(",", ""),
            url=file.url,
            width=file.width,
            height=file.height,
            seconds=seconds,
            preview_url=next((address for size in _SIZES if (address := _thumbnail(sizes, size))), ""),
            credit=Credit(
                NAME,
                author,
                page if author and author_id.isdigit() else "",
                _LICENCE,
                _LICENCE_URL,
                read_address(item, "pageURL"),
            ),
        )


def _thumbnail(sizes: Mapping[str, Any], size: str) -> str:
    return read_address(read_object(sizes, size), "thumbnail")

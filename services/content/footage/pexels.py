"""Pexels: https://www.pexels.com/api/documentation/#videos-search."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from services.content.footage.answers import (
    ClipFile,
    choose_file,
    may_download,
    read_address,
    read_items,
    read_number,
    read_object,
    read_text,
    without_duplicates,
)
from services.content.footage.clips import Credit, FootageClip, FootageQuery
from services.providers.client import Authentication, ProviderClient

NAME = "pexels"
BASE_URL = "https://api.pexels.com"
HOSTS = ("videos.pexels.com",)

_LOCALES = {
    locale.partition("-")[0]: locale
    for locale in (
        *("zh-CN", "en-US", "pt-BR", "es-ES", "ca-ES", "de-DE", "it-IT", "fr-FR", "sv-SE", "id-ID", "pl-PL", "ja-JP"),
        *("ko-KR", "th-TH", "nl-NL", "hu-HU", "vi-VN", "cs-CZ", "da-DK", "fi-FI", "uk-UA", "el-GR", "ro-RO", "nb-NO"),
        *("sk-SK", "tr-TR", "ru-RU"),
    )
}
_LICENCE, _LICENCE_URL = "Pexels License", "https://www.pexels.com/license/"
# The words in the address of a clip's page, before its id: `/video/sea-waves-at-sunset-1526909/`.
_WORDS_OF_PAGE = re.compile(r"/video/([a-z0-9-]+?)-?\d*/?$")


def authenticate(key: str) -> Authentication:
    """The key alone in the header `Authorization`."""
    return Authentication({"Authorization": key})


class Pexels:
    """The videos of Pexels.

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
        params = {"query": query.words, "per_page": str(max(1, min(80, query.limit)))}
        if query.orientation:
            params["orientation"] = query.orientation.value
        if locale := _LOCALES.get(query.language):
            params["locale"] = locale
        document = await self._client.request_json("GET", "/videos/search", params=params)
        videos = read_items(NAME, document, "videos")
        return without_duplicates((clip for each in videos if (clip := self._to_clip(each, query))), query.limit)

    def _to_clip(self, video: Mapping[str, Any], query: FootageQuery) -> FootageClip | None:
        number, page = read_text(video, "id"), read_address(video, "url")
        files = video.get("video_files")
        offered = [
            ClipFile(read_address(each, "link"), int(read_number(each, "width")), int(read_number(each, "height")))
            for each in (files if isinstance(files, list) else [])
            if isinstance(each, Mapping) and each.get("file_type") == "video/mp4"
        ]
        file = choose_file([each for each in offered if may_download(each.url, self._hosts)], query.cover)
        seconds = read_number(video, "duration")
        if not number.isdigit() or file is None or not seconds:
            return None
        user, words = read_object(video, "user"), _WORDS_OF_PAGE.search(page)
        return FootageClip(
            key=f"{NAME}:{number}",
            description=words[1].replace("-", " ") if words else "",
            url=file.url,
            width=file.width,
            height=file.height,
            seconds=seconds,
            preview_url=read_address(video, "image"),
            credit=Credit(NAME, read_text(user, "name"), read_address(user, "url"), _LICENCE, _LICENCE_URL, page),
        )

"""Pexels: https://www.pexels.com/api/documentation/#videos-search."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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


class Pexels(StockSource):
    """The videos of Pexels."""

    name = NAME
    results = "videos"

    def _build_request(self, query: FootageQuery) -> tuple[str, Mapping[str, str]]:
        params = {"query": query.words, "per_page": str(max(1, min(80, query.limit)))}
        if query.orientation:
            params["orientation"] = query.orientation.value
        if locale := _LOCALES.get(query.language):
            params["locale"] = locale
        return "/videos/search", params

    def _to_clip(self, item: Mapping[str, Any], query: FootageQuery) -> FootageClip | None:
        number, page = read_text(item, "id"), read_address(item, "url")
        files = item.get("video_files")
        offered = [
            ClipFile(read_address(each, "link"), int(read_number(each, "width")), int(read_number(each, "height")))
            for each in (files if isinstance(files, list) else [])
            if isinstance(each, Mapping) and each.get("file_type") == "video/mp4"
        ]
        file = choose_file([each for each in offered if may_download(each.url, self.hosts)], query.cover)
        seconds = read_number(item, "duration")
        if not number.isdigit() or file is None or not seconds:
            return None
        user, words = read_object(item, "user"), _WORDS_OF_PAGE.search(page)
        return FootageClip(
            key=f"{NAME}:{number}",
            description=words[1].replace("-", " ") if words else "",
            url=file.url,
            width=file.width,
            height=file.height,
            seconds=seconds,
            preview_url=read_address(item, "image"),
            credit=Credit(NAME, read_text(user, "name"), read_address(user, "url"), _LICENCE, _LICENCE_URL, page),
        )

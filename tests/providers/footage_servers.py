"""Servers that stand for Pexels, Pixabay and Coverr: each checks requests as its documentation describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from tests.providers.provider_server import Answer, ProviderServer, Request, json_answer

KEYS = ("first-key-4711", "second-key-4712")

PEXELS_LOCALES = (
    *("en-US", "pt-BR", "es-ES", "ca-ES", "de-DE", "it-IT", "fr-FR", "sv-SE", "id-ID", "pl-PL", "ja-JP", "zh-TW"),
    *("zh-CN", "ko-KR", "th-TH", "nl-NL", "hu-HU", "vi-VN", "cs-CZ", "da-DK", "fi-FI", "uk-UA", "el-GR", "ro-RO"),
    *("nb-NO", "sk-SK", "tr-TR", "ru-RU"),
)
PIXABAY_LANGUAGES = (
    *("cs", "da", "de", "en", "es", "fr", "id", "it", "hu", "nl", "no", "pl", "pt"),
    *("ro", "sk", "fi", "sv", "tr", "vi", "th", "bg", "ru", "el", "ja", "ko", "zh"),
)


def one_of(*values: str) -> Callable[[str], bool]:
    return lambda value: value in values


def number(least: int, most: int) -> Callable[[str], bool]:
    return lambda value: value.isdigit() and least <= int(value) <= most


class FootageServer(ProviderServer):
    """The search of a provider. `results` are the items of its answers, for each query; others have none."""

    path = ""
    query_name = "query"
    parameters: ClassVar[Mapping[str, Callable[[str], bool]]] = {}

    def __init__(self, results: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> None:
        super().__init__()
        self.results = dict(results or {})
        self.remaining = 200

    def handle(self, request: Request) -> Answer:
        query = dict(request.query)
        if self.take_key(request, query) not in KEYS:
            return self.refuse("the key is missing or wrong", self.wrong_key())
        if (request.method, request.path) != ("GET", self.path):
            return self.refuse(f"{request.method} {request.path}", json_answer({"error": "not found"}, 404))
        for name, value in query.items():
            if name not in self.parameters or not self.parameters[name](value):
                return self.refuse(f"{name}={value}", json_answer({"error": f"invalid {name}"}, 400))
        if not query.get(self.query_name):
            return self.refuse("the query is missing", json_answer({"error": "invalid query"}, 400))
        self.remaining -= 1
        return self.found(self.results.get(query[self.query_name], ()), query)

    @property
    def searches(self) -> list[str]:
        return [request.query[self.query_name] for request in self.requests]

    def take_key(self, request: Request, query: dict[str, str]) -> str:
        raise NotImplementedError

    def wrong_key(self) -> Answer:
        return json_answer({"error": "unauthorized"}, 401)

    def found(self, items: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> Answer:
        raise NotImplementedError


class PexelsServer(FootageServer):
    """https://www.pexels.com/api/documentation/#videos-search"""

    path = "/videos/search"
    parameters: ClassVar = {
        "query": bool,
        "orientation": one_of("landscape", "portrait", "square"),
        "size": one_of("large", "medium", "small"),
        "locale": one_of(*PEXELS_LOCALES),
        "page": number(1, 10_000),
        "per_page": number(1, 80),
    }

    def take_key(self, request: Request, query: dict[str, str]) -> str:
        return request.headers.get("authorization", "")

    def found(self, items: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> Answer:
        page = {"page": 1, "per_page": int(query.get("per_page", "15")), "total_results": len(items)}
        limits: dict[str, Any] = {"x_ratelimit_limit": "25000", "x_ratelimit_remaining": str(self.remaining)}
        return json_answer({**page, "videos": items, "url": "https://api-server.pexels.com/search/videos/"}, **limits)


class PixabayServer(FootageServer):
    """https://pixabay.com/api/docs/#api_search_videos"""

    path = "/api/videos/"
    query_name = "q"
    parameters: ClassVar = {
        "q": lambda value: 0 < len(value) <= 100,
        "lang": one_of(*PIXABAY_LANGUAGES),
        "id": str.isdigit,
        "video_type": one_of("all", "film", "animation"),
        "min_width": number(0, 10_000),
        "min_height": number(0, 10_000),
        "editors_choice": one_of("true", "false"),
        "safesearch": one_of("true", "false"),
        "order": one_of("popular", "latest"),
        "page": number(1, 10_000),
        "per_page": number(3, 200),
        "pretty": one_of("true", "false"),
    }

    def take_key(self, request: Request, query: dict[str, str]) -> str:
        return query.pop("key", "")

    def wrong_key(self) -> Answer:
        text = b"[ERROR 400] Invalid or missing API key (https://pixabay.com/api/docs/)."
        return Answer(400, text, {"content-type": "text/html; charset=UTF-8"})

    def found(self, items: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> Answer:
        limits: dict[str, Any] = {
            "x_ratelimit_limit": "100",
            "x_ratelimit_remaining": str(self.remaining),
            "x_ratelimit_reset": "60",
        }
        return json_answer({"total": len(items), "totalHits": len(items), "hits": items}, **limits)


class CoverrServer(FootageServer):
    """https://api.coverr.co/docs/videos/"""

    path = "/videos"
    parameters: ClassVar = {
        "query": bool,
        "page": number(0, 10_000),
        "page_size": number(1, 100),
        "sort": one_of("popular", "date"),
        "urls": one_of("true", "false"),
        "filters": bool,
    }

    def take_key(self, request: Request, query: dict[str, str]) -> str:
        return query.pop("api_key", "") or request.headers.get("authorization", "").removeprefix("Bearer ")

    def found(self, items: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> Answer:
        page = {"page": 0, "pages": 1, "page_size": int(query.get("page_size", "20")), "total": len(items)}
        return json_answer({**page, "hits": items})


def pexels_video(number: int, words: str = "sea-waves", seconds: float = 14, **changes: Any) -> dict[str, Any]:
    """A video as Pexels describes it, in three sizes of portrait and one of another type."""
    files = [
        {"id": number * 10 + width, "quality": "hd", "file_type": kind, "width": width, "height": height, "fps": 25.0,
         "link": f"https://videos.pexels.com/video-files/{number}/{number}-hd_{width}_{height}_25fps.mp4"}
        for kind, width, height in (
            ("video/mp4", 2160, 3840), ("video/mp4", 1080, 1920), ("video/mp4", 540, 960), ("video/webm", 1080, 1920),
        )
    ]  # fmt: skip
    return {
        "id": number, "width": 2160, "height": 3840, "duration": seconds, "full_res": None, "tags": [],
        "url": f"https://www.pexels.com/video/{words}-{number}/",
        "image": f"https://images.pexels.com/videos/{number}/free-video-{number}.jpg?auto=compress",
        "user": {"id": 680589, "name": "Ana Silva", "url": "https://www.pexels.com/@ana-680589"},
        "video_files": files,
        "video_pictures": [{"id": 1, "picture": f"https://images.pexels.com/videos/{number}/0.jpg", "nr": 0}],
        **changes,
    }  # fmt: skip


def pixabay_hit(number: int, tags: str = "sea, waves, ocean", seconds: int = 20, **changes: Any) -> dict[str, Any]:
    """A video as Pixabay describes it; its largest size is missing, as it often is."""
    sizes = {
        size: {
            "url": f"https://cdn.pixabay.com/video/2024/05/01/{number}_{size}.mp4",
            "width": width, "height": height, "size": width * 1000,
            "thumbnail": f"https://cdn.pixabay.com/video/2024/05/01/{number}_{size}.jpg",
        }
        for size, width, height in (("medium", 1920, 1080), ("small", 1280, 720), ("tiny", 960, 540))
    }  # fmt: skip
    sizes["large"] = {"url": "", "width": 0, "height": 0, "size": 0, "thumbnail": ""}
    return {
        "id": number, "pageURL": f"https://pixabay.com/videos/id-{number}/", "type": "film", "tags": tags,
        "duration": seconds, "videos": sizes, "views": 1, "downloads": 1, "likes": 1, "comments": 0, "user_id": 12,
        "user": "Müller", "userImageURL": "", **changes,
    }  # fmt: skip


def coverr_hit(name: str, title: str = "Sea waves", seconds: Any = "11.625000", **changes: Any) -> dict[str, Any]:
    """A video as Coverr describes it; its duration is a text, as it often is."""
    return {
        "id": name, "title": title, "tags": ["sea", "beach"], "duration": seconds, "is_vertical": False,
        "max_width": 3840, "max_height": 2160, "aspect_ratio": "16:9",
        "poster": f"https://cdn.coverr.co/{name}/poster.jpg", "thumbnail": f"https://cdn.coverr.co/{name}/thumb.jpg",
        "urls": {
            "mp4": f"https://storage.coverr.co/videos/{name}?token=t",
            "mp4_preview": f"https://storage.coverr.co/videos/{name}/preview?token=t",
            "mp4_download": f"https://storage.coverr.co/videos/{name}/download?token=t",
        },
        **changes,
    }  # fmt: skip

"""Answers: read the search results of providers, which may hold anything.

Fields of a wrong type count as missing. Addresses must be https; those of files must be on a host of the provider.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from services.content.footage.clips import FootageClip, FootageQuery, Shape
from services.providers.client import ProviderClient
from services.providers.failures import FailureKind, ProviderFailure

MAX_TEXT, MAX_ADDRESS = 200, 2048
# What a scene needs at most: larger files cost time, and show nothing more.
MAX_PIXELS = 4096 * 2304
_ADDRESS = re.compile(r"https://[\x21-\x7e]+")


@dataclass(frozen=True)
class ClipFile:
    """A file of a clip."""

    url: str
    width: int
    height: int


def read_items(provider: str, document: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the objects in a list of a document.

    Raises `ProviderFailure` with the kind BAD_RESPONSE when the document has no such list.
    """
    items = document.get(name) if isinstance(document, Mapping) else None
    if not isinstance(items, list):
        message = f"{provider}: its answer has no list of results; check the address of the provider"
        raise ProviderFailure(provider, FailureKind.BAD_RESPONSE, message)
    return [item for item in items if isinstance(item, Mapping)]


def read_object(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object in a field; empty when it is missing."""
    value = item.get(name)
    return value if isinstance(value, Mapping) else {}


def read_text(item: Mapping[str, Any], name: str) -> str:
    """Return a text, or a number as one, in a line without control characters; empty when it is missing."""
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    visible = "".join(" " if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp") else each for each in str(value))
    return " ".join(visible.split())[:MAX_TEXT]


def read_number(item: Mapping[str, Any], name: str) -> float:
    """Return a number of at least 0, also one that is written as a text; 0 when it is missing."""
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return 0.0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0.0
    return number if 0 < number < 1e7 else 0.0


def read_address(item: Mapping[str, Any], name: str) -> str:
    """Return an https address without its fragment; empty when it is missing or is another address."""
    value = item.get(name)
    if not isinstance(value, str) or len(value) > MAX_ADDRESS or not _ADDRESS.fullmatch(value):
        return ""
    return value.partition("#")[0]


def may_download(url: str, hosts: Sequence[str]) -> bool:
    """Whether a file may be downloaded from an address: https, no user, and one of `hosts`.

    A host stands for its usual port; `files.example.com:8443` is another one.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError:
        return False
    host = parts.hostname if port == 443 else f"{parts.hostname}:{port}"
    return parts.scheme == "https" and parts.username is None and host in hosts


def choose_file(files: Sequence[ClipFile], cover: Shape) -> ClipFile | None:
    """Return the smallest file that covers a shape without being scaled up, else the largest; None when there is none.

    Files of more than `MAX_PIXELS` are taken only when there is no other.
    """
    files = [file for file in files if file.width and file.height]
    usable = [file for file in files if file.width * file.height <= MAX_PIXELS] or files
    covering = [file for file in usable if file.width >= cover.width and file.height >= cover.height]
    if covering:
        return min(covering, key=lambda file: file.width * file.height)
    return max(usable, key=lambda file: file.width * file.height, default=None)


class StockSource:
    """The videos of a provider, whose adapter is a subclass.

    Args:
        client: Calls the provider.
        hosts: The hosts of files; clips on others are left out.
    """

    name: str
    results: str
    """The field of an answer that lists the results."""

    def __init__(self, client: ProviderClient, hosts: Sequence[str]) -> None:
        self.client = client
        self.hosts = hosts

    async def search(self, query: FootageQuery) -> Sequence[FootageClip]:
        """Return the clips that fit a query, the best ones first, each once. Raises `ProviderFailure`."""
        path, params = self._build_request(query)
        document = await self.client.request_json("GET", path, params=params)
        items = read_items(self.name, document, self.results)
        clips = {clip.key: clip for each in items if (clip := self._to_clip(each, query))}
        return list(clips.values())[: query.limit]

    def _build_request(self, query: FootageQuery) -> tuple[str, Mapping[str, str]]:
        """The path and the parameters of a search."""
        raise NotImplementedError

    def _to_clip(self, item: Mapping[str, Any], query: FootageQuery) -> FootageClip | None:
        """The clip of a result; None when it is not usable."""
        raise NotImplementedError

"""Library: the uploads of a user as a source of clips. Their file names describe them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from services.content.footage.clips import FootageClip, FootageQuery
from services.content.footage.words import overlap, word_set

NAME = "library"

_VIDEOS = {".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".3gp", ".gif"}
_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif"}


@dataclass(frozen=True)
class LibraryAsset:
    """An upload; a width, height or duration of 0 is unknown."""

    asset_id: str
    filename: str
    width: int = 0
    height: int = 0
    seconds: float = 0.0


class Library:
    """The videos and pictures among the uploads of a user.

    With `all_match`, uploads that match no word of a query follow those that do; otherwise they are left out.
    """

    name = NAME

    def __init__(self, assets: Sequence[LibraryAsset], *, all_match: bool = False) -> None:
        self._clips = [_to_clip(asset) for asset in assets if _is_visible(asset)]
        self._words = [word_set(clip.description) for clip in self._clips]
        self._all_match = all_match

    async def search(self, query: FootageQuery) -> Sequence[FootageClip]:
        """Return the uploads whose file names have words of the query, the best ones first."""
        wanted = word_set(query.words)
        matches = [(overlap(wanted, words), clip) for words, clip in zip(self._words, self._clips, strict=True)]
        found = sorted((pair for pair in matches if pair[0] or self._all_match), key=lambda pair: -pair[0])
        return [clip for _, clip in found[: query.limit]]


def _is_visible(asset: LibraryAsset) -> bool:
    return PurePosixPath(asset.filename.lower()).suffix in _VIDEOS | _PICTURES


def _to_clip(asset: LibraryAsset) -> FootageClip:
    return FootageClip(
        key=f"{NAME}:{asset.asset_id}",
        description=PurePosixPath(asset.filename).stem,
        asset_id=asset.asset_id,
        width=asset.width,
        height=asset.height,
        seconds=asset.seconds,
    )

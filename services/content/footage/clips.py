"""Clips: the words of the domain of footage, and the interface of its sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

# A longer clip of a provider is left out: its file would be large for a few seconds of it.
MAX_CLIP_SECONDS = 600.0


class Orientation(Enum):
    """The shape of a clip, in the words of the public interface."""

    LANDSCAPE = "landscape"
    PORTRAIT = "portrait"
    SQUARE = "square"


@dataclass(frozen=True)
class Shape:
    """The size of a video in pixels."""

    width: int
    height: int

    @property
    def orientation(self) -> Orientation:
        if abs(self.width - self.height) * 20 <= max(self.width, self.height):
            return Orientation.SQUARE
        return Orientation.LANDSCAPE if self.width > self.height else Orientation.PORTRAIT


ANY_SHAPE = Shape(0, 0)


@dataclass(frozen=True)
class Credit:
    """The origin of a clip that others made, and its licence."""

    provider: str
    author: str
    author_url: str
    licence: str
    licence_url: str
    page_url: str


@dataclass(frozen=True)
class FootageClip:
    """A clip that a source offers."""

    key: str
    """The source and the id there: `pexels:1526909`. It identifies the clip in every video."""
    description: str = ""
    """Words about its content."""
    url: str = ""
    """The address of its file; empty: an upload."""
    asset_id: str = ""
    width: int = 0
    height: int = 0
    """0: unknown."""
    seconds: float = 0.0
    """0: unknown, or a still picture."""
    preview_url: str = ""
    credit: Credit | None = None


@dataclass(frozen=True)
class FootageQuery:
    """What is searched for."""

    words: str
    language: str = "en"
    """ISO 639."""
    orientation: Orientation | None = None
    """None: any."""
    cover: Shape = ANY_SHAPE
    """The shape that the file should cover without being scaled up. The smallest such file is chosen."""
    limit: int = 40
    """The most clips that are returned."""


class FootageSource(Protocol):
    """A source of clips."""

    @property
    def name(self) -> str:
        """The name in requests, ids and credits."""

    async def search(self, query: FootageQuery) -> Sequence[FootageClip]:
        """Return the clips that fit a query, the best ones first."""

"""Options of a request: the pace of its narration, and the further sizes of its video."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pacing:
    """The pace of a narration; 0: that of the voice."""

    speed: float = 0.0
    sentence_pause: float = 0.0
    """In seconds."""
    scene_pause: float = 0.0
    """In seconds; 0: as between sentences."""


NATURAL_PACING = Pacing()


@dataclass(frozen=True)
class Rendition:
    """An additional size of the video."""

    name: str
    """Named by its smaller side: `480p`."""
    width: int
    height: int

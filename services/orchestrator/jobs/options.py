"""Options of a request: the pace of its narration, and the further sizes of its video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SpeechOptions:
    """How a voice speaks a narration; 0: as by itself."""

    speed: float = 0.0
    sentence_pause: float = 0.0
    """In seconds."""
    scene_pause: float = 0.0
    """In seconds; 0: as between sentences."""
    pronunciations: Mapping[str, str] = field(default_factory=dict)
    """What is spoken for a word."""
    max_cost: float | None = None
    """What a provider may charge for the speech; None: no limit."""


NATURAL_SPEECH = SpeechOptions()


@dataclass(frozen=True)
class LanguageVersion:
    """One of the videos that a request for several languages makes."""

    group_id: str
    language: str
    """ISO 639."""
    source_language: str
    """The language of the request."""
    source_voice: str = ""
    """The requested voice of that language; empty: its default one."""
    title: str = ""
    """The title in this language, when the owner gave it; empty: translated."""
    scripts: tuple[str, ...] = ()
    """The scripts in this language, when the owner gave them; empty: translated."""

    @property
    def is_translated(self) -> bool:
        """Whether its language is another one than that of the request."""
        return self.language != self.source_language


@dataclass(frozen=True)
class Rendition:
    """An additional size of the video."""

    name: str
    """Named by its smaller side: `480p`."""
    width: int
    height: int

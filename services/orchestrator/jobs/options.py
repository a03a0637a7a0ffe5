"""Options of a request: the pace of its narration, and the further sizes of its video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Pronunciation:
    """What is spoken for a word in all videos of an account."""

    term: str
    pronunciation: str
    language: str = ""
    """A BCP 47 tag or its beginning, such as `en`; empty: all languages."""

    def applies_to(self, language: str) -> bool:
        """Whether it is for the voices of a language."""
        return not self.language or f"{language.lower()}-".startswith(f"{self.language.lower()}-")


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
    lexicon: tuple[Pronunciation, ...] = ()
    """The pronunciations of the account when the job was created."""

    voice_chain: str = ""
    """How the narration is processed before it is mixed: `on`, `off`, or `auto` or empty."""

    def for_language(self, language: str) -> SpeechOptions:
        """Return the options with the pronunciations for a voice of a language; those of the request come first."""
        # An entry for one region comes before one for all.
        entries = sorted(self.lexicon, key=lambda entry: len(entry.language))
        own = {entry.term: entry.pronunciation for entry in entries if entry.applies_to(language)}
        requested = {word.casefold() for word in self.pronunciations}
        merged = {term: spoken for term, spoken in own.items() if term.casefold() not in requested}
        return replace(self, pronunciations={**merged, **self.pronunciations}, lexicon=())


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

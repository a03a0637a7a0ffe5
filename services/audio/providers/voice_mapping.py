"""Voice mapping: which voice of a provider is nearest to a requested one, by language, then gender, then style."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.audio import voices
from services.audio.speech import Quality, Voice

FEMALE, MALE = "female", "male"
# Tags with another name at Google.
_TAGS = {
    "cmn-cn": "zh-CN",
    "cmn-tw": "zh-TW",
    "yue-hk": "zh-HK",
    "ar-xa": "ar",
    "fil-ph": "tl-PH",
    "cmn": "zh",
    "in": "id",
    "iw": "he",
}
_ALIASES = {"no": "nb", "nn": "nb", "fil": "tl", "iw": "he", "in": "id", "cmn": "zh", "yue": "zh"}
# The region of a language that is requested without one.
_REGIONS = {"en": "en-US", "zh": "zh-CN", "pt": "pt-BR", "es": "es-ES"}


@dataclass(frozen=True)
class RemoteVoice:
    """A voice of an external provider."""

    name: str
    """The name at the provider."""
    languages: tuple[str, ...]
    """BCP 47 tags. A voice with several speaks the language of its text."""
    gender: str = ""
    """`female`, `male`, or empty: neither, or unknown."""
    style: str = ""
    """A word such as `calm` or `news`; empty: none."""
    title: str = ""
    """The name for people, where `name` is an id."""


@dataclass(frozen=True)
class WantedVoice:
    """What is known of a requested voice."""

    language: str
    """BCP 47."""
    gender: str = ""
    style: str = ""
    is_locale: bool = False
    """Whether the request named only a locale, so that every voice of it is as good."""


def to_tag(tag: str) -> str:
    """The common tag of a language, for example `zh-CN` for Google's `cmn-CN`."""
    return _TAGS.get(tag.lower(), tag)


def primary(tag: str) -> str:
    """The language of a tag, without its script and region."""
    language = tag.partition("-")[0].lower()
    return _ALIASES.get(language, language)


def describe_name(name: str, known: Iterable[RemoteVoice], language: str = "") -> WantedVoice | None:
    """Describe a requested voice by its name: a locale, or a voice of any provider; None when the name shows nothing.

    Args:
        name: The name in the request.
        known: The voices of all providers.
        language: The language of the text, for voices that speak several.
    """
    for voice in known:
        if name in (voice.name, voice.title):
            spoken = voice.languages[0] if len(voice.languages) == 1 else language
            return WantedVoice(spoken or "en-US", voice.gender, voice.style)
    if described := voices.describe_name(name):
        locale, gender = described
        return WantedVoice(to_tag(locale), gender, is_locale=locale == name)
    return None


def find_nearest(candidates: Sequence[RemoteVoice], wanted: WantedVoice) -> RemoteVoice | None:
    """The nearest of several voices; None when none speaks the language. Of equally near voices, the first."""
    language, tag = primary(wanted.language), wanted.language.lower()
    region = _REGIONS.get(language, language).lower() if "-" not in tag else tag

    def distance(voice: RemoteVoice) -> tuple[bool, bool, bool]:
        tags = {each.lower() for each in voice.languages}
        return (
            not tags & {region, tag, language},
            bool(wanted.gender) and voice.gender != wanted.gender,
            bool(wanted.style) and voice.style != wanted.style,
        )

    speaking = [voice for voice in candidates if any(primary(tag) == language for tag in voice.languages)]
    return min(speaking, key=distance, default=None)


def to_voice(name: str, remote: RemoteVoice, language: str, *, is_substitute: bool) -> Voice:
    """A voice of a provider under the name in the request."""
    return Voice(
        name, language, remote.name, Quality.NEURAL, "", is_substitute, remote.gender, remote.style, remote.languages
    )


def read_table(table: str) -> tuple[RemoteVoice, ...]:
    """Read a table with a locale and its voices in each line: `en-US f:Ava m:Guy/news`, the first ones preferred."""
    genders = {"f": FEMALE, "m": MALE, "n": ""}
    found = []
    for line in table.strip().splitlines():
        locale, *entries = line.split()
        for entry in entries:
            match = re.fullmatch(r"([fmn]):([^/]+)(?:/(\w+))?", entry)
            assert match, entry
            found.append(RemoteVoice(f"{locale}-{match[2]}", (to_tag(locale),), genders[match[1]], match[3] or ""))
    return tuple(found)

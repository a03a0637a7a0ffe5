"""The voices of Kokoro, and the voice for a requested name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.audio.speech import Quality, Voice
from services.audio.voices import is_male, parse_locale, parse_name


@dataclass(frozen=True)
class Speaker:
    """A voice of the model."""

    style: str
    """Its name in the model's file of voices, such as `af_heart`."""
    locale: str
    """Its language, BCP 47."""
    name: str
    is_male: bool


@dataclass(frozen=True)
class Locale:
    """A language that the model speaks."""

    phonemes: str
    """The language of espeak-ng that makes the phonemes, by its file."""
    speakers: str
    """The locale of its speakers."""


def _speakers(locale: str, styles: str) -> list[Speaker]:
    return [Speaker(style, locale, style[3:].title(), style[1] == "m") for style in styles.split()]


# In each language, the first woman and the first man are the best, by the grades of the model's authors.
SPEAKERS: Sequence[Speaker] = (
    *_speakers("en-US", "af_heart af_bella af_nicole am_michael am_fenrir am_puck"),
    *_speakers("en-GB", "bf_emma bf_isabella bm_fable bm_george"),
    *_speakers("es-ES", "ef_dora em_alex"),
    *_speakers("fr-FR", "ff_siwis"),
    *_speakers("hi-IN", "hf_alpha hm_omega"),
    *_speakers("it-IT", "if_sara im_nicola"),
    *_speakers("pt-BR", "pf_dora pm_alex"),
)
_LOCALES: Mapping[str, Locale] = {
    "en-US": Locale("gmw/en-US", "en-US"),
    "en-GB": Locale("gmw/en", "en-GB"),
    "es-ES": Locale("roa/es", "es-ES"),
    "es-419": Locale("roa/es-419", "es-ES"),
    "fr-FR": Locale("roa/fr", "fr-FR"),
    "hi-IN": Locale("inc/hi", "hi-IN"),
    "it-IT": Locale("roa/it", "it-IT"),
    "pt-BR": Locale("roa/pt-BR", "pt-BR"),
}
# The locale whose voice reads the other regions of a language. European Portuguese stays with espeak-ng: the voices are
# Brazilian.
_OTHER_REGIONS = {"en": "en-US", "es": "es-419", "fr": "fr-FR", "hi": "hi-IN", "it": "it-IT"}
_WITHOUT_REGION = {**_OTHER_REGIONS, "es": "es-ES", "pt": "pt-BR"}
_BRITISH = ("AU", "IE", "IN", "NZ", "ZA", "SG", "HK", "KE", "NG", "TZ")


def find_voice(name: str) -> Voice | None:
    """The voice of a name; None when the model has none.

    The name is a locale, a speaker (`en-US-Heart` or `af_heart`), or that of a voice of Google or Azure, which a
    speaker of its language and gender replaces.
    """
    for speaker in SPEAKERS:
        if name.lower() in (speaker.style, f"{speaker.locale}-{speaker.name}".lower()):
            return _make_voice(name, speaker.locale, speaker.locale, speaker)
    tag, person, is_substitute = parse_name(name)
    parts = parse_locale(tag)
    if parts is None or parts[1] not in ("", "Latn", "Deva"):
        return None
    language, _, region = parts
    locale = _find_locale(language, region)
    if locale is None:
        return None
    speakers = [speaker for speaker in SPEAKERS if speaker.locale == _LOCALES[locale].speakers]
    gender = is_male(tag, person)
    matching = [speaker for speaker in speakers if gender is None or speaker.is_male is gender] or speakers
    number = sum(person.encode()) % len(matching) if gender is not None else 0
    full = "-".join(filter(None, (language, region)))
    return _make_voice(name, full, locale, matching[number], is_substitute=is_substitute)


def list_voices() -> list[Voice]:
    """The default voice of each locale, and each speaker."""
    names = [*(locale for locale in _LOCALES if locale[-1].isalpha()), *(f"{s.locale}-{s.name}" for s in SPEAKERS)]
    return sorted((voice for name in names if (voice := find_voice(name))), key=lambda voice: voice.name)


def _find_locale(language: str, region: str) -> str | None:
    """The locale that reads a language of a region; None when the model does not speak it."""
    if not region:
        return _WITHOUT_REGION.get(language)
    if f"{language}-{region}" in _LOCALES:
        return f"{language}-{region}"
    return "en-GB" if language == "en" and region in _BRITISH else _OTHER_REGIONS.get(language)


def _make_voice(name: str, tag: str, locale: str, speaker: Speaker, *, is_substitute: bool = False) -> Voice:
    setting = f"{_LOCALES[locale].phonemes}+{speaker.style}"
    gender = "male" if speaker.is_male else "female"
    return Voice(name, tag, setting, Quality.NEURAL, is_substitute=is_substitute, gender=gender)

"""Voices: map the name of a voice to a language and a variant of espeak-ng."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from services.audio.speech import Quality, Voice

# Languages that espeak-ng 1.52 does not speak intelligibly. Measured with ordinary text: the phonemes, and the seconds
# per letter (0.1 to 0.2 in languages that are intelligible, 0.3 for Chinese characters).
UNINTELLIGIBLE: Mapping[str, str] = {
    "ja": "each kanji is read as the words `Chinese letter`, 0.6 s for each letter",
    "hak": "each Chinese character is read as the words `Chinese letter`, 1.1 s for each letter",
    "he": "text without vowel points is read as its consonants alone",
    "th": "letters are read one by one in the order in which they are written, with most vowels wrong",
    "my": "most letters are left out",
    "shn": "letters are named in English, 1.7 s for each letter",
    "kok": "vowel signs are named after the letter before them",
    "chr": "most letters are named by numbers",
}

# Languages with another name in espeak-ng.
_ALIASES = {
    "en": "en-us",
    "zh": "cmn",
    "zh-cn": "cmn",
    "zh-tw": "cmn",
    "zh-sg": "cmn",
    "zh-hk": "yue",
    "zh-mo": "yue",
    "cmn-cn": "cmn",
    "cmn-tw": "cmn",
    "yue-hk": "yue",
    "nn": "nb",
    "no": "nb",
    "iw": "he",
    "in": "id",
}
# The aliases that are also listed, because users search for them.
_LISTED_ALIASES = ("zh-cn", "zh-tw", "zh-hk")
_LATIN_AMERICA = " ar bo cl co cr cu do ec gt hn mx ni pa pe pr py sv us uy ve "

_LOCALE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|[0-9]{3}))?")
# Google: en-US-Standard-A, en-US-Neural2-C, en-US-Chirp-HD-F, en-US-Chirp3-HD-Aoede.
GOOGLE_NAME = re.compile(
    r"([A-Za-z0-9_-]{2,12}?)-(?:Standard|Wavenet|Neural2|Studio|News|Polyglot|Casual|Journey|Chirp[0-9]?-HD)"
    r"-([A-Z]|[0-9]|[A-Z][a-z]{2,15})"
)
# Azure: en-US-JennyNeural, zh-CN-liaoning-XiaobeiNeural, en-US-AvaMultilingualNeural.
AZURE_NAME = re.compile(
    r"([A-Za-z0-9_-]{2,12}?)(?:-[a-z]{2,12})?-([A-Z][A-Za-z]{1,20}?)(?:Multilingual)?(?:Turbo)?Neural"
)

_MALE = ("", "m3", "m7", "m1", "m5")
_FEMALE = ("f2", "f3", "f5", "f1", "f4")
# Whether a letter of Google's voice names is male: in American English as Google has them, elsewhere the usual order.
_LETTERS_US = {letter: letter in "ABDIJ" for letter in "ABCDEFGHIJ"}
_LETTERS = {letter: letter in "BDJ" for letter in "ABCDEFGHIJ"}
# The names of both providers' voices, between blanks.
_MEN = (
    " Andrew Antonio Alvaro Benoit Brandon Brian Charon Christopher Conrad Davis Diego Dmitry Eric Fenrir Guy Henri "
    "InJoon Jacob Jason Jorge Keita Kai Liam Luke Madhur Marek Mattias Orus Prabhat Puck Remy Roger Ryan Steffan "
    "Thomas Tony Willem William YunJhe Yunfeng Yunhao Yunjian Yunxi Yunxia Yunyang Yunye Yunze "
)
_WOMEN = (
    " Amber Ana Aoede Aria Ashley Ava Clara Colette Cora Dalia Denise Elizabeth Elsa Elvira Emma Francisca HsiaoChen "
    "HiuMaan Isabella Jane Jenny Katja Kore Leda Libby Maisie Michelle Monica Nanami Nancy Natasha Neerja Olivia "
    "Paloma Sara Seraphina Sofie Sonia SunHi Svetlana Swara Vivienne Xiaobei Xiaochen Xiaohan Xiaomo Xiaorui "
    "Xiaoshuang Xiaoxiao Xiaoxuan Xiaoyi Zephyr Zofia "
)


@dataclass(frozen=True)
class Languages:
    """The languages of espeak-ng's data."""

    voices: Mapping[str, str]
    """By language tag in lower case, the name of the voice in espeak-ng."""


def read_languages(data: Path) -> Languages:
    """Read the languages of espeak-ng's data folder. Raises `OSError` when it has none."""
    ranked: dict[str, tuple[int, str]] = {}
    files = sorted(path for path in (data / "lang").rglob("*") if path.is_file())
    if not files:
        raise FileNotFoundError(f"{data} holds no languages")
    for path in files:
        lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
        tags = [line for line in lines if len(line) >= 2 and line[0] == "language"]
        named = [line[1] for line in lines if len(line) >= 2 and line[0] == "dictionary"]
        dictionary = named[0] if named else tags[0][1].partition("-")[0] if tags else ""
        # espeak-ng loads a language without a dictionary, but speaks nothing in it.
        if not (data / f"{dictionary}_dict").is_file():
            continue
        voice = path.relative_to(data / "lang").as_posix()
        for _, tag, *priority in tags:
            rank = int(priority[0]) if priority and priority[0].isdigit() else 5
            ranked[tag.lower()] = min(ranked.get(tag.lower(), (99, "")), (rank, voice))
    return Languages({tag: voice for tag, (_, voice) in ranked.items()})


def find_voice(languages: Languages, name: str) -> Voice | None:
    """The voice of a name; None when there is none.

    The name is a locale, or that of a voice of Google or Azure, which the voice of its locale replaces.
    """
    locale, person, is_substitute = parse_name(name)
    voice = _make_voice(languages, name, locale, person)
    return replace(voice, is_substitute=is_substitute) if voice else None


def parse_name(name: str) -> tuple[str, str, bool]:
    """Split the name of a voice of Google or Azure.

    Returns its locale, its person (`A`, `Jenny`) and True; for any other name, the name, no person and False.
    """
    for pattern in (GOOGLE_NAME, AZURE_NAME):
        if match := pattern.fullmatch(name):
            return match.group(1), match.group(2), True
    return name, "", False


def parse_locale(locale: str) -> tuple[str, str, str] | None:
    """Split a locale into its language (`en`), script (`Latn`) and region (`US`), each in its usual letter case.

    An absent part is empty. Returns None when it is not a locale.
    """
    match = _LOCALE.fullmatch(locale)
    if not match:
        return None
    language, script, region = (part or "" for part in match.groups())
    return language.lower(), script.title(), region.upper()


def is_male(locale: str, person: str) -> bool | None:
    """Whether a person of Google or Azure is a man; None when the name does not show it."""
    letters = _LETTERS_US if locale == "en-US" else _LETTERS
    if person in letters:
        return letters[person]
    return True if f" {person} " in _MEN else False if f" {person} " in _WOMEN else None


def describe_name(name: str) -> tuple[str, str] | None:
    """The locale and the gender (`female`, `male` or empty) that a voice's name shows; None when it shows no locale."""
    locale, person, _ = parse_name(name)
    gender = {True: "male", False: "female", None: ""}[is_male(locale, person)]
    return (locale, gender) if _LOCALE.fullmatch(locale) else None


def list_voices(languages: Languages) -> list[Voice]:
    """A voice of each language, in the order of their names."""
    voices = [find_voice(languages, tag) for tag in (*languages.voices, *_LISTED_ALIASES)]
    return sorted({v.language: replace(v, name=v.language) for v in voices if v}.values(), key=lambda v: v.name)


def _make_voice(languages: Languages, name: str, locale: str, person: str) -> Voice | None:
    parts = parse_locale(locale)
    if parts is None:
        return None
    language, script, region = parts
    tag = "-".join(filter(None, parts))
    setting = _setting(languages, language, script.lower(), region.lower())
    if setting is None:
        return None
    variant = _variant(tag, person)
    note = UNINTELLIGIBLE.get(language, "")
    quality = Quality.UNINTELLIGIBLE if note else Quality.ROBOTIC
    # espeak-ng states no gender of a language's own voice.
    gender = "" if not variant else "female" if variant in _FEMALE else "male"
    return Voice(name, tag, f"{setting}+{variant}" if variant else setting, quality, note, gender=gender)


def _setting(languages: Languages, language: str, script: str, region: str) -> str | None:
    tags = [f"{language}-{region}"] if region else []
    if language == "es" and f" {region} " in _LATIN_AMERICA:
        tags.append("es-419")
    if language == "zh" and script == "hant" and not region:
        tags.append("zh-tw")
    for tag in (*tags, language):
        if found := languages.voices.get(_ALIASES.get(tag, tag)):
            return found
    return None


def _variant(locale: str, person: str) -> str:
    """A variant of espeak-ng, always the same for one name, and of its sex; empty when the name shows none."""
    male = is_male(locale, person)
    if male is None:
        return ""
    number = sorted(_LETTERS).index(person) // 2 if person in _LETTERS else sum(person.encode()) % 3
    return _MALE[number % 5] if male else _FEMALE[number % 5]

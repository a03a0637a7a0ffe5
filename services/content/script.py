"""Script: the caller's words as they are, or a plain text from the title."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from moneyprinter.errors import InvalidArgument
from services.content import markdown, sentences
from services.content.phrases import PHRASES, SAME, STOPS

CALLER = "caller"
PLAIN_TEMPLATE = "plain-template"
PLAIN = "plain"
"""A script without Markdown."""

# The topic, some phrases, and the closing one.
LENGTH = 5

# The language that scripts are written in when their topic has letters of a writing system.
_LANGUAGES = {"LATIN": "en", "CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "GREEK": "el",
              "ARABIC": "ar", "DEVANAGARI": "hi"}  # fmt: skip


@dataclass(frozen=True)
class Script:
    """What is spoken."""

    sentences: tuple[str, ...]
    """In order, with their punctuation."""
    writer: str
    """Who wrote it: `caller` or `plain-template`."""
    unwritten: str = ""
    """The language in which it ought to be and no scripts are written, so that it is the title alone; empty: it is."""


def write(title: str, text: str | None, language: str = "", script_format: str = "") -> Script:
    """The caller's `text`, cut into sentences; when it is None, a plain script on the title.

    Args:
        title: What the script is about.
        text: The caller's script.
        language: That of the script (ISO 639); empty: English for one that is written.
        script_format: `plain` when the text holds no Markdown.

    Raises InvalidArgument, SCRIPT_EMPTY, when there is nothing to speak.
    """
    if text is None:
        language = SAME.get(language, language) or "en"
        if language in PHRASES:
            return compose(title, language)
        # Sentences of another language would be read as if they were of this one.
        return Script((_opening(title, STOPS.get(language, ".")),), PLAIN_TEMPLATE, unwritten=language)
    found = sentences.split(text if script_format == PLAIN else markdown.plain(text), language)
    if not found:
        raise InvalidArgument(
            "the script holds nothing that can be spoken; write some words, or leave the script out",
            reason="SCRIPT_EMPTY",
        )
    return Script(tuple(found), CALLER)


def compose(topic: str, language: str = "en", length: int = LENGTH) -> Script:
    """A plain script of `length` sentences on a topic, in a language (two letters of ISO 639-1).

    Raises InvalidArgument: LANGUAGE_UNKNOWN, or SCRIPT_EMPTY when the topic holds nothing to speak.
    """
    phrases = PHRASES.get(language)
    if phrases is None:
        raise InvalidArgument(
            f"language: scripts are not written in {language!r}; take one of {', '.join(PHRASES)}",
            reason="LANGUAGE_UNKNOWN",
        )
    said = (*phrases.body[: length - 2], phrases.closing) if length > 1 else ()
    return Script((_opening(topic, phrases.stop), *said), PLAIN_TEMPLATE)


def language_of(topic: str) -> str:
    """The language of a topic as far as its letters tell; `und`: one in which no scripts are written."""
    counts: dict[str, int] = {}
    for character in topic:
        if unicodedata.category(character)[0] == "L":
            system = unicodedata.name(character, "").partition(" ")[0]
            counts[system] = counts.get(system, 0) + 1
    system = max(counts, key=lambda system: counts[system], default="LATIN")
    if system == "CYRILLIC":
        return "uk" if set("іїєґ") & set(topic.lower()) else "ru"
    return "ja" if {"HIRAGANA", "KATAKANA"} & set(counts) and system == "CJK" else _LANGUAGES.get(system, "und")


def joined(sentences: Sequence[str], language: str) -> str:
    """Sentences of a language as one text."""
    return (PHRASES[language].blank if language in PHRASES else " ").join(sentences)


def _opening(title: str, stop: str) -> str:
    line = " ".join(title.split())
    if not sentences.speakable(line):
        raise InvalidArgument(
            "the title or topic holds nothing that can be spoken; give it some words, or send a script",
            reason="SCRIPT_EMPTY",
        )
    return line if not stop or line[-1] in ".!?…。！？।॥؟۔።։" else f"{line}{stop}"

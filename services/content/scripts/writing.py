"""Writing: the script of a video, from the caller's own text or from a template on a topic."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from moneyprinter.errors import InvalidArgument
from services.content.scripts.markdown import strip_markdown
from services.content.scripts.script_templates import FULL_STOPS, LANGUAGE_ALIASES, TEMPLATES
from services.content.scripts.sentences import is_speakable, split_sentences

CALLER = "caller"
PLAIN_TEMPLATE = "plain-template"
PLAIN_FORMAT = "plain"
"""The format of a script without Markdown."""
UNKNOWN_LANGUAGE = "und"
"""ISO 639 for an undetermined language."""

DEFAULT_LENGTH = 5
"""The sentences of a template script: the topic, three of the body, and the closing one."""

# The languages of template scripts by the writing system of their topic.
_LANGUAGES = {"LATIN": "en", "CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "GREEK": "el",
              "ARABIC": "ar", "DEVANAGARI": "hi"}  # fmt: skip


@dataclass(frozen=True)
class Script:
    """The text that is spoken."""

    sentences: tuple[str, ...]
    """In order, with their punctuation."""
    writer: str
    """The author: `caller` or `plain-template`."""
    unsupported_language: str = ""
    """The language for which there is no template, so that the script is the title alone; otherwise empty."""


def write_script(title: str, text: str | None, language: str = "", script_format: str = "") -> Script:
    """Split the caller's text into sentences; without a text, write a template script on the title.

    Args:
        title: The title of the video.
        text: The caller's script; None: there is none.
        language: The language of the script (ISO 639); empty: English for a template script.
        script_format: `plain` for a text without Markdown.

    Raises `InvalidArgument` (SCRIPT_EMPTY) when there is nothing to speak.
    """
    if text is None:
        language = LANGUAGE_ALIASES.get(language, language) or "en"
        if language in TEMPLATES:
            return compose_script(title, language)
        # The voice would read sentences of another language as if they were in this one.
        opening = _opening_sentence(title, FULL_STOPS.get(language, "."))
        return Script((opening,), PLAIN_TEMPLATE, unsupported_language=language)
    sentences = split_sentences(text if script_format == PLAIN_FORMAT else strip_markdown(text), language)
    if not sentences:
        raise InvalidArgument(
            "the script holds nothing that can be spoken; write some words, or leave the script out",
            reason="SCRIPT_EMPTY",
        )
    return Script(tuple(sentences), CALLER)


def compose_script(topic: str, language: str = "en", length: int = DEFAULT_LENGTH) -> Script:
    """Write a template script on a topic.

    Args:
        topic: The topic, which is the first sentence.
        language: The language of the script (ISO 639-1).
        length: The number of sentences.

    Raises `InvalidArgument` (LANGUAGE_UNKNOWN) when there is no template for the language, and (SCRIPT_EMPTY) when
    the topic has nothing to speak.
    """
    template = TEMPLATES.get(language)
    if template is None:
        raise InvalidArgument(
            f"language: scripts are not written in {language!r}; take one of {', '.join(TEMPLATES)}",
            reason="LANGUAGE_UNKNOWN",
        )
    rest = (*template.body[: length - 2], template.closing) if length > 1 else ()
    return Script((_opening_sentence(topic, template.full_stop), *rest), PLAIN_TEMPLATE)


def detect_language(topic: str) -> str:
    """The language of a topic by its letters; `und` when there is no template for any language with these letters."""
    counts: dict[str, int] = {}
    for character in topic:
        if unicodedata.category(character)[0] == "L":
            system = unicodedata.name(character, "").partition(" ")[0]
            counts[system] = counts.get(system, 0) + 1
    system = max(counts, key=lambda system: counts[system], default="LATIN")
    if system == "CYRILLIC":
        return "uk" if set("іїєґ") & set(topic.lower()) else "ru"
    if system == "CJK" and {"HIRAGANA", "KATAKANA"} & set(counts):
        return "ja"
    return _LANGUAGES.get(system, UNKNOWN_LANGUAGE)


def join_sentences(sentences: Sequence[str], language: str) -> str:
    """Join sentences of a language to one text."""
    return (TEMPLATES[language].separator if language in TEMPLATES else " ").join(sentences)


def _opening_sentence(title: str, full_stop: str) -> str:
    line = " ".join(title.split())
    if not is_speakable(line):
        raise InvalidArgument(
            "the title or topic holds nothing that can be spoken; give it some words, or send a script",
            reason="SCRIPT_EMPTY",
        )
    return line if not full_stop or line[-1] in ".!?…。！？।॥؟۔።։" else f"{line}{full_stop}"

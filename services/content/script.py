"""Script: the caller's words as they are, or a plain text from the title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moneyprinter.errors import InvalidArgument
from services.content import sentences
from services.content.phrases import PHRASES

CALLER = "caller"
PLAIN_TEMPLATE = "plain-template"

# The topic, some phrases, and the closing one.
LENGTH = 5


@dataclass(frozen=True)
class Script:
    """What is spoken."""

    sentences: tuple[str, ...]
    """In order, with their punctuation."""
    writer: str
    """Who wrote it: `caller` or `plain-template`."""


def write(title: str, text: str | None) -> Script:
    """The caller's `text`, cut into sentences; when it is None, a plain script on the title.

    Raises InvalidArgument, SCRIPT_EMPTY, when there is nothing to speak.
    """
    if text is None:
        return compose(title)
    found = sentences.split(text)
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


def joined(sentences: Sequence[str], language: str) -> str:
    """Sentences of a language as one text."""
    return PHRASES[language].blank.join(sentences)


def _opening(title: str, stop: str) -> str:
    line = " ".join(title.split())
    if not sentences.speakable(line):
        raise InvalidArgument(
            "the title or topic holds nothing that can be spoken; give it some words, or send a script",
            reason="SCRIPT_EMPTY",
        )
    return line if line[-1] in ".!?…。！？।" else f"{line}{stop}"

"""Script: the caller's words as they are, or a plain text from the title."""

from __future__ import annotations

from dataclasses import dataclass

from moneyprinter.errors import InvalidArgument
from services.content import sentences

CALLER = "caller"
PLAIN_TEMPLATE = "plain-template"

# It says nothing of its own about the subject, so that it is true of any.
_PLAIN = (
    "In the next few moments, we look at it closely, one picture at a time.",
    "Take in the light, the movement and the small things that are easy to miss.",
    "Each scene adds a piece, and together they tell the story.",
    "Thank you for watching, and see you in the next one.",
)


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
        return Script((_opening(title), *_PLAIN), PLAIN_TEMPLATE)
    found = sentences.split(text)
    if not found:
        raise InvalidArgument(
            "the script holds nothing that can be spoken; write some words, or leave the script out",
            reason="SCRIPT_EMPTY",
        )
    return Script(tuple(found), CALLER)


def _opening(title: str) -> str:
    line = " ".join(title.split())
    if not sentences.speakable(line):
        raise InvalidArgument(
            "the title holds nothing that can be spoken; give it some words, or send a script", reason="SCRIPT_EMPTY"
        )
    return line if line[-1] in ".!?…。！？।" else f"{line}."

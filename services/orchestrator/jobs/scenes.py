"""Scenes: the parts of a narration, and the review in which the owner of a job approves or edits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

# After these, a sentence follows without a space.
_FULL_WIDTH_ENDS = "。！？｡」』"

SCRIPT = "script"
"""The subject of a review: the script, before it is spoken."""


@dataclass(frozen=True)
class Scene:
    """A part of the narration."""

    sentences: tuple[str, ...]

    @property
    def script(self) -> str:
        """The narration as one text."""
        text = ""
        for sentence in self.sentences:
            text += f" {sentence}" if text and not text.endswith(tuple(_FULL_WIDTH_ENDS)) else sentence
        return text


@dataclass(frozen=True)
class SceneEdit:
    """An edited scene."""

    script: str


@dataclass(frozen=True)
class Review:
    """A review for which a job waits."""

    subject: str
    """`script`."""
    scenes: tuple[Scene, ...]
    request_time: datetime
    expire_time: datetime


@dataclass(frozen=True)
class Approval:
    """What the owner of a job approved."""

    scenes: tuple[SceneEdit, ...]
    """All scenes, edited or not."""
    edits: tuple[SceneEdit, ...] = ()
    """The scenes that the call named; empty: it approved the scenes as they were."""


class ReviewRequested(Exception):
    """The workflow cannot continue before the owner of the job has approved `scenes`."""

    def __init__(self, subject: str, scenes: Sequence[Scene]) -> None:
        super().__init__(subject)
        self.subject = subject
        self.scenes = tuple(scenes)


def approval_step(subject: str) -> str:
    """Returns the name of the step that records the approval of a subject."""
    return f"approve {subject}"

"""Scenes: the parts of a script with their footage, and the review in which the owner of a job approves them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from moneyprinter.errors import Conflict
from services.orchestrator.jobs.usage import Usage

# After these, a sentence follows without a space.
_FULL_WIDTH_ENDS = "。！？｡」』"

SCRIPT, FOOTAGE = "script", "footage"
"""The subjects of a review: the script before it is spoken, or the script with the clips for it."""


@dataclass(frozen=True)
class Notice:
    """A deviation from the request that its owner may not expect."""

    reason: str
    message: str


@dataclass(frozen=True)
class Narrator:
    """The voice that speaks a narration."""

    name: str
    language: str
    """BCP 47, for example `en-US`."""
    quality: str = ""
    """`neural`, `robotic` or `unintelligible`."""
    notices: tuple[Notice, ...] = ()


NO_NARRATOR = Narrator("", "")


@dataclass(frozen=True)
class Background:
    """An animated background, which the renderer draws."""

    seed: int
    """The number from which design, positions and speeds are derived."""
    colours: tuple[str, ...]
    """`#rrggbb`: that of the ground, then those of the shapes."""


@dataclass(frozen=True)
class Credit:
    """The origin of a clip that others made, and its licence."""

    provider: str = ""
    author: str = ""
    author_url: str = ""
    licence: str = ""
    licence_url: str = ""
    page_url: str = ""


@dataclass(frozen=True)
class Cut:
    """A part of a clip, or a background, that is shown during a scene."""

    id: str = ""
    """`pexels:1526909`, `library:ast_...` or `background:5210`; empty: the owner of the job chose it."""
    url: str = ""
    asset_id: str = ""
    background: Background | None = None
    """One of the three is set."""
    start_seconds: float = 0.0
    """The position of the first frame in the clip."""
    seconds: float = 0.0
    """The duration, in proportion to the other cuts of the scene; 0: as the others."""
    query: str = ""
    """The words that found the clip."""
    credit: Credit | None = None


@dataclass(frozen=True)
class Scene:
    """A part of the narration, and what is shown meanwhile."""

    sentences: tuple[str, ...]
    title: str = ""
    """A title card at its beginning."""
    search_terms: tuple[str, ...] = ()
    """Terms to search footage by, the best first."""
    search_language: str = ""
    """Their language (ISO 639); empty: that of the script."""
    cuts: tuple[Cut, ...] = ()
    """Empty: not chosen, or the video has clips of its own."""

    @property
    def script(self) -> str:
        """The narration as one text."""
        text = ""
        for sentence in self.sentences:
            text += f" {sentence}" if text and not text.endswith(tuple(_FULL_WIDTH_ENDS)) else sentence
        return text

    @property
    def request(self) -> SceneRequest:
        """The scene as a request for the same."""
        return SceneRequest(self.script, self.title, self.search_terms, self.search_language, self.cuts)


@dataclass(frozen=True)
class SceneRequest:
    """A scene as the owner of a job requests it."""

    script: str
    title: str = ""
    search_terms: tuple[str, ...] = ()
    """Empty: taken from the script."""
    search_language: str = ""
    cuts: tuple[Cut, ...] = ()
    """Empty: chosen for the scene."""


@dataclass(frozen=True)
class Script:
    """A script, split into sentences, and divided into scenes."""

    sentences: tuple[str, ...]
    notices: tuple[Notice, ...] = ()
    scenes: tuple[Scene, ...] = ()
    writer: str = ""
    """The author: `caller`, `plain-template`, or the name of a writer."""
    usage: tuple[Usage, ...] = ()


@dataclass(frozen=True)
class WrittenScript:
    """The script of all scenes, and the voice that is going to speak it."""

    scenes: tuple[Scene, ...]
    narrator: Narrator = NO_NARRATOR
    notices: tuple[Notice, ...] = ()
    writer: str = ""
    usage: tuple[Usage, ...] = ()
    title: str = ""
    """The title of a translated video; empty: that of the request."""


@dataclass(frozen=True)
class WritingOptions:
    """How the service writes a script. An empty field leaves the choice to the writer."""

    language: str = ""
    """ISO 639."""
    tone: str = ""
    audience: str = ""
    seconds: float = 0.0
    words: int = 0
    scene_count: int = 0
    prompt: str = ""


ANY_WRITING = WritingOptions()


@dataclass(frozen=True)
class Review:
    """A review for which a job waits."""

    subject: str
    """`script` or `footage`."""
    scenes: tuple[Scene, ...]
    request_time: datetime
    expire_time: datetime

    @property
    def version(self) -> str:
        """Identifies what waits for approval: other scenes have another version."""
        return hashlib.sha256(repr((self.subject, self.scenes)).encode()).hexdigest()[:16]

    def check_version(self, version: str) -> None:
        """Raise `Conflict` when other scenes than those of a version wait for approval; empty is any."""
        if version not in ("", self.version):
            raise Conflict(
                "the job waits for the review of other scenes than those of this version; read its scenes again, and "
                "approve the version of its review",
                reason="REVIEW_CHANGED",
            )


@dataclass(frozen=True)
class Approval:
    """What the owner of a job approved."""

    scenes: tuple[SceneRequest, ...]
    """All scenes, edited or not."""
    edits: tuple[SceneRequest, ...] = ()
    """The scenes that the call named; empty: it approved the scenes as they were."""
    version: str = ""
    """The version of the review that was read; empty: any."""


class ReviewRequested(Exception):
    """The workflow cannot continue before the owner of the job has approved `scenes`."""

    def __init__(self, subject: str, scenes: Sequence[Scene]) -> None:
        super().__init__(subject)
        self.subject = subject
        self.scenes = tuple(scenes)


def approval_step(subject: str) -> str:
    """Returns the name of the step that records the approval of a subject."""
    return f"approve {subject}"

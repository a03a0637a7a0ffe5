"""Jobs: what a job is, what was asked for, what its stages give, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# The specification's stages, in order, and the part of the whole work that each is.
STAGES = {
    "validation": 0.05,
    "audio_generation": 0.10,
    "video_processing": 0.70,
    "concatenation": 0.05,
    "rendering": 0.10,
}


@dataclass(frozen=True)
class StoredObject:
    """An object of the storage service."""

    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Look:
    """How a source is shown and heard."""

    fit: str = "cover"
    """`cover`, `contain`, `blur` or `stretch`."""
    focus: tuple[float, float] | None = None
    """The point that stays in sight, from (0, 0) at the top left to (1, 1); None: the middle."""
    speed: float = 1.0
    motion: str = ""
    """Of a still picture: `zoom_in`, `zoom_out`, `pan_left`, `pan_right`; empty: none."""
    sound_volume: float = 0.0
    """Of a clip's own sound; 0: it is dropped."""


@dataclass(frozen=True)
class ClipRequest:
    """A clip that was asked for: an address or an asset, and the part of it in seconds."""

    url: str | None
    asset: StoredObject | None
    start_seconds: float | None
    end_seconds: float | None
    look: Look = Look()
    still_seconds: float = 0.0
    """How long a still picture is shown; 0: as the others leave time."""
    script: str = ""
    """What is spoken while it is shown, where each clip has its own text."""


@dataclass(frozen=True)
class CaptionStyle:
    """What captions look like; what is empty or 0 is chosen for the canvas."""

    position: str = ""
    """`bottom`, `middle`, `top`, or `none` for no captions in the picture."""
    size: float = 0.0
    colour: str = ""
    outline_colour: str = ""
    box_colour: str = ""
    max_lines: int = 0
    highlight: str = ""
    """`word` or `karaoke`; empty: none."""
    highlight_colour: str = ""
    pop: bool = False


@dataclass(frozen=True)
class OverlayRequest:
    """A picture over the video."""

    image: StoredObject
    centre: tuple[float, float]
    width: float
    """As a part of the video's."""
    opacity: float
    start_seconds: float | None
    end_seconds: float | None


@dataclass(frozen=True)
class VideoRequest:
    """What was asked for, checked and with its defaults filled in."""

    title: str
    clips: tuple[ClipRequest, ...]
    script: str | None
    voice: str
    background_music: str
    """Empty: none."""
    width: int
    height: int
    frames_per_second: int
    quality: str
    """`draft`, `standard` or `high`."""
    transition: str = ""
    """`crossfade` and so on; empty: none."""
    transition_seconds: float = 0.5
    captions: CaptionStyle = CaptionStyle()
    overlays: tuple[OverlayRequest, ...] = ()


@dataclass(frozen=True)
class SourceClip:
    """A source that was fetched and found good, and the part of it that is used, in seconds."""

    object: StoredObject
    start_seconds: float
    end_seconds: float
    """Both 0 for a still picture."""
    still: bool = False
    has_audio: bool = False
    look: Look = Look()
    still_seconds: float = 0.0


@dataclass(frozen=True)
class Word:
    """A spoken word and its time, in seconds from the start of the narration."""

    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Narration:
    """A spoken script."""

    audio: StoredObject
    seconds: float
    sentences: tuple[tuple[Word, ...], ...]


@dataclass(frozen=True)
class Spoken:
    """The narration, and how many sentences of it belong to each scene."""

    narration: Narration
    scenes: tuple[int, ...]


@dataclass(frozen=True)
class Captions:
    """The captions of a narration, as files."""

    srt: str
    ass: str
    vtt: str


@dataclass(frozen=True)
class SoundTrack:
    """The narration with its music, mastered."""

    audio: StoredObject


@dataclass(frozen=True)
class Picture:
    """A segment, or all of them joined: frames without sound."""

    video: StoredObject
    frame_count: int
    reused: bool = False
    """Whether it was found, not rendered."""


@dataclass(frozen=True)
class FinishedVideo:
    """A video that passed its check, and what comes with it."""

    video: StoredObject
    poster: StoredObject
    thumbnails: StoredObject
    seconds: float


@dataclass(frozen=True)
class Result:
    """What a job made."""

    video: StoredObject
    poster: StoredObject
    thumbnails: StoredObject
    srt: StoredObject
    vtt: StoredObject
    ass: StoredObject
    seconds: float
    segments: int = 0
    reused_segments: int = 0


@dataclass(frozen=True)
class Failure:
    """Why a job failed."""

    stage: str
    reason: str
    message: str


@dataclass(frozen=True)
class Asset:
    """An uploaded file."""

    id: str
    user_id: str
    filename: str
    object: StoredObject


@dataclass(frozen=True)
class Job:
    """A job as it is recorded."""

    id: str
    user_id: str
    request: VideoRequest
    status: str
    """`processing`, `completed` or `failed`."""
    create_time: datetime
    estimated_completion: datetime
    """When it is expected to end; once it has ended, when it did."""
    stages: dict[str, str] = field(default_factory=lambda: dict.fromkeys(STAGES, "pending"))
    progress: int = 0
    attempt: int = 0
    result: Result | None = None
    failure: Failure | None = None
    wish: Mapping[str, Any] = field(default_factory=dict)
    """The request as the caller wrote it, as JSON."""


def percent(stage: str, fraction: float) -> int:
    """How much of the whole work is done when `fraction` of a stage is; 100 only when the job has ended."""
    before = 0.0
    for name, weight in STAGES.items():
        if name == stage:
            return min(99, int(100 * (before + weight * min(1.0, max(0.0, fraction))) + 1e-9))
        before += weight
    raise ValueError(f"no stage {stage}")


def stage_fraction(job: Job) -> float:
    """How much of the stage in progress is done, as far as the percents of the whole tell."""
    before = 0.0
    for name, weight in STAGES.items():
        if job.stages[name] == "in_progress":
            return min(1.0, max(0.0, (job.progress / 100 - before) / weight))
        before += weight
    return 0.0

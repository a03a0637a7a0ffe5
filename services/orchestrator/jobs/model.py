"""Jobs: what a job is, what was asked for, what its stages give, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.orchestrator.jobs.stages import STAGES

# From what waits for all others to what is made before them.
PRIORITIES = ("low", "normal", "high")


@dataclass(frozen=True)
class StoredObject:
    """An object of the storage service."""

    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Source:
    """The bytes of a clip or picture that was found good, and what the renderer must know of it."""

    object: StoredObject
    picture: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `media.v1.Source` without the object, as the validation service found them; they are handed on."""

    @property
    def still(self) -> bool:
        """Whether it is a single picture."""
        return bool(self.picture.get("still"))

    @property
    def is_animation(self) -> bool:
        """Whether it is a picture that moves."""
        return bool(self.picture.get("format")) and not self.still

    @property
    def seconds(self) -> float:
        """How long a player shows it; 0 for a still picture."""
        return float(self.picture.get("seconds", 0.0))

    @property
    def round_seconds(self) -> float:
        """How long one round takes of what moves and is shown again and again; 0 for a still picture."""
        return 0.0 if self.still else float(self.picture.get("picture_end", 0.0)) or self.seconds


@dataclass(frozen=True)
class ClipStyle:
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
    transition: str = ""
    """How what is before turns into it: `crossfade` and so on; empty: it does not."""
    title: str = ""
    """What is written over it in large letters."""


@dataclass(frozen=True)
class ClipRequest:
    """A clip that was asked for: an address, an asset or a colour, and the part of it in seconds."""

    url: str | None
    asset: StoredObject | None
    start_seconds: float | None
    end_seconds: float | None
    look: ClipStyle = ClipStyle()
    still_seconds: float = 0.0
    """How long a still picture is shown; 0: as the others leave time."""
    script: str = ""
    """What is spoken while it is shown, where each clip has its own text."""
    colour: str = ""
    """`#rrggbb`."""
    second_colour: str = ""
    """`#rrggbb`, for a slope of both that moves."""
    name: str = ""
    """What its file is called, for errors."""


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
    name: str = ""
    """What its file is called, for errors."""


@dataclass(frozen=True)
class Rendition:
    """Another size of the video."""

    name: str
    """By its smaller side: `480p`."""
    width: int
    height: int


# As a voice: nothing is spoken.
NO_VOICE = "none"


@dataclass(frozen=True)
class VideoRequest:
    """What was asked for, checked and with its defaults filled in."""

    title: str
    clips: tuple[ClipRequest, ...]
    script: str | None
    voice: str
    """Empty: chosen by the language of the script."""
    background_music: str
    """Empty: none."""
    width: int
    height: int
    frames_per_second: int
    quality: str
    """`draft`, `standard`, `high` or `near_lossless`."""
    transition_seconds: float = 0.5
    captions: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `video.v1.Captions` that the client set, as JSON; the workers pass them on."""
    overlays: tuple[OverlayRequest, ...] = ()
    codec: str = "h264"
    """`h264`, `h265`, `vp9` or `av1`."""
    renditions: tuple[Rendition, ...] = ()
    gif: bool = False
    loudness_lufs: float = 0.0
    """0: chosen."""
    seconds: float = 0.0
    """Of a video without narration; 0: as long as its clips."""
    script_format: str = ""
    """`plain` or `markdown`; empty: `markdown`."""
    max_shot_seconds: float = 0.0
    """A longer shot is cut to another view; 0: none is."""
    poster_seconds: float | None = None
    """Where in the video its poster is taken; None: where it looks best."""

    @property
    def narrated(self) -> bool:
        """Whether there is a narration."""
        return self.voice != NO_VOICE

    @property
    def main_file(self) -> str:
        """What the video itself is called."""
        return "video.webm" if self.codec in ("vp9", "av1") else "video.mp4"

    @property
    def file_names(self) -> tuple[str, ...]:
        """What all files are called that can come of it."""
        stem, _, ending = self.main_file.partition(".")
        return (
            self.main_file,
            *("poster.jpg", "thumbnails.jpg", "preview.gif"),
            *(f"{stem}-{size.name}.{ending}" for size in self.renditions),
            *("captions.srt", "captions.vtt", "captions.ass"),
        )


# A colour of which nothing is lighter is as dark as what the check of a video takes for black.
DARK_LEVEL = 12


@dataclass(frozen=True)
class SourceClip:
    """A source that was found good or a colour, and the part of it that is used, in seconds."""

    source: Source | None
    """None: a colour."""
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    """Both 0 for what does not move."""
    has_audio: bool = False
    look: ClipStyle = ClipStyle()
    still_seconds: float = 0.0
    key_seconds: tuple[float, ...] = ()
    """Where decoding can begin; empty: not known."""
    colour: str = ""
    second_colour: str = ""
    sound_track: int = 0
    """Which of its sound tracks is heard, from 0."""
    sound_start: float = 0.0
    """When that track begins, where it must be said."""

    @property
    def is_dark(self) -> bool:
        """Whether it may be black all the time."""
        if self.source is not None:
            return bool(self.source.picture.get("dark"))
        return all(
            max(bytes.fromhex(colour[1:])) <= DARK_LEVEL for colour in (self.colour, self.second_colour) if colour
        )

    @property
    def still(self) -> bool:
        """Whether it does not move by itself: a picture, or a colour."""
        return self.source is None or self.source.still

    @property
    def loop_seconds(self) -> float:
        """How long one round of an animation takes that is shown again and again; 0: it does not repeat by itself."""
        if self.source is None or not self.source.is_animation or self.start_seconds:
            return 0.0
        return self.end_seconds if self.end_seconds >= self.source.seconds - 1e-3 else 0.0


@dataclass(frozen=True)
class Word:
    """A spoken word and its time, in seconds from the start of the narration."""

    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Narration:
    """A spoken script."""

    audio: StoredObject | None
    """None: nothing is spoken."""
    seconds: float
    sentences: tuple[tuple[Word, ...], ...]


NO_NARRATION = Narration(None, 0.0, ())


@dataclass(frozen=True)
class Notice:
    """What was done in another way than its owner may expect."""

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


@dataclass(frozen=True)
class Script:
    """What is spoken."""

    sentences: tuple[str, ...]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class NarratedScript:
    """The narration, and how many sentences of it belong to each scene."""

    narration: Narration
    scenes: tuple[int, ...]
    narrator: Narrator = Narrator("", "")
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Captions:
    """The captions of a narration, as files."""

    srt: str
    ass: str
    vtt: str
    missing_glyphs: str = ""
    """Characters of captions and titles that no font can show."""


@dataclass(frozen=True)
class SoundTrack:
    """The narration with its music, mastered."""

    audio: StoredObject
    seconds: float = 0.0


@dataclass(frozen=True)
class RenderedVideo:
    """A segment, or all of them joined: frames without sound."""

    video: StoredObject
    frame_count: int
    reused: bool = False
    """Whether it was found, not rendered."""
    renditions: tuple[StoredObject, ...] = ()
    """The same in the other sizes that were asked for."""
    header_bytes: int = 0
    """Of a segment: how many bytes before its fragment describe it."""
    time_offset: int = 0
    """Of a segment: where in its file the time of its first frame is."""
    ticks_per_second: int = 0


@dataclass(frozen=True)
class PreviewSound:
    """A sound track that can be streamed."""

    audio: StoredObject
    header_bytes: int
    seconds: float


@dataclass(frozen=True)
class File:
    """A file of a video."""

    name: str
    object: StoredObject


@dataclass(frozen=True)
class FinishedVideo:
    """A video that passed its check, and what comes with it."""

    files: tuple[File, ...]
    """The video itself comes first."""
    seconds: float
    loudness_lufs: float = 0.0
    true_peak_dbtp: float = 0.0
    poster_seconds: float = 0.0
    """Where in the video its poster is from."""


@dataclass(frozen=True)
class Result:
    """What a job made."""

    files: tuple[File, ...]
    """The video itself comes first."""
    seconds: float
    loudness_lufs: float = 0.0
    true_peak_dbtp: float = 0.0
    missing_glyphs: str = ""
    voice: str = ""
    voice_quality: str = ""
    notices: tuple[Notice, ...] = ()

    def file(self, name: str) -> File | None:
        """The file of that name; of an empty one, the video itself."""
        return next((file for file in self.files if file.name == name), None) if name else self.files[0]


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
    create_time: datetime


@dataclass(frozen=True)
class JobProgress:
    """How much of the work is done."""

    fractions: Mapping[str, float] = field(default_factory=dict)
    """Of each stage that has begun, the part that is done, 0 to 1."""
    segments: int = 0
    """How many there are; 0 until that is known."""
    rendered: int = 0
    """How many of them are done."""
    reused: int = 0
    """How many of those were found."""

    @property
    def percent(self) -> int:
        """How much of the whole work is done; 100 only when the job has ended."""
        done = sum(weight * min(1.0, max(0.0, self.fractions.get(stage, 0.0))) for stage, weight in STAGES.items())
        return min(99, int(100 * done + 1e-9))


@dataclass(frozen=True)
class DueEvents:
    """What is to be told to everybody of how far a job is, and not only to who looks."""

    progress: bool = False
    """Whether the percent that is done is."""
    stages: bool = False
    """Whether there are stages that were completed."""

    def __bool__(self) -> bool:
        return self.progress or self.stages


@dataclass(frozen=True)
class Job:
    """A job as it is recorded."""

    id: str
    user_id: str
    request: VideoRequest
    status: str
    """`processing`, `completed`, `failed` or `cancelled`."""
    create_time: datetime
    estimated_completion: datetime
    """When it is expected to end; once it has ended, when it did."""
    priority: str = "normal"
    """One of PRIORITIES."""
    stages: dict[str, str] = field(default_factory=lambda: dict.fromkeys(STAGES, "pending"))
    progress: int = 0
    progress_details: JobProgress = JobProgress()
    attempt: int = 0
    base_attempt: int = 0
    """The attempt after which its owner had it begun again; 0: it was not."""
    result: Result | None = None
    failure: Failure | None = None
    original_request: Mapping[str, Any] = field(default_factory=dict)
    """The request as the caller wrote it, as JSON."""
    work_seconds: float = 0.0
    """What it is expected to take when nothing else runs, on a machine that nobody has measured."""
    webhook_url: str = ""
    """Where its events are posted as well; empty: nowhere."""

    @property
    def folder(self) -> str:
        """The first part of the keys of the files of all attempts."""
        return f"jobs/{self.id}"

    @property
    def attempt_folder(self) -> str:
        """The first part of the keys of the files of this attempt; another attempt writes to another folder."""
        return f"{self.folder}/{self.attempt}"

    @property
    def last_stale_attempt(self) -> int:
        """The last attempt of which no file is the result's, once the job has ended; -1 when there is none."""
        if self.result is None:
            return self.attempt
        numbers = {file.object.key.removeprefix(f"{self.folder}/").partition("/")[0] for file in self.result.files}
        return min((int(number) for number in numbers if number.isdigit()), default=0) - 1

"""The model of a job: its request, the results of its steps, its result, and its progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.orchestrator.jobs.options import NATURAL_SPEECH, LanguageVersion, Rendition, SpeechOptions
from services.orchestrator.jobs.scenes import (
    ANY_WRITING,
    NO_NARRATOR,
    Background,
    Narrator,
    Notice,
    Review,
    Scene,
    SceneRequest,
    WritingOptions,
)
from services.orchestrator.jobs.stages import STAGES
from services.orchestrator.jobs.usage import Usage

# From lowest to highest.
PRIORITIES = ("low", "normal", "high")


@dataclass(frozen=True)
class StoredObject:
    """An object of the storage service."""

    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Source:
    """The stored bytes of a valid clip or picture, and what the renderer needs to know about it."""

    object: StoredObject
    properties: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `media.v1.Source` without the object, as the validation service returned them; passed on."""

    @property
    def still(self) -> bool:
        """Whether it is a still picture."""
        return bool(self.properties.get("still"))

    @property
    def is_animation(self) -> bool:
        """Whether it is an animated picture."""
        return bool(self.properties.get("format")) and not self.still

    @property
    def seconds(self) -> float:
        """Its duration; 0 for a still picture."""
        return float(self.properties.get("seconds", 0.0))

    @property
    def round_seconds(self) -> float:
        """The duration of one loop of an animation; 0 for a still picture."""
        return 0.0 if self.still else float(self.properties.get("picture_end", 0.0)) or self.seconds


@dataclass(frozen=True)
class ClipStyle:
    """How a clip is shown and heard."""

    fit: str = "cover"
    """`cover`, `contain`, `blur` or `stretch`."""
    focus: tuple[float, float] | None = None
    """The point that cropping keeps visible, from (0, 0) at the top left to (1, 1); None: the centre."""
    speed: float = 1.0
    motion: str = ""
    """Of a still picture: `zoom_in`, `zoom_out`, `pan_left`, `pan_right`; empty: none."""
    sound_volume: float = 0.0
    """The volume of the clip's own sound; 0: dropped."""
    transition: str = ""
    """The transition from the previous clip: `crossfade` and so on; empty: a cut."""
    title: str = ""
    """A title card over the clip."""
    title_seconds: float = 0.0
    """The longest duration of the title card; 0: that of the clip."""


@dataclass(frozen=True)
class ClipRequest:
    """A requested clip: an address, an asset, a colour or a background, and the part of it in seconds."""

    url: str | None
    asset: StoredObject | None
    start_seconds: float | None
    end_seconds: float | None
    style: ClipStyle = ClipStyle()
    still_seconds: float = 0.0
    """The duration of a still picture; 0: chosen by the timeline."""
    script: str = ""
    """The narration of this clip, if each clip has its own."""
    colour: str = ""
    """`#rrggbb`."""
    second_colour: str = ""
    """`#rrggbb`, for a moving gradient of both colours."""
    background: Background | None = None
    name: str = ""
    """Its file name, for error messages."""


@dataclass(frozen=True)
class OverlayRequest:
    """A picture over the video."""

    image: StoredObject
    centre: tuple[float, float]
    width: float
    """As a fraction of the width of the video."""
    opacity: float
    start_seconds: float | None
    end_seconds: float | None
    name: str = ""
    """Its file name, for error messages."""


@dataclass(frozen=True)
class OwnSound:
    """An uploaded recording of the narration, or an uploaded track of music and how it is played."""

    object: StoredObject
    name: str
    """Its file name, for error messages."""
    start_seconds: float = 0.0
    volume: float = 1.0
    """1: that of `background_music`."""
    fade_in_seconds: float = 0.0
    fade_out_seconds: float = 0.0
    once: bool = False
    """Whether silence follows when the track is shorter than the video."""


# The voice that means: no narration.
NO_VOICE = "none"


@dataclass(frozen=True)
class VideoRequest:
    """A validated request, with its defaults filled in."""

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
    """The duration of a video without narration; 0: that of its clips."""
    script_format: str = ""
    """`plain` or `markdown`; empty: `markdown`."""
    max_shot_seconds: float = 0.0
    """Longer shots change to another view of the clip; 0: never."""
    poster_seconds: float | None = None
    """The time of the poster frame; None: chosen by quality."""
    review: str = ""
    """What the owner approves before the job goes on: `script` or `footage`; empty: nothing."""
    footage: str = ""
    """Where the pictures of a video without clips come from: `auto`, `library` and so on; empty: it has clips."""
    scenes: tuple[SceneRequest, ...] = ()
    """The scenes, in place of clips and script."""
    writing: WritingOptions = ANY_WRITING
    transition: str = ""
    """The transition between chosen cuts; empty: a cut."""
    notices: tuple[Notice, ...] = ()
    """What the checks of the request found and did not refuse."""
    speech_options: SpeechOptions = NATURAL_SPEECH
    recording: OwnSound | None = None
    """A person reads the script; None: a voice does."""
    music: OwnSound | None = None
    """Music in place of `background_music`."""
    version: LanguageVersion | None = None
    """Its language among several that were requested together."""
    max_cost: float | None = None
    """What providers may charge for it; None: no limit, 0: none that charges is used."""

    @property
    def is_narrated(self) -> bool:
        """Whether there is a narration."""
        return self.voice != NO_VOICE

    @property
    def main_file(self) -> str:
        """The file name of the video itself."""
        return "video.webm" if self.codec in ("vp9", "av1") else "video.mp4"

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of all files that the result can have."""
        stem, _, ending = self.main_file.partition(".")
        return (
            self.main_file,
            *("poster.jpg", "thumbnails.jpg", "preview.gif"),
            *(f"{stem}-{size.name}.{ending}" for size in self.renditions),
            *("captions.srt", "captions.vtt", "captions.ass"),
        )


# A colour whose channels are all at most this level counts as black in the check of a video.
DARK_LEVEL = 12


@dataclass(frozen=True)
class SourceClip:
    """A validated source, a colour or a background, and the part of it that is used, in seconds."""

    source: Source | None
    """None: a colour or a background."""
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    """Both are 0 for a still picture, a colour or a background."""
    has_audio: bool = False
    style: ClipStyle = ClipStyle()
    still_seconds: float = 0.0
    key_seconds: tuple[float, ...] = ()
    """The times at which decoding can begin; empty: unknown."""
    colour: str = ""
    second_colour: str = ""
    background: Background | None = None
    sound_track: int = 0
    """The index of the sound track that is used, from 0."""
    sound_start: float = 0.0
    """The start time of that track in seconds, if it is not 0."""

    @property
    def is_dark(self) -> bool:
        """Whether all of it may be black."""
        if self.source is not None:
            return bool(self.source.properties.get("dark"))
        colours = self.background.colours if self.background else (self.colour, self.second_colour)
        return all(max(bytes.fromhex(colour[1:])) <= DARK_LEVEL for colour in colours if colour)

    @property
    def still(self) -> bool:
        """Whether it is a still picture, a colour or a background: it lasts as long as needed."""
        return self.source is None or self.source.still

    @property
    def loop_seconds(self) -> float:
        """The duration of one loop of a looping animation; 0: it does not loop."""
        if self.source is None or not self.source.is_animation or self.start_seconds:
            return 0.0
        return self.end_seconds if self.end_seconds >= self.source.seconds - 1e-3 else 0.0


@dataclass(frozen=True)
class Word:
    """A spoken word with its times, in seconds from the start of the narration."""

    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Narration:
    """A spoken script."""

    audio: StoredObject | None
    """None: no narration."""
    seconds: float
    sentences: tuple[tuple[Word, ...], ...]
    provider: str = ""
    provider_voice: str = ""
    """The name of the voice at the provider."""
    quality: str = ""
    """That of the voice that spoke; empty: that of the selected one."""
    notices: tuple[Notice, ...] = ()
    usage: tuple[Usage, ...] = ()


NO_NARRATION = Narration(None, 0.0, ())


@dataclass(frozen=True)
class NarratedScript:
    """A narration, and the number of its sentences in each scene."""

    narration: Narration
    scenes: tuple[int, ...]
    narrator: Narrator = NO_NARRATOR
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Captions:
    """The captions of a narration, as files."""

    srt: str
    ass: str
    vtt: str
    missing_glyphs: str = ""
    """Characters of captions and titles that no font contains."""


@dataclass(frozen=True)
class SoundTrack:
    """The narration with its music, mastered."""

    audio: StoredObject
    seconds: float = 0.0


@dataclass(frozen=True)
class RenderedVideo:
    """A rendered segment, or all segments joined: a video without sound."""

    video: StoredObject
    frame_count: int
    is_reused: bool = False
    """Whether it came from the cache."""
    renditions: tuple[StoredObject, ...] = ()
    """The same in the requested renditions."""
    header_bytes: int = 0
    """Of a segment: the size of the MP4 header before its fragment."""
    time_offset: int = 0
    """Of a segment: the offset in its file of the time of its first frame."""
    ticks_per_second: int = 0


@dataclass(frozen=True)
class File:
    """A file of a result."""

    name: str
    object: StoredObject


@dataclass(frozen=True)
class FinishedVideo:
    """A video that passed its check, and its other files."""

    files: tuple[File, ...]
    """The video itself comes first."""
    seconds: float
    loudness_lufs: float = 0.0
    true_peak_dbtp: float = 0.0
    poster_seconds: float = 0.0
    """The time of the poster frame."""


@dataclass(frozen=True)
class Result:
    """The result of a job."""

    files: tuple[File, ...]
    """The video itself comes first."""
    seconds: float
    loudness_lufs: float = 0.0
    true_peak_dbtp: float = 0.0
    missing_glyphs: str = ""
    voice: str = ""
    voice_quality: str = ""
    notices: tuple[Notice, ...] = ()
    scenes: tuple[Scene, ...] = ()
    script_writer: str = ""
    voice_provider: str = ""
    provider_voice: str = ""
    """The name of the voice at the provider."""
    usage: tuple[Usage, ...] = ()
    title: str = ""
    """The translated title; empty: that of the request."""

    def file(self, name: str) -> File | None:
        """Return the file with a name; an empty name is the video itself."""
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
    """The progress of a job in detail."""

    fractions: Mapping[str, float] = field(default_factory=dict)
    """The completed fraction of each stage that has started, 0 to 1."""
    segment_count: int = 0
    """The number of segments; 0 until the timeline is planned."""
    rendered_count: int = 0
    """The number of finished segments."""
    reused_count: int = 0
    """The number of finished segments that came from the cache."""

    @property
    def percent(self) -> int:
        """The progress of the whole job in percent, at most 99: only a completed job has 100."""
        done = sum(weight * min(1.0, max(0.0, self.fractions.get(stage, 0.0))) for stage, weight in STAGES.items())
        return min(99, int(100 * done + 1e-9))


@dataclass(frozen=True)
class Job:
    """The record of a job."""

    id: str
    user_id: str
    request: VideoRequest
    status: str
    """`processing`, `completed`, `failed` or `cancelled`."""
    create_time: datetime
    estimated_completion: datetime
    """The expected end; the actual end once it has ended."""
    priority: str = "normal"
    """One of PRIORITIES."""
    stages: dict[str, str] = field(default_factory=lambda: dict.fromkeys(STAGES, "pending"))
    progress: int = 0
    progress_details: JobProgress = JobProgress()
    attempt: int = 0
    base_attempt: int = 0
    """The attempt number that the owner's last retry set; 0: never retried."""
    result: Result | None = None
    failure: Failure | None = None
    original_request: Mapping[str, Any] = field(default_factory=dict)
    """The request as the client sent it, as JSON."""
    work_seconds: float = 0.0
    """The expected seconds of work when no other job runs, on the reference machine."""
    webhook_url: str = ""
    """An additional address for the delivery of its events; empty: none."""
    review: Review | None = None
    """The review for which it waits; None: it does not wait."""

    @property
    def title(self) -> str:
        """The title of the video, in its language once that is known."""
        return (self.result.title if self.result else "") or self.request.title

    @property
    def folder(self) -> str:
        """The key prefix of the files of all attempts."""
        return f"jobs/{self.id}"

    @property
    def attempt_folder(self) -> str:
        """The key prefix of the files of this attempt. Each attempt writes to its own folder."""
        return f"{self.folder}/{self.attempt}"

    @property
    def last_stale_attempt(self) -> int:
        """The last attempt without files in the result, once the job has ended; -1 when there is none."""
        if self.result is None:
            return self.attempt
        numbers = {file.object.key.removeprefix(f"{self.folder}/").partition("/")[0] for file in self.result.files}
        return min((int(number) for number in numbers if number.isdigit()), default=0) - 1

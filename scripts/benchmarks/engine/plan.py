"""The same video for every way, cut by the orchestrator's timeline."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pysubs2
from google.protobuf.duration_pb2 import Duration

from moneyprinter.media.v1 import media_pb2
from scripts.benchmarks.engine.clips import Clip
from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import ClipStyle, Source, SourceClip, StoredObject

RATE = 30
CAPTION_SECONDS = 2.4
WORDS = ("every", "video", "begins", "with", "a", "few", "clips", "an", "idea", "some", "words", "and", "a", "voice")

# As `media.Quality` states them, for all ways.
QUALITIES = {"draft": ("ultrafast", 28), "standard": ("veryfast", 23), "high": ("medium", 20)}


@dataclass(frozen=True)
class Task:
    """A video to make."""

    clips: tuple[Clip, ...]
    width: int
    height: int
    fit: str
    """`cover` or `contain`."""
    quality: str
    frame_count: int
    captions: tuple[str, ...] = ()
    """The captions, `CAPTION_SECONDS` each."""

    @property
    def preset(self) -> str:
        return QUALITIES[self.quality][0]

    @property
    def crf(self) -> int:
        return QUALITIES[self.quality][1]

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height} {self.fit}{', captions' if self.captions else ''}"

    def ass(self) -> str:
        """Return the captions as ASS in the platform's font; empty without captions."""
        if not self.captions:
            return ""
        script = pysubs2.SSAFile()
        script.info |= {"PlayResX": str(self.width), "PlayResY": str(self.height)}
        margins: dict[str, Any] = {"marginl": 60, "marginr": 60, "marginv": 120}
        script.styles["Default"] = pysubs2.SSAStyle(fontname="Manrope ExtraBold", fontsize=72, outline=4, **margins)
        length = round(1000 * CAPTION_SECONDS)
        script.events = [
            pysubs2.SSAEvent(start=length * place, end=length * (place + 1), text=text)
            for place, text in enumerate(self.captions)
        ]
        return script.to_string("ass")

    def message(self) -> dict[str, Any]:
        """Return the task as JSON."""
        return asdict(self)

    @staticmethod
    def read(message: dict[str, Any]) -> Task:
        """Read a task from JSON."""
        clips = tuple(Clip(**clip) for clip in message["clips"])
        return Task(**{**message, "clips": clips, "captions": tuple(message["captions"])})


def captions(seconds: float, changed: int | None = None) -> tuple[str, ...]:
    """Return captions for a video; the one at `changed` differs."""
    count = int(seconds / CAPTION_SECONDS)
    texts = [" ".join(WORDS[place % 12 : place % 12 + 3]) for place in range(count)]
    return tuple("something else here" if place == changed else text for place, text in enumerate(texts))


@dataclass(frozen=True)
class Shot:
    """A range of a clip shown without a cut, possibly in several segments."""

    path: str
    start_seconds: float
    frame_count: int

    @property
    def end_seconds(self) -> float:
        """The end of the range in its clip."""
        return self.start_seconds + self.frame_count / RATE


def segments(task: Task, key: dict[str, str]) -> list[media_pb2.Segment]:
    """Return the segments that the orchestrator would render. `key` maps a clip's hash to its object key."""
    sources = [
        SourceClip(
            source=Source(StoredObject(key[clip.sha256], clip.sha256, clip.size_bytes), clip.picture),
            start_seconds=clip.start_seconds,
            end_seconds=clip.end_seconds,
            style=ClipStyle(fit=task.fit),
            key_seconds=tuple(clip.key_seconds),
        )
        for clip in task.clips
    ]
    settings = timeline.TimelineSettings(frames_per_second=RATE, captions_ass=task.ass())
    planned = timeline.cut_segments(timeline.fill(sources, task.frame_count, settings), settings)
    return [
        media_pb2.Segment(
            index=segment.index,
            shots=[_shot(shot) for shot in segment.shots],
            frame_count=segment.frame_count,
            canvas=media_pb2.Canvas(width=task.width, height=task.height, frames_per_second=RATE),
            quality=media_pb2.Quality.Value(f"QUALITY_{task.quality.upper()}"),
            captions_ass=segment.captions_ass,
        )
        for segment in timeline.render_order(planned)
    ]


def _shot(shot: timeline.Shot) -> media_pb2.Shot:
    assert shot.clip.source is not None
    stored = shot.clip.source.object
    clip = media_pb2.Object(key=stored.key, sha256=stored.sha256, size_bytes=stored.size_bytes)
    source = media_pb2.Source(object=clip, **shot.clip.source.properties)
    fit = media_pb2.Fit.Value(f"FIT_{shot.clip.style.fit.upper()}")
    return media_pb2.Shot(source=source, source_start=_duration(shot.source_start_seconds), fit=fit)


def pieces(task: Task) -> list[tuple[Shot, media_pb2.Segment]]:
    """Return each segment and the shot in it, in order."""
    cut = segments(task, {clip.sha256: clip.path for clip in task.clips})
    found = []
    for segment in sorted(cut, key=lambda segment: segment.index):
        [shown] = segment.shots
        start = shown.source_start.ToNanoseconds() / 1e9
        found.append((Shot(shown.source.object.key, start, segment.frame_count), segment))
    return found


def shots(task: Task) -> list[Shot]:
    """Return the shots of the video before the cut into segments."""
    found: list[Shot] = []
    for shot, _ in pieces(task):
        last = found[-1] if found else None
        if last and last.path == shot.path and abs(last.end_seconds - shot.start_seconds) < 1e-3:
            found[-1] = Shot(last.path, last.start_seconds, last.frame_count + shot.frame_count)
        else:
            found.append(shot)
    return found


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1_000_000))
    return duration

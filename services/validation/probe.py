"""Probe: read a clip in a child process with limits, and return its facts or the reason why it cannot be used."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from moneyprinter.errors import InvalidArgument
from services.runtime import children
from services.validation import file_signatures

_CHILD = "services.validation.probe_child"


@dataclass(frozen=True)
class TimeRange:
    """A part of a clip."""

    start_seconds: float = 0.0
    end_seconds: float | None = None
    """None: the end of the clip."""


@dataclass(frozen=True)
class ProbeLimits:
    """The limits of a clip, and of the process that reads it."""

    max_pixels: int
    """Width times height of a video."""
    max_still_pixels: int
    """Width times height of a still picture."""
    max_duration_seconds: float
    memory_bytes: int
    """The address space of the process."""
    seconds: int
    """The time of the process, elapsed and on the CPU."""


@dataclass(frozen=True)
class ClipFacts:
    """The facts of a clip."""

    duration_seconds: float | None
    """How long a player shows it (`lengths`); None for a still picture."""
    width: int
    """In pixels, as it is displayed."""
    height: int
    """In pixels, as it is displayed."""
    rate: Fraction | None
    """Frames per second, on average; None for a still picture."""
    video_codec: str
    has_audio: bool
    source: Mapping[str, Any]
    """What the renderer needs: the fields of `media.v1.Source` without the object."""
    key_seconds: tuple[float, ...] = ()
    """The times in the requested part at which decoding can begin; empty when unknown."""
    rotation: int = 0
    """The rotation for display, in degrees clockwise."""
    audio_codec: str = ""
    sound_track: int = 0
    """The number of the sound track that a player plays, from 0."""
    sound_start: float = 0.0
    """In a stream without an index: when its sound begins, in seconds."""
    mirrored: bool = False
    """Whether the picture is mirrored left to right before it is rotated."""

    @property
    def still(self) -> bool:
        """Whether the clip is a still picture."""
        return self.duration_seconds is None


async def probe(path: Path, time_range: TimeRange, limits: ProbeLimits) -> ClipFacts:
    """Read a clip, and check the requested part.

    Raises `InvalidArgument` with one of the CLIP reasons when the clip cannot be used; the message is for the user.
    """
    with path.open("rb") as file:
        kind = file_signatures.describe_unsupported(file.read(file_signatures.HEAD_BYTES))
    if kind:
        raise clip_error(f"the file is {kind}" + ("" if kind == "empty" else ", neither a video nor a picture"))
    request = {
        "max_pixels": limits.max_pixels,
        "max_still_pixels": limits.max_still_pixels,
        "max_duration_seconds": limits.max_duration_seconds,
        **asdict(time_range),
    }
    child_limits = children.Limits(
        memory_bytes=limits.memory_bytes,
        cpu_seconds=limits.seconds,
        file_bytes=1 << 20,
        open_files=32,
        wall_seconds=limits.seconds,
    )
    command = (sys.executable, "-I", "-m", _CHILD, path, json.dumps(request))
    try:
        return _to_facts(json.loads(await children.run(command, limits=child_limits, folder=path.parent)))
    except children.ChildFailed as failure:
        if failure.was_killed:
            what = "the clip could not be read"
            raise children.to_error(failure, what, InvalidArgument, reason="CLIP_NOT_PLAYABLE") from failure
        if failure.limit:
            words = f"reading the clip took more than {failure.limit}; it is damaged or malicious"
            raise clip_error(words) from failure
        raise clip_error("reading the clip failed; it is damaged or malicious") from failure
    except (ValueError, KeyError, TypeError) as failure:
        raise clip_error("reading the clip failed; it is damaged or malicious") from failure


def clip_error(message: str, reason: str = "CLIP_NOT_PLAYABLE") -> InvalidArgument:
    """The error for a clip that cannot be used."""
    return InvalidArgument(f"the clip cannot be used: {message}", reason=reason)


def _to_facts(answer: dict[str, Any]) -> ClipFacts:
    if "reason" in answer:
        raise clip_error(str(answer["message"]), str(answer["reason"]))
    still = answer.get("still") is True
    return ClipFacts(
        duration_seconds=None if still else float(answer["duration_seconds"]),
        width=int(answer["width"]),
        height=int(answer["height"]),
        rate=None if still else Fraction(int(answer["rate_numerator"]), int(answer["rate_denominator"])),
        video_codec=str(answer["video_codec"]),
        has_audio=answer.get("has_audio") is True,
        source=answer["source"],
        key_seconds=tuple(map(float, answer.get("key_seconds", ()))),
        rotation=int(answer.get("rotation", 0)),
        audio_codec=str(answer.get("audio_codec", "")),
        sound_track=int(answer.get("sound_track", 0)),
        sound_start=float(answer.get("sound_start", 0.0)),
        mirrored=answer.get("mirrored") is True,
    )

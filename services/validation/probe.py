"""Probe: read a clip in a limited child process, and tell its facts or why it cannot be used."""

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
from services.validation import kinds

_CHILD = "services.validation.probe_child"


@dataclass(frozen=True)
class Part:
    """The part of a clip that is wanted."""

    start_seconds: float = 0.0
    end_seconds: float | None = None
    """None: the clip's end."""


@dataclass(frozen=True)
class Bounds:
    """What a clip may be, and what reading it may take."""

    max_pixels: int
    max_still_pixels: int
    max_duration_seconds: float
    memory_bytes: int
    seconds: int


@dataclass(frozen=True)
class Facts:
    """What a clip is."""

    duration_seconds: float | None
    """How long a player shows it (`lengths`); None for a still picture."""
    width: int
    """In pixels, as it is displayed."""
    height: int
    """In pixels, as it is displayed."""
    rate: Fraction | None
    """Frames a second, on average; None for a still picture."""
    video_codec: str
    has_audio: bool
    picture: Mapping[str, Any]
    """What must be known of it before it is drawn: the fields of `media.v1.Source` without the object."""
    key_seconds: tuple[float, ...] = ()
    """From when on decoding can begin in the wanted part; empty: not known."""
    rotation: int = 0
    """How far its picture is turned to be shown, in degrees clockwise."""
    audio_codec: str = ""
    sound_track: int = 0
    """Which of its sound tracks is played, from 0."""
    sound_start: float = 0.0
    """In a stream without an index: when its sound begins."""
    mirrored: bool = False
    """Whether its picture is mirrored left to right, before it is turned."""

    @property
    def still(self) -> bool:
        """Whether it is a still picture."""
        return self.duration_seconds is None


async def probe(path: Path, part: Part, bounds: Bounds) -> Facts:
    """Read a clip. Raises InvalidArgument with a reason, in words for the one who handed it in."""
    with path.open("rb") as file:
        kind = kinds.unwanted(file.read(kinds.HEAD_BYTES))
    if kind:
        raise refused(f"the file is {kind}" + ("" if kind == "empty" else ", neither a video nor a picture"))
    wanted = {
        "max_pixels": bounds.max_pixels,
        "max_still_pixels": bounds.max_still_pixels,
        "max_duration_seconds": bounds.max_duration_seconds,
        **asdict(part),
    }
    limits = children.Limits(
        memory_bytes=bounds.memory_bytes,
        cpu_seconds=bounds.seconds,
        file_bytes=1 << 20,
        open_files=32,
        wall_seconds=bounds.seconds,
    )
    command = (sys.executable, "-I", "-m", _CHILD, path, json.dumps(wanted))
    try:
        return _facts(json.loads(await children.run(command, limits=limits, folder=path.parent)))
    except children.ChildFailed as failure:
        if failure.killed:
            what = "the clip could not be read"
            raise children.to_error(failure, what, InvalidArgument, reason="CLIP_NOT_PLAYABLE") from failure
        if failure.limit:
            words = f"reading the clip took more than {failure.limit}; it is damaged, or made to harm"
            raise refused(words) from failure
        raise refused("reading the clip failed; it is damaged, or made to harm") from failure
    except (ValueError, KeyError, TypeError) as failure:
        raise refused("reading the clip failed; it is damaged, or made to harm") from failure


def refused(message: str, reason: str = "CLIP_NOT_PLAYABLE") -> InvalidArgument:
    """The error for a clip that cannot be used."""
    return InvalidArgument(f"the clip cannot be used: {message}", reason=reason)


def _facts(answer: dict[str, Any]) -> Facts:
    if "reason" in answer:
        raise refused(str(answer["message"]), str(answer["reason"]))
    still = answer.get("still") is True
    return Facts(
        duration_seconds=None if still else float(answer["duration_seconds"]),
        width=int(answer["width"]),
        height=int(answer["height"]),
        rate=None if still else Fraction(int(answer["rate_numerator"]), int(answer["rate_denominator"])),
        video_codec=str(answer["video_codec"]),
        has_audio=answer.get("has_audio") is True,
        picture=answer["picture"],
        key_seconds=tuple(map(float, answer.get("key_seconds", ()))),
        rotation=int(answer.get("rotation", 0)),
        audio_codec=str(answer.get("audio_codec", "")),
        sound_track=int(answer.get("sound_track", 0)),
        sound_start=float(answer.get("sound_start", 0.0)),
        mirrored=answer.get("mirrored") is True,
    )

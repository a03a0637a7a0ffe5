"""Sounds: check in a child process with limits that an uploaded file has sound that can be used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from moneyprinter.errors import InvalidArgument
from services.runtime import children
from services.validation.probe import ProbeLimits

MAX_SECONDS = 3600.0
"""The length of the longest sound."""

_CHILD = "services.validation.sound_child"
# An hour of sound is decoded in some 10 s of CPU time.
_SECONDS = 90


async def probe_sound(path: Path, start_seconds: float, limits: ProbeLimits) -> float:
    """Read a sound. Returns its seconds from a start to its end.

    Raises `InvalidArgument` (SOUND_NOT_PLAYABLE), (SOUND_SILENT) or (SOUND_TOO_LONG) when it cannot be used; the
    message is for the user.
    """
    child_limits = children.Limits(
        memory_bytes=limits.memory_bytes,
        cpu_seconds=_SECONDS,
        file_bytes=1 << 20,
        open_files=32,
        wall_seconds=_SECONDS,
    )
    command = (sys.executable, "-I", "-m", _CHILD, path, str(MAX_SECONDS), str(start_seconds))
    try:
        answer = json.loads(await children.run(command, limits=child_limits, folder=path.parent))
        if "reason" in answer:
            raise _sound_error(str(answer["message"]), str(answer["reason"]))
        return float(answer["seconds"])
    except children.ChildFailed as failure:
        if failure.was_killed:
            what = "the sound could not be read"
            raise children.to_error(failure, what, InvalidArgument, reason="SOUND_NOT_PLAYABLE") from failure
        raise _sound_error("reading it failed; it is damaged or malicious") from failure
    except (ValueError, KeyError, TypeError) as failure:
        raise _sound_error("reading it failed; it is damaged or malicious") from failure


def _sound_error(message: str, reason: str = "SOUND_NOT_PLAYABLE") -> InvalidArgument:
    return InvalidArgument(f"the sound cannot be used: {message}", reason=reason)

"""ffmpeg: run it in a child process, with its progress and with errors for users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moneyprinter.errors import Error
from services.runtime import children
from services.runtime.config import ConfigError
from services.runtime.progress import OnProgress, ignore_progress, rising

# Options that make ffmpeg ask nothing and print only errors.
QUIET = ("-hide_banner", "-nostdin", "-y", "-loglevel", "error")

DEFAULT_LIMITS = children.Limits()


async def run_ffmpeg(
    program: Path,
    command: Any,
    *,
    seconds: float,
    folder: Path,
    on_progress: OnProgress = ignore_progress,
    limits: children.Limits = DEFAULT_LIMITS,
    environment: Mapping[str, str] | None = None,
    niceness: int = 0,
) -> None:
    """Run ffmpeg in `folder`, with arguments or with an output of ffmpeg-python.

    `on_progress` receives the part of `seconds` of output that is done, 0 to 1, never less than before. When a signal
    kills ffmpeg, it runs again over its earlier output. Raises `ChildFailed`. Cancelling the call kills ffmpeg.
    """
    line: Sequence[str | Path] = (program, *QUIET, "-nostats", "-progress", "pipe:1", *_to_arguments(command))
    report = rising(on_progress)

    async def attempt() -> None:
        async with children.start(
            line, limits=limits, folder=folder, environment=environment, niceness=niceness
        ) as child:
            while printed := await child.stdout.readline():
                name, _, value = printed.decode(errors="replace").strip().partition("=")
                if name == "out_time_us" and value.lstrip("-").isdigit():
                    report(min(1.0, max(0.0, int(value) / 1e6 / seconds)))
            await child.check_success()

    await children.retry_killed(attempt)


async def capture_ffmpeg(program: Path, command: Any, *, folder: Path) -> bytes:
    """Run ffmpeg in `folder`, as `run_ffmpeg` does, and return its standard output. Raises `ChildFailed`."""
    return await children.run((program, *QUIET, *_to_arguments(command)), folder=folder)


async def ffmpeg_version(program: Path) -> str:
    """Returns the version line of ffmpeg. Raises `ConfigError` when it cannot be run."""
    try:
        printed = await children.run((program, "-version"), limits=children.Limits(wall_seconds=30.0))
    except children.ChildFailed as failure:
        raise ConfigError(f"MONEYPRINTER_RUNTIME_FFMPEG: {program} cannot be run: {failure}") from None
    return printed.decode().partition("\n")[0]


@contextmanager
def report_failures(what: str, kind: type[Error], *, reason: str) -> Iterator[None]:
    """Map a failed child in the context to the error for the user (`children.to_error`).

    `what` is the failed step, such as `the segments cannot be joined`.
    """
    try:
        yield
    except children.ChildFailed as failure:
        raise children.to_error(failure, what, kind, reason=reason) from failure


def _to_arguments(command: Any) -> list[str]:
    arguments = command if isinstance(command, Sequence) else command.get_args()
    return [str(argument) for argument in arguments]
